"""The prepared table is made once, found again, and another one when anything that decides it changes."""

from pathlib import Path

import numpy as np

from fraudlab.config import ColumnsFeaturesConfig, EncoderConfig, HandbookConfig, HandbookFeaturesConfig
from fraudlab.data.prepared import prepared_table

DATA = HandbookConfig(customers=20, terminals=50, days=10, radius=30.0)


def test_is_found_again_unless_something_changes(tmp_path: Path) -> None:
    first = prepared_table(DATA, HandbookFeaturesConfig(), 7, tmp_path)
    made = first.path.stat().st_mtime_ns
    encoder = EncoderConfig(scaling="none")  # fitted per split, so it does not belong to the table
    again = prepared_table(DATA, HandbookFeaturesConfig(encoder=encoder), 7, tmp_path)
    assert (again.path, again.path.stat().st_mtime_ns) == (first.path, made)
    others = [
        prepared_table(DATA, HandbookFeaturesConfig(), 3, tmp_path),
        prepared_table(DATA, ColumnsFeaturesConfig(), 7, tmp_path),
        prepared_table(
            HandbookConfig(customers=21, terminals=50, days=10, radius=30.0), HandbookFeaturesConfig(), 7, tmp_path
        ),
    ]
    assert len({table.path for table in [first, *others]}) == 4
    assert len({table.fingerprint for table in [first, *others]}) == 4
    assert len({table.data_fingerprint for table in [first, *others]}) == 4


def test_rows_are_read_by_position(tmp_path: Path) -> None:
    table = prepared_table(DATA, HandbookFeaturesConfig(), 7, tmp_path)
    identity = table.column("TRANSACTION_ID")
    rows = np.array([3, 4, 9])
    assert identity is not None
    assert table.rows(rows, ["TRANSACTION_ID"])["TRANSACTION_ID"].to_list() == identity[rows].to_list()
    assert table.column(None) is None
