"""Predictions of a split, and the metrics computed from them: the same for training and for evaluation."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from fraudlab.data.prepared import PreparedTable
from fraudlab.data.splits.contract import Rows
from fraudlab.errors import UserError
from fraudlab.metrics.cost import best_cost_threshold
from fraudlab.metrics.metrics import ADMIN_COST, compute_metrics
from fraudlab.metrics.operating_points import carried_over


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


def split_metrics(
    predictions: Mapping[str, pl.DataFrame], admin_cost: float = ADMIN_COST, recovery_share: float = 1.0
) -> dict[str, Any]:
    """Metrics of each part, ``val`` and, if it is there, ``test``; the cost threshold is chosen on validation.

    With ``recent``, scores by a tested model that is another one than validation scored, the threshold is carried over
    to that model's scale before it is applied to the test.

    Args:
        predictions: of each part, as :func:`predictions_frame` gives them.
        admin_cost: of one alert, see :mod:`fraudlab.metrics.cost`.
        recovery_share: of a fraud's amount, what an alert saves.
    """
    validation = predictions["val"]
    score = validation["score"].to_numpy()
    scores = {"val": score, "test": score}
    if "recent" in predictions:
        scores["test"] = carried_over(score, predictions["recent"]["score"].to_numpy())
    amount = column(validation, "amount")
    label = validation["label"].to_numpy()
    found = {}
    for part in ("val", "test"):
        if part in predictions:
            costs = admin_cost, recovery_share
            threshold = None if amount is None else best_cost_threshold(label, scores[part], amount, *costs)
            found[part] = _metrics_of(predictions[part], threshold, *costs)
    return found


def groups_of(rows: pl.DataFrame, by: str | None) -> tuple[str, np.ndarray]:
    """What is drawn, and the number of each row's group; a row without a card or terminal is a group of its own.

    None takes the card or the terminal, whichever the frauds are less spread over, else the day, else the row.

    Raises:
        UserError: the rows do not have what was asked for.
    """
    number = {"row": pl.int_range(pl.len())}
    for name in ("card", "terminal"):
        if rows[f"{name}_id"].null_count() < len(rows):
            value = pl.col(f"{name}_id")
            number[name] = pl.struct(value, pl.when(value.is_null()).then(pl.int_range(pl.len())))
    if (day := day_of(rows["time"])) is not None:
        number["day"] = pl.lit(day)
    if by is None:
        frauds = rows.with_columns(**number).filter(pl.col("label") == 1)
        known = [name for name in ("terminal", "card") if name in number]
        by = min(known, key=lambda name: frauds[name].n_unique(), default="day" if "day" in number else "row")
    if by not in number:
        raise UserError(f"group={by}: the predictions have no {by} column; use {' or '.join(sorted(number))}")
    found = rows.select(number[by].alias(by)).with_columns(pl.col(by).rank("dense") - 1)[by]
    return by, found.cast(pl.Int64).to_numpy()


def _metrics_of(
    frame: pl.DataFrame, cost_threshold: float | None, admin_cost: float, recovery_share: float
) -> dict[str, Any]:
    day = day_of(frame["time"])
    return compute_metrics(
        frame["label"].to_numpy(),
        frame["score"].to_numpy(),
        day=None if day is None else day.to_numpy(),
        card=column(frame, "card_id"),
        amount=column(frame, "amount"),
        cost_threshold=cost_threshold,
        admin_cost=admin_cost,
        recovery_share=recovery_share,
    )


def day_of(time: pl.Series) -> pl.Series | None:
    """The number of each row's day; None where a row has no time."""
    if time.null_count():
        return None
    return time.cast(pl.Date).cast(pl.Int32) if time.dtype.is_temporal() else (time // 86400).cast(pl.Int64)


def column(frame: pl.DataFrame, name: str) -> np.ndarray | None:
    """A column that has every value it needs: amounts must be known and not negative (a refund has no savings)."""
    if frame[name].null_count() or (name == "amount" and (frame[name] < 0).any()):
        return None
    return frame[name].to_numpy()
