"""Logistic regression is scikit-learn's over one-hot columns."""

import numpy as np
from sklearn.linear_model import LogisticRegression

from fraudlab.models.contract import Examples
from tests.support.estimators import draw, fit


def one_hot(rows: Examples) -> np.ndarray:
    return np.hstack([np.eye(12)[rows.categorical[:, 0]], rows.numeric])


def test_equals_scikit_learn_on_one_hot_columns(validation: Examples) -> None:
    train = draw(0, weighed=True)
    ours, _ = fit("logistic_regression", train, None, C=0.5, weight=3)
    theirs = LogisticRegression(C=0.5, max_iter=1000, class_weight={0: 1, 1: 3})
    theirs.fit(one_hot(train), train.label, train.weight)
    expected = theirs.predict_proba(one_hot(validation))[:, 1]
    assert np.allclose(ours.score(validation.categorical, validation.numeric), expected, atol=1e-4)
