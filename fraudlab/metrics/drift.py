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
    edges = quantile_edges(before, bins)
    return _index(counts_between(edges, before), counts_between(edges, now))


def quantile_edges(sample: NDArray[Any], bins: int) -> NDArray[Any]:
    """What parts ``sample`` [N > 0] without NaN into at most ``bins`` bins of equal share: rising, fewer on ties."""
    return np.unique(np.quantile(sample, np.linspace(0, 1, bins + 1)[1:-1]))


def counts_between(edges: NDArray[Any], sample: NDArray[Any]) -> NDArray[np.int64]:
    """How many values lie in each bin, ``[len(edges) + 1]``: up to the first edge, to the second, ..., above all."""
    return np.bincount(np.searchsorted(edges, sample, side="left"), minlength=len(edges) + 1)


def category_stability_index(before: NDArray[Any], now: NDArray[Any]) -> float:
    """The same index of two samples of category ids, integers from 0 on, each id a bin."""
    ids = int(max(before.max(initial=0), now.max(initial=0))) + 1
    return _index(*(np.bincount(each, minlength=ids) for each in (before, now)))


def _index(before: NDArray[Any], now: NDArray[Any]) -> float:
    there = (before > 0) | (now > 0)
    shares = [np.maximum(count[there], 0.5) / count.sum() for count in (before, now)]
    return float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum())
