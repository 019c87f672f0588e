"""Numbers of a column or of one record, and the maps that scale them: the same arithmetic for both."""

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fraudlab.errors import UserError

if TYPE_CHECKING:  # a record is encoded without it
    import polars as pl

_MOST_KNOTS = 1000
_MOST = 1e140  # sums of squares of larger numbers overflow
_FAR = 1e300  # infinite where a small scale divided; beyond, the quotient below would be NaN
_EDGE = 1e-7  # quantiles 0 and 1 would lie at infinity


def as_numbers(column: "pl.Series") -> NDArray[np.float64]:
    """A column as float64, NaN where missing; maybe its own memory, not to be written to.

    Raises:
        UserError: the column holds something else than numbers.
    """
    import polars as pl

    if column.dtype in (pl.Float64, pl.Float32):
        known = column.fill_null(math.nan) if column.null_count() else column
        return known.to_numpy().astype(np.float64, copy=False)
    if not (column.dtype.is_numeric() or column.dtype in (pl.Boolean, pl.String, pl.Null)):
        raise UserError(
            f"column {column.name} should be numeric but is of type {column.dtype}; make it categorical or leave it out"
        )
    try:
        return column.cast(pl.Float64).fill_null(math.nan).to_numpy()
    except pl.exceptions.PolarsError:
        cast = column.cast(pl.Float64, strict=False)
        sample = column.filter(cast.is_null() & column.is_not_null())
        raise UserError(
            f"column {column.name} should be numeric but holds {sample[0]!r}; make it categorical, "
            "or name that value in data.missing_values"
        ) from None


def as_number(name: str, value: Any) -> float:
    """One value as a float, as a cast of its column would read it; NaN where missing.

    Raises:
        UserError: the value is no number; the message names its column, ``name``.
    """
    if value is None:
        return math.nan
    try:
        if isinstance(value, str) and ("_" in value or value != value.strip() or not value.isascii()):
            raise ValueError  # Python reads these, a cast does not
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise UserError(f"column {name}: {value!r} is no number; give a number, or leave it out if missing") from None


def log1p(value: NDArray[np.float64]) -> NDArray[np.float64]:
    """sign(x) log(1 + |x|)."""
    return np.sign(value) * np.log1p(np.abs(value))


def smoothly_clipped(value: NDArray[np.float64]) -> NDArray[np.float64]:
    """``x / sqrt(1 + (x / 3)^2)``, never beyond -3 and 3 (Holzmueller et al. 2024, arXiv:2407.04491)."""
    value = np.clip(value, -_FAR, _FAR)
    return value / np.hypot(1.0, value / 3)


def normal_quantiles(known: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Values and the normal quantiles they stand for; a value that spans several quantiles takes their middle."""
    share = np.linspace(0.0, 1.0, min(_MOST_KNOTS, max(len(known), 2)))
    value = np.quantile(known, share)
    knots, first, count = np.unique(value, return_index=True, return_counts=True)
    middle = (share[first] + share[first + count - 1]) / 2
    normal = NormalDist()
    return knots, np.array([normal.inv_cdf(min(max(q, _EDGE), 1 - _EDGE)) for q in middle])


class Scale(NamedTuple):
    """How one column is scaled, and whether values of it are missing."""

    mean: float
    scale: float
    missing: bool
    knots: NDArray[np.float64]
    targets: NDArray[np.float64]


def scale_of(column: "pl.Series", scaling: str, log1p_first: bool) -> Scale:
    """What a fit on ``column`` learns; errors as :meth:`fraudlab.features.encoder.TableEncoder.fit` has them."""
    known = as_numbers(column.drop_nulls())
    if not (finite := np.isfinite(known)).all():
        known = known[finite]
    missing = len(known) < len(column)
    if not len(known):
        known = np.zeros(1)  # as a constant column
    if log1p_first:
        known = log1p(known)
    least, most = known.min(), known.max()
    if scaling != "none" and max(-least, most) > _MOST:
        raise UserError(
            f"column {column.name} holds numbers from {least:g} to {most:g}, too large to scale; "
            "set features.encoder.log1p=true or name such values in data.missing_values"
        )
    mean, scale, knots, targets = 0.0, 1.0, np.empty(0), np.empty(0)
    if scaling == "standard":
        mean, deviation = known.mean(), known.std()
        # A constant column becomes 0. Rounding can leave its mean a bit off and its deviation above 0.
        scale = deviation if deviation > 0 and least < most else math.inf
    elif scaling == "robust":
        low, mean, high = np.quantile(known, [0.25, 0.5, 0.75])
        # Where more than half of the rows have one value, half of the range stands for the quartiles' distance.
        scale = high - low if high > low else (most - least) / 2 if most > least else math.inf
    elif scaling == "quantile_normal":
        knots, targets = normal_quantiles(known)
    return Scale(mean, scale, missing, knots, targets)


class Curves:
    """Piecewise linear maps, one a column: the same arithmetic for a column of a frame and for one record.

    Args:
        knots: of each column, the values, rising, where its map bends.
        targets: of each column, what its knots become.
    """

    def __init__(self, knots: Sequence[NDArray[np.float64]], targets: Sequence[NDArray[np.float64]]) -> None:
        self._knots = knots
        # The pieces of all columns in a row; the last piece of each is flat and has no end.
        sizes = np.array([len(column) for column in knots], np.int64)
        self._last = np.cumsum(sizes) - 1
        self._first = self._last - sizes + 1
        bits = (int(sizes.max(initial=1)) - 1).bit_length()
        self._steps = [1 << bit for bit in reversed(range(bits))]
        self._left = np.concatenate([*knots, []])
        self._run = np.concatenate([*(np.diff(column, append=math.inf) for column in knots), []])
        self._base = np.concatenate([*targets, []])
        self._rise = np.concatenate([*(np.diff(column, append=column[-1]) for column in targets), []])

    def of_column(self, column: int, value: NDArray[np.float64]) -> NDArray[np.float64]:
        piece = np.maximum(self._knots[column].searchsorted(value, side="right") - 1, 0)
        return self._along(self._first[column] + piece, value)

    def of_row(self, value: NDArray[np.float64]) -> NDArray[np.float64]:
        piece = self._first
        for step in self._steps:  # a binary search in all columns at once
            probe = np.minimum(piece + step, self._last)
            piece = np.where(self._left[probe] <= value, probe, piece)
        return self._along(piece, value)

    def _along(self, piece: NDArray[np.int64], value: NDArray[np.float64]) -> NDArray[np.float64]:
        share = np.maximum((value - self._left[piece]) / self._run[piece], 0.0)
        along: NDArray[np.float64] = self._base[piece] + self._rise[piece] * share
        return along
