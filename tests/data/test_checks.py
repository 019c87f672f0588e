"""What is said of a split of the user's own table."""

from pathlib import Path

import polars as pl
import pytest

from fraudlab.config import RandomConfig, TableConfig
from fraudlab.config.features import ColumnsFeaturesConfig
from fraudlab.data.checks import warn_of
from fraudlab.data.prepared import PreparedTable, prepared_table

ROWS = 600


def prepared(folder: Path, **columns: list[object]) -> PreparedTable:
    label = [int(row % 5 == 0) for row in range(ROWS)]
    pl.DataFrame({**columns, "fraud": label}).write_csv(folder / "t.csv")
    config = TableConfig(path=str(folder / "t.csv"), label="fraud")
    return prepared_table(config, ColumnsFeaturesConfig(), 0, folder / "cache")


def said(table: PreparedTable, caplog: pytest.LogCaptureFixture) -> str:
    split = table.split(RandomConfig(), 0)
    caplog.clear()
    warn_of(table, split)
    return "\n".join(record.getMessage() for record in caplog.records)


NOISE = [(row * 7919) % 997 / 10 for row in range(ROWS)]
KIND = ["abc"[row * 31 % 7 % 3] for row in range(ROWS)]


def test_columns_that_alone_tell_the_label_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    status = ["charged" if row % 5 == 0 else "settled" for row in range(ROWS)]
    balance = [-NOISE[row] - 1 if row % 5 == 0 else NOISE[row] for row in range(ROWS)]
    found = said(prepared(tmp_path, noise=NOISE, kind=KIND, status=status, balance=balance), caplog)
    assert "columns that alone predict the label: status (AUC 1.000), balance (AUC 1.000)" in found
    assert "data.carried=[status, balance]" in found
    assert "copies" not in found


def test_copies_of_training_rows_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    table = prepared(tmp_path, noise=[row // 10 + 0.5 for row in range(ROWS)], kind=["a"] * ROWS)
    split = table.split(RandomConfig(), 0)
    names = ["noise", "kind", "fraud"]
    learnt = set(table.rows(split.train, names).rows())
    copies = sum(row in learnt for row in table.rows(split.test, names).rows())
    assert f"{copies} of {len(split.test)} test rows are copies of training rows" in said(table, caplog)
    config = TableConfig(path=str(tmp_path / "t.csv"), label="fraud", copies="leave_out")
    once = prepared_table(config, ColumnsFeaturesConfig(), 0, tmp_path / "cache")
    assert f"{ROWS - 120} of {ROWS} rows are copies of others and left out" in caplog.text
    assert once.label.len() == 120


def test_rows_of_other_cards_are_no_copies(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    coarse = [row // 10 + 0.5 for row in range(ROWS)]
    prepared(tmp_path, noise=coarse, kind=["a"] * ROWS, card=list(range(ROWS)))
    config = TableConfig(path=str(tmp_path / "t.csv"), label="fraud", card="card")
    table = prepared_table(config, ColumnsFeaturesConfig(), 0, tmp_path / "cache")
    assert "copies" not in said(table, caplog)


def test_nothing_is_said_of_a_table_without_such_columns(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert said(prepared(tmp_path, noise=NOISE, kind=KIND, more=[n * n % 13.7 for n in NOISE]), caplog) == ""
