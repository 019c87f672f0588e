"""Predictions of a split, and the metrics computed from them: the same for training and for evaluation."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from fraudlab.data.prepared import PreparedTable
from fraudlab.data.splits.contract import Rows
from fraudlab.metrics.cost import best_cost_threshold
from fraudlab.metrics.metrics import ADMIN_COST, compute_metrics


def predictions_frame(table: PreparedTable, rows: Rows, score: np.ndarray) -> pl.DataFrame:
    """Predictions of ``rows``: ``transaction_id, time, card_id, terminal_id, amount, label, score``.

    ``score``: float32 [len(rows)]. Columns the table has no role for are null.
    """
    schema = table.schema
    roles = {
        "transaction_id": schema.id,
        "time": schema.time,
        "card_id": schema.card,
        "terminal_id": schema.terminal,
        "amount": schema.amount,
    }
    names = [name for name in dict.fromkeys([*roles.values(), schema.label]) if name is not None]
    frame = table.rows(rows, names)
    columns = [(pl.col(name) if name else pl.lit(None)).alias(role) for role, name in roles.items()]
    return frame.select(*columns, label=pl.col(schema.label)).with_columns(score=pl.Series(score))


def split_metrics(predictions: Mapping[str, pl.DataFrame]) -> dict[str, Any]:
    """Metrics of each part, ``val`` and, if it is there, ``test``; the cost threshold is chosen on validation."""
    threshold = None
    validation = predictions["val"]
    amount = _column(validation, "amount")
    if amount is not None:
        label, score = validation["label"].to_numpy(), validation["score"].to_numpy()
        threshold = best_cost_threshold(label, score, amount, ADMIN_COST)
    return {part: _figures(frame, threshold) for part, frame in predictions.items()}


def _figures(frame: pl.DataFrame, cost_threshold: float | None) -> dict[str, Any]:
    day, time = None, frame["time"]
    if not time.null_count():
        temporal = time.dtype.is_temporal()
        day = (time.cast(pl.Date).cast(pl.Int32) if temporal else (time // 86400).cast(pl.Int64)).to_numpy()
    return compute_metrics(
        frame["label"].to_numpy(),
        frame["score"].to_numpy(),
        day=day,
        card=_column(frame, "card_id"),
        amount=_column(frame, "amount"),
        cost_threshold=cost_threshold,
    )


def _column(frame: pl.DataFrame, name: str) -> np.ndarray | None:
    """A column that has every value it needs: amounts must be known and not negative (a refund has no savings)."""
    if frame[name].null_count() or (name == "amount" and (frame[name] < 0).any()):
        return None
    return frame[name].to_numpy()
