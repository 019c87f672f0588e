"""Labelled rows by which the exported model can promise a recall or a precision."""

import numpy as np

from fraudlab.bundle.decision import ALIKE, Labelled
from fraudlab.data.prepared import PreparedTable
from fraudlab.data.splits.contract import RowSplit
from fraudlab.data.splits.known import clock
from fraudlab.runs.predictions import groups_of, predictions_frame


def known_before(
    table: PreparedTable, split: RowSplit, recent: np.ndarray | None, label_delay_days: int
) -> Labelled | None:
    """The recent rows from before the training, whose labels are known when the test begins.

    Args:
        table: where rows lie.
        split: whose ``recent`` rows are scored.
        recent: their scores by the exported model; None where there are none.
        label_delay_days: by which the test lies after the training, and so these rows before it: a burst that goes on
            into the training is better known than one of the test.

    Returns:
        None where labels have times of their own, or none of these rows is a fraud.
    """
    time = table.column(table.schema.time)
    if recent is None or time is None or table.schema.label_time is not None:
        return None
    moment, day = clock(time)
    before = moment[split.recent] < moment[split.train[0]] - label_delay_days * day
    label = table.label.to_numpy()[split.recent[before]]
    if not label.any():
        return None
    by, group = groups_of(predictions_frame(table, split.recent[before], recent[before]), None)
    return Labelled(
        label,
        recent[before],
        group if by in ("card", "terminal") else None,
        f"this model's scores of {len(label):,} rows from {label_delay_days} days and more before its training",
        ALIKE,
    )
