"""What docs/ has that is drawn, or that repeats what code and files say, is so."""

import re

import pytest

from fraudlab.bundle import load
from fraudlab.bundle.card import card, markdown
from tests.conftest import REPOSITORY
from tests.support.docs import diagrams

DOCS = REPOSITORY / "docs"


@pytest.mark.parametrize("name", diagrams.PICTURES)
def test_a_picture_is_that_of_the_code(name: str) -> None:
    drawn = diagrams.PICTURES[name]()
    assert drawn == (DOCS / "images" / f"{name}.svg").read_text(encoding="utf-8"), "run: make docs"
    assert f"images/{name}.svg" in (DOCS / "architecture.md").read_text(encoding="utf-8")


def test_arrows_that_follow_from_others_are_left_out() -> None:
    edges = {("a", "b"), ("b", "c"), ("a", "c"), ("c", "d"), ("a", "d"), ("a", "e"), ("e", "d")}
    assert diagrams.reduced(edges) == {("a", "b"), ("b", "c"), ("c", "d"), ("a", "e"), ("e", "d")}


def test_the_template_has_the_headings_of_a_card() -> None:
    loaded = load(REPOSITORY / "tests" / "compat" / "fixtures" / "format_1" / "bundle_with_masks")
    split = {"settings": {}, "label_delay_days": 7, "says": "once", "parts": {}}
    facts = {"split": split, "importance": {"rows": 0, "columns": []}}
    headings = re.findall(r"^## (.*)$", markdown(card(loaded, facts)), re.MULTILINE)
    template = (DOCS / "model_card_template.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| ([A-Z][^|]*?) \|", template, re.MULTILINE) == headings
