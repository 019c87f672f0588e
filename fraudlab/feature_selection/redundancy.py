"""Numeric columns that repeat each other: missing in the same rows, and correlated there.

The recipe is Chris Deotte's for the 339 V columns of IEEE-CIS ("XGB Fraud with Magic", Kaggle 2019): group columns by
where they are missing, and inside a group keep of each correlated subset the column with the most distinct values.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

MOST_ROWS = 100_000


@dataclass(frozen=True)
class Subset:
    """A column that is kept, and those that correlate with it: they are left out."""

    kept: str
    left_out: tuple[str, ...]


def missing_together(columns: Iterable[pl.Series]) -> list[tuple[float, list[str]]]:
    """Groups of columns that are missing (null or not finite) in the very same rows: share of those rows, names.

    Columns may come one at a time: of each only a hash stays. Groups stand in the order of their first columns.
    """
    groups: dict[bytes, tuple[float, list[str]]] = {}
    for column in columns:
        missing = np.isnan(_floats(column))
        key = hashlib.sha256(np.packbits(missing).tobytes()).digest()
        groups.setdefault(key, (float(missing.mean()), []))[1].append(column.name)
    return list(groups.values())


def correlated(columns: Sequence[pl.Series], threshold: float) -> list[Subset]:
    """Part columns of one group into subsets, each led by the column with the most distinct values.

    A leader takes every column, not taken yet, whose correlation with it exceeds the threshold: so whatever is left
    out correlates with a column that is kept. Correlation is Pearson's, its sign aside, over the known rows; a
    constant column correlates with none. Of more than :data:`MOST_ROWS` known rows every n-th is looked at.

    Args:
        columns: missing in the same rows.
        threshold: in (0, 1).
    """
    known = np.flatnonzero(~np.isnan(_floats(columns[0])))
    known = known[:: max(1, -(-len(known) // MOST_ROWS))]
    values = np.stack([_floats(column)[known] for column in columns])
    distinct = [len(np.unique(column)) for column in values]
    correlation = _correlation(values)
    waiting = sorted(range(len(columns)), key=lambda i: -distinct[i])
    subsets = []
    while waiting:
        leader, *others = waiting
        taken = [i for i in others if correlation[leader, i] > threshold]
        subsets.append(Subset(columns[leader].name, tuple(columns[i].name for i in sorted(taken))))
        waiting = [i for i in others if i not in taken]
    return subsets


def _floats(column: pl.Series) -> NDArray[np.float64]:
    value = column.cast(pl.Float64).fill_null(np.nan).to_numpy()
    return np.where(np.isfinite(value), value, np.nan)


def _correlation(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """``[columns, columns]``: size of Pearson's correlation; 0 where a column is constant."""
    centered = values - values.mean(axis=1, keepdims=True) if values.size else values
    length = np.sqrt(np.square(centered).sum(axis=1))
    length[[len(np.unique(column)) < 2 for column in values]] = np.inf
    centered /= length[:, None]
    return np.abs(centered @ centered.T)
