"""Does what a feature says of fraud still hold months later? One small model a feature, judged on a later month.

The idea is Chris Deotte's ("XGB Fraud with Magic", Kaggle 2019): fit one model to one feature on the first month of
the training rows, score their last month, and leave the feature out where the AUC does not exceed 0.5 in either. The
model here is a table of fraud rates: of at most 65 bins of a number, or of each category.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fraudlab.errors import UserError
from fraudlab.metrics.ranking import roc_auc

_EDGES = 32
_LEAST_ROWS = 20  # of a category with a rate of its own; also how many rows the overall rate weighs

_BinOf = Callable[[pl.Series], NDArray[np.int64]]


class Consistency(NamedTuple):
    """AUC of a feature's model on the month it was fitted on and on the last month of the training rows."""

    first_auc: float
    last_auc: float

    def lasts(self, least_auc: float) -> bool:
        """Whether both exceed ``least_auc``."""
        return min(self) > least_auc


def first_and_last(time: pl.Series, days: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions of the rows of the first and of the last ``days`` days.

    Args:
        time: of each training row: date, datetime or a number of seconds; ascending.
        days: length of either part.

    Raises:
        UserError: the rows span less than two such parts.
    """
    second = (time.cast(pl.Datetime("us")).dt.epoch("s") if time.dtype.is_temporal() else time).to_numpy()
    span = days * 86400
    if second[-1] - second[0] < 2 * span:
        raise UserError(
            f"the training rows span {(second[-1] - second[0]) / 86400:.1f} days, less than a first and a last part "
            f"of days={days}; take fewer days or a longer training span"
        )
    return np.flatnonzero(second < second[0] + span), np.flatnonzero(second > second[-1] - span)


def consistency(
    first: pl.Series, first_fraud: NDArray[np.bool_], last: pl.Series, last_fraud: NDArray[np.bool_], *, numeric: bool
) -> Consistency:
    """Fit the rates of a feature on ``first`` and judge them on both.

    Args:
        first: the feature in the first month, ``[F]``.
        first_fraud: ``[F]``, frauds and genuine rows both.
        last: the feature in the last month, ``[L]``.
        last_fraud: ``[L]``, frauds and genuine rows both.
        numeric: whether the feature is a number; otherwise each value is a category.
    """
    bin_of = _number_bins(first) if numeric else _category_bins(first)
    bins, later = bin_of(first), bin_of(last)
    size = 1 + max(bins.max(), later.max())
    rows, frauds = np.bincount(bins, minlength=size), np.bincount(bins[first_fraud], minlength=size)
    rate = (frauds + _LEAST_ROWS * first_fraud.mean()) / (rows + _LEAST_ROWS)
    return Consistency(roc_auc(first_fraud, rate[bins]), roc_auc(last_fraud, rate[later]))


def _number_bins(first: pl.Series) -> _BinOf:
    """Bins between quantiles and of each quantile itself (a count is often 0); 0 where missing."""

    def floats(column: pl.Series) -> NDArray[np.float64]:
        return column.cast(pl.Float64).fill_null(np.nan).to_numpy()

    known = floats(first)
    known = known[np.isfinite(known)]
    distinct = np.unique(known)
    edges = distinct if len(distinct) <= _EDGES else np.unique(np.quantile(known, np.linspace(0, 1, _EDGES)))

    def bin_of(column: pl.Series) -> NDArray[np.int64]:
        value = floats(column)
        bins = 1 + np.searchsorted(edges, value) + np.searchsorted(edges, value, side="right")
        return np.where(np.isfinite(value), bins, 0)

    return bin_of


def _category_bins(first: pl.Series) -> _BinOf:
    """A bin a category; 0 where missing, 1 where rare or not seen in ``first``."""
    counts = first.cast(pl.String).alias("value").drop_nulls().value_counts()
    common = counts.filter(pl.col("count") >= _LEAST_ROWS)["value"]
    bins = {None: 0, **dict(zip(common, range(2, 2 + len(common)), strict=True))}
    return lambda column: column.cast(pl.String).replace_strict(bins, default=1, return_dtype=pl.Int64).to_numpy()
