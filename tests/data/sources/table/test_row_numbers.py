"""Numbers of rows and of cards: an index is no input, and no digit of an identifier is lost."""

import random
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from tests.support.tables import load, roles

SHUFFLED = random.Random(0).sample(range(0, 900, 2), 300)


@pytest.mark.parametrize("name", ["Unnamed: 0", "index", "", "__index_level_0__", "level_0"])
@pytest.mark.parametrize("form", ["{}", "{}.0"])
def test_an_index_is_no_input(name: str, form: str, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(f"{name},a,y\n" + "".join(f"{form.format(n)},{n % 7},{n // 2 % 2}\n" for n in SHUFFLED))
    found = roles(load(path, label="y"))
    assert found[name or "column_1"] == "carried"
    assert roles(load(path, label="y", numeric=[name or "column_1"]))[name or "column_1"] == "numeric"


def test_an_index_of_excel_is_no_input(tmp_path: Path) -> None:
    xlsxwriter = pytest.importorskip("xlsxwriter")
    book = xlsxwriter.Workbook(tmp_path / "t.xlsx")
    sheet = book.add_worksheet()
    for line, row in enumerate([(None, "a", "y"), *((n, n % 7, n // 2 % 2) for n in SHUFFLED)]):
        sheet.write_row(line, 0, row)
    book.close()
    found = roles(load(tmp_path / "t.xlsx", label="y"))
    assert sorted(found.values()) == ["carried", "id", "label", "numeric"]


def test_numbers_that_repeat_are_inputs(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("index,y\n" + "".join(f"{n % 50},{n % 2}\n" for n in range(300)))
    assert roles(load(tmp_path / "t.csv", label="y"))["index"] == "numeric"


@pytest.mark.parametrize("first", [4532015112830366000, 10**30])
def test_decimals_keep_every_digit(first: int, tmp_path: Path) -> None:
    cards = [first + row for row in range(4)]
    made = pl.DataFrame({"card": [Decimal(card) for card in cards], "y": [0, 1, 0, 1]})
    made.with_columns(pl.col("card").cast(pl.Decimal(38, 0))).write_parquet(tmp_path / "t.parquet")
    found = load(tmp_path / "t.parquet", label="y", card="card").frame.collect()["card"]
    assert [int(card) for card in found] == cards


def test_no_digit_is_said_to_be_lost_where_none_is(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "t.csv").write_text("c,y\n" + "".join(f"{10**24 + 7 * row + 1},{row % 2}\n" for row in range(50)))
    load(tmp_path / "t.csv", label="y", card="c")
    assert "digits were lost" not in caplog.text
