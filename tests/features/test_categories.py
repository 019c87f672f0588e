"""A column's categories get the ids that its values get one by one, whatever its type."""

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fraudlab.features.categories import FIRST, MISSING, UNKNOWN, Categories, vocabulary

WORDS = ["150", "-3", "0", "a", "true", "inf", "0.5", "1e5", "100000", "9007199254740993", "nan", "", "1_0"]
floats = st.one_of(st.none(), st.floats(), st.sampled_from([150.0, -3.0, -0.0, 0.5, 1e5, 1e19, -1e300, 1e-17 + 1]))
whole = st.one_of(st.none(), st.integers(-200, 200), st.sampled_from([100_000, 2**31 - 1]))


@settings(max_examples=200, deadline=None)
@given(
    words=st.lists(st.sampled_from(WORDS), unique=True),
    values=st.one_of(
        st.tuples(st.lists(floats), st.sampled_from([pl.Float64, pl.Float32])),
        st.tuples(st.lists(whole), st.sampled_from([pl.Int64, pl.Int32])),
        st.tuples(st.lists(st.one_of(st.none(), st.sampled_from(WORDS), st.text(max_size=2))), st.just(pl.String)),
        st.tuples(st.lists(st.one_of(st.none(), st.booleans())), st.just(pl.Boolean)),
    ),
)
def test_a_column_gets_the_ids_of_its_values(words: list[str], values: tuple[list, type[pl.DataType]]) -> None:
    column = pl.Series("x", values[0], dtype=values[1], strict=False)
    categories = Categories(words)
    ids = categories.of_column(column)
    assert ids.dtype == np.int64
    assert ids.tolist() == [categories.of_value(value) for value in column]


@pytest.mark.parametrize("words", [["3", "1", "7"], ["3", "1", "7", "0.5"], ["1", "3000000000"]])
def test_numbers_near_each_other_and_far_apart(words: list[str]) -> None:
    ids = Categories(words).of_column(pl.Series([3.0, 1.0, 2.0, None, math.nan, math.inf, -1e300]))
    by_value = dict(zip(map(float, words), range(FIRST, FIRST + len(words)), strict=True))
    assert ids.tolist() == [by_value.get(3.0, UNKNOWN), by_value[1.0], UNKNOWN, MISSING, MISSING, UNKNOWN, UNKNOWN]
    assert Categories(words).of_column(pl.Series([float(words[-1])])).tolist() == [FIRST + len(words) - 1]


def test_the_vocabulary_is_by_count_then_text() -> None:
    assert vocabulary(pl.Series([2.0, 2.0, 10.0, 10.0, 1.0, None, math.nan]), 2) == ["10", "2"]
