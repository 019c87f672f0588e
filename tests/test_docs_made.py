"""What docs/ has that is drawn, or that repeats what code and files say, is so."""

import json
import re
from collections.abc import Callable

import pytest

from benchmarks import results
from fraudlab.bundle import load
from fraudlab.bundle.card import card, markdown
from tests.conftest import FORMAT_1, REPOSITORY
from tests.support.docs import diagrams, pictures

DOCS = REPOSITORY / "docs"


@pytest.mark.parametrize("name", diagrams.PICTURES)
def test_a_picture_is_that_of_the_code(name: str) -> None:
    drawn = diagrams.PICTURES[name]()
    assert drawn == (DOCS / "images" / f"{name}.svg").read_text(encoding="utf-8"), "run: make docs"
    assert f"images/{name}.svg" in (DOCS / "architecture.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("draw", pictures.PICTURES, ids=lambda draw: draw.__name__)
def test_a_picture_of_the_concepts_is_that_of_the_code(draw: Callable[[], pictures.Picture]) -> None:
    picture = DOCS / "images" / f"{draw.__name__}.svg"
    assert picture.read_text(encoding="utf-8") == draw().svg(), "run: make docs"
    assert f"images/{picture.name}" in (DOCS / "concepts.md").read_text(encoding="utf-8")


def test_arrows_that_follow_from_others_are_left_out() -> None:
    edges = {("a", "b"), ("b", "c"), ("a", "c"), ("c", "d"), ("a", "d"), ("a", "e"), ("e", "d")}
    assert diagrams.reduced(edges) == {("a", "b"), ("b", "c"), ("c", "d"), ("a", "e"), ("e", "d")}


def test_the_template_has_the_headings_of_a_card() -> None:
    loaded = load(FORMAT_1 / "bundle_with_masks")
    split = {"settings": {}, "label_delay_days": 7, "says": "once", "parts": {}}
    facts = {"split": split, "importance": {"rows": 0, "columns": []}}
    headings = re.findall(r"^## (.*)$", markdown(card(loaded, facts)), re.MULTILINE)
    template = (DOCS / "model_card_template.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| ([A-Z][^|]*?) \|", template, re.MULTILINE) == headings


@pytest.mark.parametrize(("page", "rows"), [("README.md", 5), ("docs/index.md", 3), ("docs/results.md", 10)])
def test_the_tables_of_results_have_what_was_measured(page: str, rows: int) -> None:
    measured = json.loads((REPOSITORY / "benchmarks" / "results" / "metrics.json").read_text())["results"]
    of_model = {results.NAMES[name]: found for name, found in measured.items()}
    seen = 0
    for line in (REPOSITORY / page).read_text(encoding="utf-8").splitlines():
        model = line.strip("| *").partition(" |")[0].rstrip("*")
        shown = re.findall(r"\d\.\d{3} ± \d\.\d{3}", line)
        if model in of_model and shown:
            parts = [of_model[model][part].values() for part in ("test", "val")]
            cells = [{f"{each['mean']:.3f} ± {each['std']:.3f}" for each in part} for part in parts]
            assert set(shown) <= cells[0] or (set(shown) <= cells[1] and page == "docs/results.md"), line
            seen += 1
    assert seen == rows
