"""scikit-learn's own checks, and what its tools do with the estimators."""

import pickle
from typing import Any, Self

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import TimeSeriesSplit, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from fraudlab.sklearn import TabNetClassifier, TabNetPretrainer, TabNetRegressor
from tests.sklearn.conftest import COLUMNS, FIT, SETTINGS, Table

pytestmark = pytest.mark.long


class WithY(TabNetPretrainer):
    """The pretrainer with a ``y`` that it leaves, as the checks give one."""

    def fit(self, X: Any, y: Any = None) -> Self:
        return super().fit(X, max_epochs=10)


NAMES = "arguments of fit have the names that they have in pytorch-tabnet"
EXCEPTIONS = {
    "TabNetClassifier": {"check_fit_score_takes_y": NAMES},
    "TabNetRegressor": {"check_fit_score_takes_y": NAMES},
    "WithY": {"check_methods_sample_order_invariance": "predict gives a pair"},
}
TINY = {"n_steps": 1, "n_independent": 1, "n_shared": 1, "verbose": 0}


@parametrize_with_checks(
    [TabNetClassifier(**TINY), TabNetRegressor(**TINY), WithY(**TINY)],
    expected_failed_checks=lambda estimator: EXCEPTIONS[type(estimator).__name__],
)
def test_estimator_checks(estimator: Any, check: Any) -> None:
    check(estimator)


def test_frames_are_as_arrays(table: Table) -> None:
    expected = TabNetClassifier(**SETTINGS).fit(table.X, table.word, **FIT)
    plain = {name: table.X[:, index] for index, name in enumerate(COLUMNS)}
    for frame, label in (
        (pd.DataFrame(plain), pd.Series(table.word)),
        (pl.DataFrame(plain).cast({"kind": pl.Int8, "country": pl.Int64}), pl.Series(table.word)),
        (torch.tensor(table.X).tolist(), table.word.tolist()),
    ):
        model = TabNetClassifier(**SETTINGS).fit(frame, label, **FIT)
        np.testing.assert_array_equal(model.predict_proba(frame), expected.predict_proba(table.X))
        if not isinstance(frame, list):
            assert model.feature_names_in_.tolist() == COLUMNS
            with pytest.raises(ValueError, match="feature names should match"):
                model.predict(frame[COLUMNS[::-1]])


def test_tools(table: Table) -> None:
    model = make_pipeline(StandardScaler(), TabNetClassifier(verbose=0, optimizer_params={"lr": 0.05}))
    scores = cross_val_score(
        model,
        table.X,
        table.label,
        cv=TimeSeriesSplit(2),
        scoring="roc_auc",
        params={"tabnetclassifier__max_epochs": 40},
    )
    assert scores.min() > 0.75
    copied = clone(model[-1])
    assert copied.get_params() == model[-1].get_params()
    with pytest.raises(NotFittedError):
        copied.predict(table.X)


def test_fit_draws_nothing_from_others_generators(table: Table) -> None:
    torch.manual_seed(7)
    before = torch.get_rng_state()
    model = TabNetClassifier(**SETTINGS).fit(table.X, table.label, **FIT)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict_proba(table.X), model.predict_proba(table.X))
    assert torch.equal(torch.get_rng_state(), before)
    assert len(pickle.dumps(model)) < 300_000  # the network, not what it computed with
    # A warm start goes on with the draws, too: the second one sees other batches than the first.
    first = dict(model.history)
    model.fit(table.X, table.label, warm_start=True, **FIT)
    again.fit(table.X, table.label, warm_start=True, **FIT)
    assert model.history == again.history != first


def test_a_score_does_not_follow_its_neighbours(table: Table) -> None:
    model = TabNetClassifier(**SETTINGS).fit(table.X, table.label, **FIT)
    alone = np.concatenate([model.predict_proba(row[None]) for row in table.X[:20]])
    np.testing.assert_array_equal(alone, model.predict_proba(table.X)[:20])
