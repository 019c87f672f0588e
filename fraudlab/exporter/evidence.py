"""Labelled rows by which the exported model can promise a recall or a precision."""

import numpy as np

from fraudlab.bundle.decision import Labelled
from fraudlab.data.prepared import PreparedTable
from fraudlab.data.splits.contract import RowSplit
from fraudlab.runs.predictions import groups_of, predictions_frame


def known_before(table: PreparedTable, split: RowSplit, recent: np.ndarray | None) -> Labelled | None:
    """The recent rows from before the training, whose labels are known when the test begins.

    Args:
        table: where rows lie.
        split: whose ``recent`` rows are scored.
        recent: their scores by the exported model; None where there are none.

    Returns:
        None where labels have times of their own, or fewer of these rows are frauds than of the validation.
    """
    if recent is None or table.schema.label_time is not None:
        return None
    before = split.recent < split.train[0]
    label = table.label.to_numpy()[split.recent[before]]
    if label.sum() < max(1, table.label.to_numpy()[split.validation].sum()):
        return None
    by, group = groups_of(predictions_frame(table, split.recent[before], recent[before]), None)
    return Labelled(
        label,
        recent[before],
        group if by in ("card", "terminal") else None,
        f"this model's scores of {len(label):,} rows before its training",
        "later frauds and their share are as in these rows, each card's or terminal's apart from the others'",
    )
