"""Labelled rows by which a refitted model can promise something lie as far before its training as the test after it."""

from pathlib import Path

import numpy as np
import polars as pl

from fraudlab.data.prepared import PreparedTable
from fraudlab.data.sources.contract import Source
from fraudlab.data.splits.contract import RowSplit
from fraudlab.exporter.evidence import known_before
from fraudlab.features.columns import TableColumns
from fraudlab.schema import Column, TableSchema


def test_rows_of_the_last_days_before_the_training_are_left_out() -> None:
    day = np.repeat(np.arange(30), 5)
    frame = pl.DataFrame({"when": day * 86_400 + 7, "card": np.arange(150) % 9, "fraud": np.tile([1, 0, 0, 0, 0], 30)})
    columns = (
        Column("when", "integer", "time"),
        Column("card", "integer", "card"),
        Column("fraud", "integer", "label"),
    )
    schema = TableSchema("own", columns)
    table = PreparedTable(Path("nothing-added"), Source(frame.lazy(), schema, ""), TableColumns(schema), "", "")
    rows = np.arange(150)
    recent = rows[day < 14]
    split = RowSplit(rows[:0], rows[:0], rows[(day >= 14) & (day < 20)], rows[day >= 25], recent)
    score = recent / 150
    known = known_before(table, split, score, 5)
    assert known is not None
    assert np.array_equal(known.probability, score[day[:70] < 9])
    assert np.array_equal(known.label, frame["fraud"].to_numpy()[:45])
    assert "45 rows from 5 days" in known.rests_on
    assert known_before(table, split, score, 14) is None
