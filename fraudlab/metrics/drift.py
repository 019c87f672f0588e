"""How far a column's distribution has moved."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

WATCH, ACT = 0.1, 0.25
"""Usual limits of the index: below the first a column is stable, above the second it has shifted."""


def population_stability_index(before: NDArray[Any], now: NDArray[Any], bins: int = 10) -> float:
    """Population stability index of two samples of one column: 0 where they are alike, unbounded.

    Sum over bins of (share now - share before) * log(share now / share before); bins are the deciles of ``before``, of
    which equal ones count once, and an empty bin counts as half a value.

    Args:
        before: sample [N] to compare with, numbers without NaN.
        now: sample [M].
        bins: most bins.
    """
    edges = np.unique(np.quantile(before, np.linspace(0, 1, bins + 1)[1:-1]))
    return _index(
        *(np.bincount(np.searchsorted(edges, each, side="left"), minlength=len(edges) + 1) for each in (before, now))
    )


def category_stability_index(before: NDArray[Any], now: NDArray[Any]) -> float:
    """The same index of two samples of category ids, integers from 0 on, each id a bin."""
    ids = int(max(before.max(initial=0), now.max(initial=0))) + 1
    return _index(*(np.bincount(each, minlength=ids) for each in (before, now)))


def _index(before: NDArray[Any], now: NDArray[Any]) -> float:
    there = (before > 0) | (now > 0)
    shares = [np.maximum(count[there], 0.5) / count.sum() for count in (before, now)]
    return float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum())
