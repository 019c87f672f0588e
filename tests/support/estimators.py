"""A table that trees and lines can learn, and a quick fit of an estimator on it."""

from typing import Any

import numpy as np

from fraudlab import config
from fraudlab.models.contract import Examples
from fraudlab.models.registry import estimator_class

CARDINALITIES = [12]
BOOSTED = ("lightgbm", "xgboost", "catboost")


def draw(seed: int, rows: int = 2000, *, weighed: bool = False) -> Examples:
    """One categorical column, three numeric ones, 5 % frauds."""
    random = np.random.default_rng(seed)
    numeric = random.normal(size=(rows, 3)).astype(np.float32)
    categorical = random.integers(2, 12, (rows, 1))
    logit = 1.5 * numeric[:, 0] + numeric[:, 1] * numeric[:, 2] + 2.0 * (categorical[:, 0] % 2) - 5
    label = (random.random(rows) < 1 / (1 + np.exp(-logit))).astype(np.int64)
    return Examples(categorical, numeric, label, random.integers(1, 4, rows).astype(np.float32) if weighed else None)


def fit(name: str, train: Examples, validation: Examples | None, *, seed: int = 0, weight: float = 1, **changed: Any):
    quick = {"threads": 1, "n_estimators": 40, "learning_rate": 0.3, "early_stopping_rounds": 10}
    settings = config.SCHEMAS["model"][name](**((quick if name in BOOSTED else {}) | changed))
    curve: list[float] = []
    told = {"fraud_weight": weight, "seed": seed, "on_round": curve.append}
    model = estimator_class(name).fit(train, validation, CARDINALITIES, settings, **told)
    return model, curve
