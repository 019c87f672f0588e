"""The prepared table is made once, found again, and another one when anything that decides it changes."""

import logging
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from fraudlab.config import (
    ColumnsFeaturesConfig,
    EncoderConfig,
    HandbookConfig,
    HistoryFeaturesConfig,
    RandomConfig,
    TableConfig,
)
from fraudlab.data.checks import warn_of
from fraudlab.data.prepared import prepared_table
from fraudlab.errors import UserError
from fraudlab.features import handbook

DATA = HandbookConfig(customers=20, terminals=50, days=10, radius=30.0)
BOOK = handbook.settings()


def test_is_found_again_unless_something_changes(tmp_path: Path) -> None:
    first = prepared_table(DATA, HistoryFeaturesConfig(**BOOK), 7, tmp_path)
    made = first.path.stat().st_mtime_ns
    encoder = EncoderConfig(scaling="none")  # fitted per split, so it does not belong to the table
    again = prepared_table(DATA, HistoryFeaturesConfig(**{**BOOK, "encoder": encoder}), 7, tmp_path)
    assert (again.path, again.path.stat().st_mtime_ns) == (first.path, made)
    others = [
        prepared_table(DATA, HistoryFeaturesConfig(**BOOK), 3, tmp_path),
        prepared_table(DATA, ColumnsFeaturesConfig(), 7, tmp_path),
        prepared_table(
            HandbookConfig(customers=21, terminals=50, days=10, radius=30.0), HistoryFeaturesConfig(**BOOK), 7, tmp_path
        ),
    ]
    assert len({table.path for table in [first, *others]}) == 4
    assert len({table.fingerprint for table in [first, *others]}) == 4
    assert len({table.data_fingerprint for table in [first, *others]}) == 4


def test_labels_that_are_known_at_once_are_read_but_not_typed(tmp_path: Path) -> None:
    book = HistoryFeaturesConfig(**BOOK)
    with pytest.raises(UserError, match=r"TERMINAL_ID_NB_TX_1DAY_WINDOW rests on labels.*label_delay_days=7"):
        prepared_table(DATA, book, 0, tmp_path)
    assert prepared_table(DATA, book, 0, tmp_path, read=True).column("TERMINAL_ID_RISK_1DAY_WINDOW") is not None


def test_rows_are_read_by_position(tmp_path: Path) -> None:
    table = prepared_table(DATA, HistoryFeaturesConfig(**BOOK), 7, tmp_path)
    identity = table.column("TRANSACTION_ID")
    rows = np.array([3, 4, 9])
    assert identity is not None
    assert table.rows(rows, ["TRANSACTION_ID"])["TRANSACTION_ID"].to_list() == identity[rows].to_list()
    assert table.column(None) is None


def test_a_table_without_a_feature_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    pl.DataFrame({"id": [1, 2, 3], "fraud": [0, 1, 0], "x": [1.0, 2.0, 3.0]}).write_csv(path)
    only = TableConfig(path=str(path), label="fraud", id="id", carried=["x"])
    with pytest.raises(UserError, match=r"no column is left to learn from. The table has id \(id\), fraud \(label\)"):
        prepared_table(only, ColumnsFeaturesConfig(), 7, tmp_path)
    numbers = TableConfig(path=str(path), label="fraud", id="id")
    with pytest.raises(UserError, match="no column is left to learn from"):
        prepared_table(numbers, ColumnsFeaturesConfig(leave_out=["x"]), 7, tmp_path)


@pytest.mark.parametrize("frauds", [30, 70])
def test_labels_that_look_flipped_are_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture, frauds: int) -> None:
    path = tmp_path / "t.csv"
    fraud = np.arange(100) % 10 < frauds // 10
    pl.DataFrame({"fraud": fraud.astype(int), "x": np.arange(100.0)}).write_csv(path)
    table = prepared_table(TableConfig(path=str(path), label="fraud"), ColumnsFeaturesConfig(), 7, tmp_path)
    with caplog.at_level(logging.WARNING):
        warn_of(table, table.split(RandomConfig(), 7))
    assert ("of the training rows are frauds, over half" in caplog.text) is (frauds > 50)


@pytest.mark.parametrize("name", ["^x.*$", "*"])
def test_a_column_named_like_a_pattern_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "t.csv"
    pl.DataFrame({"fraud": [0, 1], name: [1.0, 2.0], "x1": [3.0, 4.0]}).write_csv(path)
    with pytest.raises(UserError, match="takes for a pattern over names; rename it"):
        prepared_table(TableConfig(path=str(path), label="fraud"), ColumnsFeaturesConfig(), 7, tmp_path)
