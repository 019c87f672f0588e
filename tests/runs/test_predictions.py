"""Predictions carry the roles a table has, and their metrics those of scikit-learn."""

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import average_precision_score

from fraudlab.data.prepared import PreparedTable
from fraudlab.data.sources.contract import Source
from fraudlab.features.columns import TableColumns
from fraudlab.runs.predictions import predictions_frame, split_metrics
from fraudlab.schema import Column, TableSchema


def table(*, whole: bool) -> PreparedTable:
    draw = np.random.default_rng(0)
    columns = [Column("key", "integer", "id"), Column("fraud", "integer", "label")]
    frame = pl.DataFrame({"key": np.arange(200), "fraud": (draw.random(200) < 0.2).astype(np.int8)})
    if whole:
        columns += [
            Column("when", "datetime", "time"),
            Column("who", "integer", "card"),
            Column("price", "number", "amount"),
        ]
        frame = frame.with_columns(
            when=pl.Series([datetime(2020, 1, 1) + timedelta(hours=hour) for hour in range(200)]),
            who=pl.Series(draw.integers(0, 50, 200)),
            price=pl.Series(draw.gamma(2, 10, 200)),
        )
    schema = TableSchema("t", tuple(columns))
    return PreparedTable(Path("nothing-added"), Source(frame.lazy(), schema, ""), TableColumns(schema), "", "")


@pytest.mark.parametrize("whole", [True, False])
def test_figures_of_what_the_table_has(whole: bool) -> None:
    made = table(whole=whole)
    score = np.random.default_rng(1).random(200).astype(np.float32)
    rows = np.arange(0, 200, 2)
    validation = predictions_frame(made, rows + 1, score[rows + 1])
    test = predictions_frame(made, rows, score[rows])
    assert test.columns == ["transaction_id", "time", "card_id", "terminal_id", "amount", "label", "score"]
    assert test["transaction_id"].to_list() == rows.tolist()
    metrics = split_metrics({"val": validation, "test": test})
    expected = average_precision_score(test["label"], test["score"])
    assert metrics["test"]["average_precision"] == pytest.approx(expected, abs=1e-12)
    for name in ("card_precision_at_100", "cost_savings"):
        assert (metrics["test"][name] is not None) == whole


def test_days_may_be_counted_in_seconds_with_decimals() -> None:
    made = table(whole=True)
    frame = predictions_frame(made, np.arange(200), np.random.default_rng(1).random(200, np.float32))
    seconds = frame.with_columns(time=pl.col("time").dt.epoch("s") + 0.25)
    assert split_metrics({"val": seconds}) == split_metrics({"val": frame})


def test_refunds_leave_savings_out() -> None:
    made = table(whole=True)
    frame = predictions_frame(made, np.arange(200), np.linspace(0, 1, 200, dtype=np.float32))
    frame = frame.with_columns(amount=pl.col("amount") - 5)
    assert split_metrics({"val": frame, "test": frame})["test"]["cost_savings"] is None


def test_the_cost_threshold_is_carried_over_to_the_tested_model() -> None:
    """Savings on the test depend on how the tested model ranks, not on how it scales its scores."""
    made = table(whole=True)
    score = np.random.default_rng(1).random(200).astype(np.float32)
    label = made.label.to_numpy()
    score = (0.6 * score + 0.4 * label * score).astype(np.float32)
    frame = predictions_frame(made, np.arange(200), score)
    scaled = frame.with_columns(score=pl.Series(score**3))
    same = split_metrics({"val": frame, "test": frame})
    assert split_metrics({"val": frame, "test": scaled, "recent": scaled})["test"]["cost_savings"] == pytest.approx(
        same["test"]["cost_savings"], abs=1e-12
    )
    assert split_metrics({"val": frame, "test": scaled})["test"]["cost_savings"] != same["test"]["cost_savings"]
    assert split_metrics({"val": frame, "test": scaled, "recent": scaled})["val"] == same["val"]
