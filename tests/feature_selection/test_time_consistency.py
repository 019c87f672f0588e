"""A feature whose relation to fraud turns is told from one whose relation lasts."""

from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score
from sklearn.tree import DecisionTreeClassifier

from fraudlab.errors import UserError
from fraudlab.feature_selection.time_consistency import consistency, first_and_last

ROWS = 4000
RNG = np.random.default_rng(7)
FRAUD = RNG.random((2, ROWS)) < 0.2  # of the first and of the last month


def test_a_relation_that_turns_does_not_last() -> None:
    noise = RNG.standard_normal((2, ROWS))
    stays, turns = noise + FRAUD, noise + FRAUD * np.array([[1], [-1]])
    for values, lasts in ((stays, True), (turns, False)):
        found = consistency(pl.Series(values[0]), FRAUD[0], pl.Series(values[1]), FRAUD[1], numeric=True)
        assert found.first_auc > 0.7
        assert found.lasts(0.5) == lasts
    words = np.where(FRAUD ^ (RNG.random((2, ROWS)) < 0.3), "x", "y")
    for last, fraud, lasts in ((words[1], FRAUD[1], True), (words[1], ~FRAUD[1], False)):
        assert consistency(pl.Series(words[0]), FRAUD[0], pl.Series(last), fraud, numeric=False).lasts(0.5) == lasts


@pytest.mark.parametrize("shape", ["normal", "counts", "missing", "valley"])
def test_as_good_as_a_tree(shape: str) -> None:
    x = RNG.standard_normal((2, ROWS)) + FRAUD
    x = {"normal": x, "counts": np.floor(np.exp(x)), "missing": np.where(x > 1, np.nan, x), "valley": np.abs(x)}[shape]
    found = consistency(pl.Series(x[0]), FRAUD[0], pl.Series(x[1]), FRAUD[1], numeric=True)
    tree = DecisionTreeClassifier(max_leaf_nodes=32, min_samples_leaf=20).fit(x[0][:, None], FRAUD[0])
    first, last = (roc_auc_score(FRAUD[i], tree.predict_proba(x[i][:, None])[:, 1]) for i in range(2))
    assert found.first_auc == pytest.approx(first, abs=0.03)
    assert found.last_auc > last - 0.02


def test_missing_and_unseen_categories_have_a_rate() -> None:
    fraud = np.arange(200) % 2 == 0
    first = pl.Series([None if f else "a" for f in fraud])
    assert consistency(first, fraud, first, fraud, numeric=False) == (1.0, 1.0)
    unseen = pl.Series(["b"] * 200)
    assert consistency(first, fraud, unseen, fraud, numeric=False) == (1.0, 0.5)
    empty = pl.Series([None] * 200, dtype=pl.Float64)
    assert consistency(empty, fraud, empty, fraud, numeric=True) == (0.5, 0.5)


def test_first_and_last_days() -> None:
    seconds = pl.Series(np.arange(0, 100 * 86400, 21600))  # four rows a day
    first, last = first_and_last(seconds, 30)
    assert (first[0], first[-1], last[0], last[-1]) == (0, 119, 400 - 120, 399)
    moments = pl.Series([datetime(2020, 1, 1) + timedelta(seconds=s) for s in seconds])
    for same in (moments, moments.cast(pl.Datetime("ms"))):
        assert [part.tolist() for part in first_and_last(same, 30)] == [first.tolist(), last.tolist()]
    with pytest.raises(UserError, match="span 99.8 days"):
        first_and_last(seconds, 50)
