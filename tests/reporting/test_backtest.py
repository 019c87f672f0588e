"""The picture of a backtest's windows in the documents is what the code draws."""

from itertools import pairwise
from xml.etree import ElementTree

from fraudlab.reporting.backtest_plots import windows_svg
from tests.conftest import REPOSITORY

# The book's layout: 7 days of training, 7 of delay, 7 of test, and the same 14 days before; days since 2018-07-01.
FOUR_STEPS = [
    {
        "start": f"step {number + 1}",
        "days": {
            "selection_train": (start - 28, start - 21),
            "validation": (start - 14, start - 7),
            "train": (start - 14, start - 7),
            "test": (start, start + 7),
        },
    }
    for number, start in enumerate((28, 35, 42, 49))
]


def test_the_documents_have_the_picture_that_the_code_draws() -> None:
    drawn = windows_svg(FOUR_STEPS, alone=True)
    assert (REPOSITORY / "docs" / "backtest_windows.svg").read_text(encoding="utf-8") == f"{drawn}\n"


def test_a_step_has_a_bar_for_each_part_on_one_scale_of_days() -> None:
    page = ElementTree.fromstring(windows_svg(FOUR_STEPS, alone=True))
    space = "{http://www.w3.org/2000/svg}"
    bars = [bar for bar in page.iter(f"{space}rect") if bar.find(f"{space}title") is not None]
    assert len(bars) == 4 * len(FOUR_STEPS)
    wide = {round(float(bar.attrib["width"]), 1) for bar in bars}
    assert len(wide) == 1  # all parts are seven days long
    tested = [float(bar.attrib["x"]) for bar in bars if bar.find(f"{space}title").text == "test"]
    assert [round(b - a, 1) for a, b in pairwise(tested)] == [*wide] * 3
