"""Columns that repeat each other are found by where they are missing and by correlation."""

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fraudlab.feature_selection.redundancy import Subset, correlated, missing_together


def test_groups_are_missing_in_the_same_rows() -> None:
    columns = [
        pl.Series("a", [1.0, None, 3.0, 4.0]),
        pl.Series("b", [1, 2, 3, 4]),
        pl.Series("c", [5.0, math.nan, math.nan, 7.0]),
        pl.Series("d", [True, None, False, True]),
        pl.Series("e", [0.0, math.inf, 2.0, 2.0]),
    ]
    assert missing_together(iter(columns)) == [(0.25, ["a", "d", "e"]), (0.0, ["b"]), (0.5, ["c"])]


def test_the_column_with_most_values_is_kept() -> None:
    rng = np.random.default_rng(0)
    fine = rng.standard_normal(2000)
    columns = {"coarse": np.round(fine), "turned": -fine.round(1), "fine": fine, "apart": rng.standard_normal(2000)}
    subsets = correlated([pl.Series(name, values) for name, values in columns.items()], 0.75)
    assert subsets == [Subset("fine", ("coarse", "turned")), Subset("apart", ())]


def test_constant_and_empty_columns_repeat_nothing() -> None:
    columns = [pl.Series(name, [1.0] * 5) for name in "ab"]
    assert correlated(columns, 0.5) == [Subset("a", ()), Subset("b", ())]
    columns = [pl.Series(name, [None] * 5, dtype=pl.Float64) for name in "ab"]
    assert correlated(columns, 0.5) == [Subset("a", ()), Subset("b", ())]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), threshold=st.floats(0.2, 0.95))
def test_what_is_left_out_correlates_with_what_is_kept(seed: int, threshold: float) -> None:
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((60, 3)) @ rng.standard_normal((3, 9)) + 0.5 * rng.standard_normal((60, 9))
    known = rng.random(60) < 0.8
    columns = [pl.Series(f"c{i}", np.where(known, values[:, i], np.nan)) for i in range(9)]
    reference = np.abs(np.corrcoef(values[known], rowvar=False))
    subsets = correlated(columns, threshold)
    assert sorted(name for s in subsets for name in (s.kept, *s.left_out)) == [c.name for c in columns]
    for subset in subsets:
        for name in subset.left_out:
            assert reference[int(subset.kept[1:]), int(name[1:])] > threshold
    kept = [int(subset.kept[1:]) for subset in subsets]
    between = reference[np.ix_(kept, kept)] - np.eye(len(kept))
    assert between.max(initial=0) == pytest.approx(min(between.max(initial=0), threshold))
