"""Numbers that some cells write otherwise, and words among numbers: refused or said, never lost in silence."""

# ruff: noqa: E501 - a case reads best on one line

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from fraudlab.errors import UserError
from tests.support.tables import load, roles, write

ROWS = 600


def column(path: Path, cell: Callable[[int], Any]) -> Path:
    path.write_text("x,y\n" + "".join(f'"{cell(row)}",{row % 2}\n' for row in range(ROWS)))
    return path


def rare(word: str, otherwise: str = "{}.50") -> Callable[[int], str]:
    return lambda row: word if row in (4, 300) else otherwise.format(row)


REFUSED: dict[str, tuple[Callable[[int], Any], dict[str, Any], str]] = {
    "a word in more than a hundredth": (
        lambda row: "unknown" if row % 83 == 0 else row % 90 / 4, {}, r"missing_values=\['unknown'\].*categorical=\[x\]"),
    "a word among whole numbers": (lambda row: "unknown" if row % 9 == 0 else row % 90, {}, r"missing_values=\['unknown'\]"),
    "two decimal signs": (lambda row: "2,5" if row % 2 else "2.5", {}, r"not all written in one known way \('2.5', '2,5'\)"),
    "another month's decimal sign": (lambda row: f"{row},5" if row > 540 else f"{row}.5", {}, "not all written in one"),
    "thousands in the largest alone": (rare("1,250.00"), {}, r"\('1,250.00'\): data.thousands=\",\" reads them"),
    "thousands of an amount": (rare("1,250.00"), {"amount": "x"}, 'data.thousands="," reads them'),
    "a rare currency": (rare("$5"), {}, "data.currency=true reads them"),
    "a rare decimal comma": (rare("1250,50"), {}, r"write them as the others.*missing_values=\['1250,50'\]"),
    "a rare minus behind": (rare("100.50-"), {"numeric": ["x"]}, "written otherwise"),
    "a minus behind": (lambda row: f"{row}.50-", {}, "not all written in one known way"),
    "the minus of typesetters": (lambda row: f"\u2212{row}.50", {}, "not all written in one known way"),
    "debit and credit": (lambda row: f"{row}.50 {'DR' if row % 2 else 'CR'}", {}, "not all written in one known way"),
    "underscores": (lambda row: f"{1 + row % 90}_234", {}, "not all written in one known way"),
    "a K for thousands": (lambda row: f"{row % 70}.5K", {}, "not all written in one known way"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_numbers_that_would_be_lost_are_refused(case: str, tmp_path: Path) -> None:
    cell, settings, message = REFUSED[case]
    with pytest.raises(UserError) as refused:
        load(column(tmp_path / "t.csv", cell), label="y", **settings)
    assert pl.Series([str(refused.value)]).str.contains(message).item(), str(refused.value)


@pytest.mark.parametrize(
    "cell",
    [
        lambda row: "A1" if row % 5 == 0 else row % 90,
        lambda row: f"A{row % 300}" if row % 5 == 0 else row % 90,
        lambda row: "U" if row % 5 == 0 else row % 4,
        lambda row: "3+" if row % 5 == 0 else row % 3,
        lambda row: f"{row % 30}-{row % 7}",
        lambda row: f"1.{row % 30}.{row % 7}",
        lambda row: ("5K", "10K", "42K")[row % 3],
        lambda row: f"{row % 9}-5",
    ],
)
def test_codes_stay_words(cell: Callable[[int], Any], tmp_path: Path) -> None:
    assert roles(load(column(tmp_path / "t.csv", cell), label="y"))["x"] == "categorical"


def test_numbers_among_codes_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    load(column(tmp_path / "t.csv", lambda row: "A1" if row % 5 == 0 else row % 90), label="y")
    assert "column x holds 480 numbers and 120 other cells ('A1' 120 times): it is categorical" in caplog.text


def test_what_a_refusal_names_is_a_way_out(tmp_path: Path) -> None:
    path = column(tmp_path / "t.csv", rare("1,250.00"))
    found = load(path, label="y", thousands=",").frame.collect()["x"].to_list()
    assert found[4] == 1250.0
    assert found[5] == 5.5
    assert load(path, label="y", missing_values=["1,250.00"]).frame.collect()["x"].null_count() == 2
    path = column(tmp_path / "t.csv", lambda row: "unknown" if row % 83 == 0 else row % 90 / 4)
    assert roles(load(path, label="y", missing_values=["unknown"]))["x"] == "numeric"
    assert roles(load(path, label="y", categorical=["x"]))["x"] == "categorical"
    path = column(tmp_path / "t.csv", lambda row: f"\u2212{row}.5")
    own = load(path, label="y", derive={"x": "CAST(REPLACE(x, '\u2212', '-') AS DOUBLE)"}).frame.collect()
    assert own["x"].to_list()[:2] == [-0.5, -1.5]


def test_numbers_that_parquet_holds_as_text_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows: dict[str, list[Any]] = {
        "paid": ["12.50", "3.25"] * 50,
        "dollars": ["$0.50", "$1.50"] * 50,
        "zip": ["00501", "90210"] * 50,
        "kind": ["a", "b1"] * 50,
        "fraud": [0, 1] * 50,
    }
    load(write(tmp_path / "t.parquet", rows))
    assert "column paid is text that holds numbers ('12.50', '3.25'): data.numeric=[paid] reads them" in caplog.text
    assert "column dollars is text that holds numbers ('$0.50', '$1.50'): data.currency=true data.num" in caplog.text
    assert "column zip is" not in caplog.text
    assert "column kind is" not in caplog.text
