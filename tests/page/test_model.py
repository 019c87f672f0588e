"""The view Model: the bundle's card, as the run's own files tell it."""

import json
from pathlib import Path

import polars as pl
import pytest
from sklearn.metrics import average_precision_score

from fraudlab import bundle as bundles
from fraudlab.bundle.card import FILE, TEXT, card, markdown
from tests.page.conftest import Open, faults
from tests.support.server import Server


@pytest.mark.parametrize(("dark", "width"), [(False, 1200), (True, 360)])
def test_the_card_is_shown_and_saved(
    served: Server, page_bundle: bundles.Bundle, open_page: Open, dark: bool, width: int
) -> None:
    page = open_page(served, "model", dark=dark, width=width)
    page.get_by_role("heading", name="Limits of use").wait_for()
    shown = page.locator("#view-model").inner_text()
    metrics = page_bundle.metrics["test"]
    assert f"{metrics['average_precision']:.4g}".rstrip("0") in shown
    assert page_bundle.version in shown
    assert "The data are simulated" in shown
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save as Markdown").click()
    assert Path(saved.value.path()).read_text() == served.ask("/card").said["markdown"]
    assert faults(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_card_says_what_the_run_says(exported: tuple[Path, Path]) -> None:
    run, folder = exported
    bundle = bundles.load(folder)
    facts = json.loads((folder / FILE).read_text())
    rows = json.loads((run / "run.json").read_text())["split_rows"]
    parts = facts["split"]["parts"]
    assert (parts["validation"]["rows"], parts["test"]["rows"]) == (rows["val"], rows["test"])
    test = pl.read_parquet(run / "predictions" / "test.parquet")
    assert parts["test"]["frauds"] == int(test["label"].sum())
    low, high = facts["intervals"]["metrics"]["average_precision"]
    assert low <= average_precision_score(test["label"], test["score"]) <= high
    points = facts["calibration"]["points"]
    assert sum(point["rows"] for point in points) == len(test)
    assert sum(point["frauds"] * point["rows"] for point in points) == pytest.approx(test["label"].sum())
    shares = [each["share"] for each in facts["importance"]["columns"]]
    assert shares == sorted(shares, reverse=True)
    assert 0.5 < sum(shares) <= 1 + 1e-9
    assert (folder / TEXT).read_text() == markdown(card(bundle))


def test_a_bundle_without_a_card_has_what_its_files_tell() -> None:
    old = Path(__file__).parents[1] / "compat" / "fixtures" / "format_1" / "bundle_with_masks"
    made = card(bundles.load(old))
    assert made["split"] is None
    assert made["operating_points"]
    assert "## Limits of use" in markdown(made)
