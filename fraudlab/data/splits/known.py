"""What is known when: labels younger than the delay are left out of every split in time."""

import logging

import numpy as np
import polars as pl

from fraudlab.data.splits.contract import Rows, RowSplit

log = logging.getLogger(__name__)


def known_rows(
    split: RowSplit, label_delay_days: int, time: pl.Series, label_time: pl.Series | None = None
) -> RowSplit:
    """The split without the rows whose labels nobody knows when they are needed, which is told.

    The model that is chosen learns from what is known when the validation begins; it is chosen by, and the tested model
    learns from, what is known when the test begins.
    """
    moment, _ = clock(time)
    known_at = known_moments(label_delay_days, time, label_time)

    def known(rows: Rows, before: Rows) -> Rows:
        return rows[known_at[rows] <= moment[before[0]]] if len(before) else rows

    selection_train = known(split.selection_train, split.validation)
    validation = known(split.validation, split.test)
    train = known(split.train, split.test) if split.refit else selection_train
    left_out = len(split.train) - len(train), len(split.validation) - len(validation)
    if any(left_out):
        delay = f"label_delay_days={label_delay_days}" if label_time is None else label_time.name
        log.info("%s leaves out %d rows of training and %d of validation", delay, *left_out)
    return RowSplit(selection_train, validation, train, split.test)


def known_moments(label_delay_days: int, time: pl.Series, label_time: pl.Series | None) -> np.ndarray:
    """When the label of every row is known, on the clock of :func:`clock`."""
    moment, day = clock(time)
    delayed: np.ndarray = moment + label_delay_days * day
    if label_time is None:
        return delayed
    own, _ = clock(label_time.fill_null(strategy="zero") if not label_time.dtype.is_temporal() else label_time)
    return np.where(label_time.is_null().to_numpy(), delayed, own)


def clock(time: pl.Series) -> tuple[np.ndarray, int]:
    """The moment of every row and the length of a day, in one unit."""
    return (time.dt.epoch("us").to_numpy(), 86_400_000_000) if time.dtype.is_temporal() else (time.to_numpy(), 86_400)
