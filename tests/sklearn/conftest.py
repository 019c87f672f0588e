"""A small table with categorical columns out of order, and models of pytorch-tabnet fitted on it."""

import warnings
from typing import Any, NamedTuple

import numpy as np
import pytest
from pytorch_tabnet.tab_model import TabNetClassifier, TabNetRegressor

COLUMNS = ["amount", "kind", "age", "country", "hour"]
SETTINGS: dict[str, Any] = {
    "cat_idxs": [3, 1],
    "cat_dims": [12, 4],
    "cat_emb_dim": [3, 2],
    "grouped_features": [[0, 3]],
    "n_d": 6,
    "n_a": 4,
    "n_steps": 2,
    "verbose": 0,
}
FIT: dict[str, Any] = {"max_epochs": 2, "batch_size": 128, "virtual_batch_size": 64}


class Table(NamedTuple):
    X: np.ndarray
    label: np.ndarray  # 0 or 1
    word: np.ndarray  # one of three
    number: np.ndarray  # [N, 2]


@pytest.fixture(scope="session")
def table() -> Table:
    draw = np.random.default_rng(0)
    rows = 700
    columns = [draw.normal(size=rows), draw.integers(0, 4, rows), draw.normal(size=rows), draw.integers(0, 12, rows)]
    X = np.column_stack([*columns, draw.normal(size=rows) * 5])
    risk = X[:, 0] + (X[:, 1] > 2) + X[:, 3] / 6 + draw.normal(size=rows) / 2
    word = np.array(["high", "low", "medium"])[np.digitize(risk, np.quantile(risk, [0.3, 0.7]))]
    return Table(X, (risk > 1.2).astype(int), word, np.column_stack([risk, X[:, 2] - risk]))


def fitted(estimator: Any, *data: Any, **arguments: Any) -> Any:
    """One of pytorch-tabnet's estimators after ``fit``, which returns nothing there and warns much."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estimator.fit(*data, **arguments)
    return estimator


def theirs(kind: type, **settings: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return kind(**settings)


@pytest.fixture(scope="session")
def their_classifier(table: Table) -> TabNetClassifier:
    return fitted(theirs(TabNetClassifier, **SETTINGS), table.X, table.word, **FIT)


@pytest.fixture(scope="session")
def their_regressor(table: Table) -> TabNetRegressor:
    return fitted(theirs(TabNetRegressor, **SETTINGS), table.X, table.number, **FIT)
