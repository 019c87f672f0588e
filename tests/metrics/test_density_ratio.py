"""Weights of past rows, against the ratio of densities that are known and scikit-learn."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from fraudlab.metrics.density_ratio import density_ratio


def test_it_is_the_ratio_of_two_normal_densities() -> None:
    chance = np.random.default_rng(0)
    past, now = chance.normal(0.0, 1.0, (20_000, 2)), chance.normal([0.8, 0.0], 1.0, (20_000, 2))
    expected = np.exp(0.8 * past[:, 0] - 0.32)
    found = density_ratio(past, now)
    assert found.mean() == pytest.approx(1.0)
    assert np.corrcoef(np.log(found), np.log(expected))[0, 1] > 0.995
    assert np.average(past[:, 0], weights=found) == pytest.approx(now[:, 0].mean(), abs=0.05)


def test_it_is_what_scikit_learn_finds() -> None:
    chance = np.random.default_rng(1)
    past, now = chance.gamma(2.0, 1.0, (3000, 4)), chance.gamma(2.5, 1.0, (500, 4))
    both = np.concatenate([past, now])
    scaled = np.clip((both - both.mean(0)) / both.std(0), -5, 5)
    label = np.repeat([0, 1], [3000, 500])
    fitted = LogisticRegression(C=1.0, class_weight="balanced", tol=1e-10, max_iter=1000).fit(scaled, label)
    expected = np.exp(fitted.decision_function(scaled[:3000]))
    assert density_ratio(past, now) == pytest.approx(expected / expected.mean(), rel=1e-4)


def test_rows_that_are_alike_weigh_alike() -> None:
    chance = np.random.default_rng(2)
    same = chance.normal(size=(5000, 3))
    assert density_ratio(same, same) == pytest.approx(np.ones(5000))
