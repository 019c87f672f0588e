"""Label delay: labels that are not known yet are left out of every split in time."""

import logging

import numpy as np
import polars as pl

from fraudlab.data.splits.contract import NO_ROWS, Rows, RowSplit

log = logging.getLogger(__name__)

_LEAST_RECENT = 1000  # alert budgets are counted in 1,000 rows


def known_rows(
    split: RowSplit, label_delay_days: int, time: pl.Series, label_time: pl.Series | None = None
) -> RowSplit:
    """The split without the rows whose labels are not known when they are needed; logs how many.

    The chosen model is fitted on labels known when the validation begins. The choice itself, and the tested model, use
    labels known when the test begins.
    """
    moment, _ = clock(time)
    known_at = known_moments(label_delay_days, time, label_time)
    selection_train = known_before(split.selection_train, split.validation, known_at, moment)
    validation = known_before(split.validation, split.test, known_at, moment)
    train = known_before(split.train, split.test, known_at, moment) if split.refit else selection_train
    recent = split.recent
    if split.refit and len(train) and len(split.test) and not len(recent):
        recent = np.arange(train[-1] + 1, split.test[0])
    recent = recent if len(recent) >= _LEAST_RECENT else NO_ROWS
    left_out = len(split.selection_train) - len(selection_train), len(split.train) - len(train)
    if any(left_out):
        delay = f"label_delay_days={label_delay_days}" if label_time is None else label_time.name
        log.info("%s leaves out %d training rows before the validation and %d before the test", delay, *left_out)
    return RowSplit(selection_train, validation, train, split.test, recent)


def known_before(rows: Rows, later: Rows, known_at: np.ndarray, moment: np.ndarray) -> Rows:
    """Those of ``rows`` whose labels are known when the ``later`` ones begin."""
    return rows[known_at[rows] <= moment[later[0]]] if len(later) else rows


def known_moments(label_delay_days: int, time: pl.Series, label_time: pl.Series | None) -> np.ndarray:
    """When the label of every row is known, on the clock of :func:`clock`."""
    moment, day = clock(time)
    delayed: np.ndarray = moment + label_delay_days * day
    if label_time is None:
        return delayed
    own, _ = clock(label_time.fill_null(strategy="zero") if not label_time.dtype.is_temporal() else label_time)
    return np.where(label_time.is_null().to_numpy(), delayed, own)


def days_of(time: pl.Series) -> np.ndarray:
    """The day of every row: since 1970-01-01 where time has dates, else as it counts its seconds."""
    found = time.cast(pl.Date).cast(pl.Int32) if time.dtype.is_temporal() else (time // 86400).cast(pl.Int32)
    return found.to_numpy()


def clock(time: pl.Series) -> tuple[np.ndarray, int]:
    """The moment of every row and the length of a day, in one unit."""
    return (time.dt.epoch("us").to_numpy(), 86_400_000_000) if time.dtype.is_temporal() else (time.to_numpy(), 86_400)
