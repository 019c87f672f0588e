"""What cannot be fitted or scored is refused in scikit-learn's kinds of errors, with what to do."""

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from pytorch_tabnet.pretraining import TabNetPretrainer as Theirs
from scipy import sparse

from fraudlab.sklearn import TabNetClassifier, TabNetPretrainer, TabNetRegressor
from tests.sklearn.conftest import COLUMNS, FIT, SETTINGS, Table, theirs


@pytest.fixture(scope="module")
def model(table: Table) -> TabNetClassifier:
    return TabNetClassifier(**SETTINGS).fit(table.X, table.word, **FIT)


def changed(X: np.ndarray, row: int, column: int, value: float) -> np.ndarray:
    X = X.copy()
    X[row, column] = value
    return X


def test_labels(table: Table) -> None:
    X, classifier, regressor = table.X, TabNetClassifier(**SETTINGS), TabNetRegressor(**SETTINGS)
    one = np.ones(len(X))
    for estimator, label, kind, message in (
        (classifier, one, ValueError, "one class only, 1.0; .* at least 2 classes"),
        (classifier, table.number[:, 0], ValueError, "continuous"),
        (classifier, np.where(table.label == 1, np.nan, 0), ValueError, "NaN"),
        (classifier, np.array([1, "a"] * 350, object), (TypeError, ValueError), "types|label"),
        (classifier, table.number, ValueError, r"1d array.*shape \(700, 2\)"),
        (classifier, table.word[:9], ValueError, "inconsistent numbers of samples"),
        (classifier, None, ValueError, "requires y"),
        (regressor, table.word, ValueError, "y holds text .* TabNetClassifier takes classes"),
        (regressor, pl.Series(table.word), ValueError, "y holds text"),
        (regressor, np.where(table.label == 1, np.inf, 0), ValueError, "infinity"),
    ):
        with pytest.raises(kind, match=message):
            estimator.fit(X, label, **FIT)


def test_tables(table: Table, model: TabNetClassifier) -> None:
    X, y = table.X, table.word
    classifier = TabNetClassifier(**SETTINGS)
    for wrong, kind, message in (
        (sparse.csr_matrix(X), TypeError, "toarray"),
        (changed(X, 2, 0, np.nan), ValueError, "NaN"),
        (changed(X, 2, 0, np.inf), ValueError, "infinity"),
        (changed(X, 2, 2, 1e200), ValueError, r"column 2 holds 1e\+200 in row 2, .*float32; scale or clip"),
        (changed(X, 5, 3, 12), ValueError, "column 3 holds 12 in row 5; .* ids 0 to 11: .*cat_dims"),
        (changed(X, 5, 1, -1), ValueError, "column 1 holds -1 in row 5"),
        (changed(X, 5, 1, 1.5), ValueError, "column 1 holds 1.5 in row 5"),
        (np.where(X > 0, "a", "b"), ValueError, "could not convert string"),
    ):
        with pytest.raises(kind, match=message):
            classifier.fit(wrong, y, **FIT)
        with pytest.raises(kind, match=message):
            model.predict_proba(wrong)
    with pytest.raises(ValueError, match="4 features, but TabNetClassifier is expecting 5"):
        model.explain(X[:, :4])
    named = TabNetClassifier(**SETTINGS).fit(pd.DataFrame(X, columns=COLUMNS), y, **FIT)
    with pytest.raises(ValueError, match=r"column country \(3\) holds 12"):
        named.predict(pd.DataFrame(changed(X, 5, 3, 12), columns=COLUMNS))


def test_eval_sets(table: Table) -> None:
    X, y = table.X, table.word
    for arguments, message in (
        ({"eval_set": [(X, y), (X[:, :4], y)]}, r"eval_set\[1\]: X has 4 features"),
        ({"eval_set": [(X, np.where(y == "low", "none", y))]}, r"eval_set\[0\]: .*classes .* has not: 'none'"),
        ({"eval_set": (X, y)}, r"eval_set=\[\(X_valid, y_valid\)\]"),
        ({"eval_set": [(X, y)], "eval_name": ["a", "b"]}, "eval_name=.* 1 different names"),
        ({"eval_set": [(X, y)], "eval_metric": ["gini"]}, "'gini' does not exist; it is one of: auc, accuracy"),
        (
            {"eval_set": [(X, y)], "eval_metric": ["auc"]},
            "auc cannot be computed of val_0: .*two classes; use accuracy",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            TabNetClassifier(**SETTINGS).fit(X, y, **arguments, **FIT)
    with pytest.raises(ValueError, match=r"eval_set\[0\]: the eval set has 1 numbers a row; y_train has 2"):
        TabNetRegressor(**SETTINGS).fit(X, table.number, [(X, table.number[:, :1])], **FIT)
    with pytest.raises(TypeError, match="eval_metric takes names"):
        TabNetClassifier(**SETTINGS).fit(X, y, [(X, y)], eval_metric=[7], **FIT)


def test_settings(table: Table) -> None:
    X, y = table.X, table.label
    for settings, message in (
        ({"cat_idxs": [1]}, "cat_idxs names 1 columns, cat_dims has 2"),
        ({"cat_idxs": [1, 1]}, "must name different columns, from 0 to 4"),
        ({"cat_idxs": [1, 5]}, "must name different columns, from 0 to 4"),
        ({"cat_emb_dim": [2]}, "cat_emb_dim 1"),
        ({"cat_emb_dim": 0}, "must be at least 1"),
        ({"grouped_features": [[0, 9]]}, "grouped_features names column 9; the columns are 0 to 4"),
        ({"grouped_features": [[0, 0]]}, "name a column twice"),
        ({"mask_type": "softmax"}, "mask_type must be sparsemax or entmax"),
        ({"n_d": 0}, "n_d must be at least 1"),
        ({"optimizer_params": {"lr": 1e30}}, r"diverged in epoch \d: .*optimizer_params"),
    ):
        with pytest.raises(ValueError, match=message):
            TabNetClassifier(**{**SETTINGS, **settings}).fit(X, y, **FIT)
    for arguments, message in (
        ({"max_epochs": 0}, "max_epochs=0 is too small"),
        ({"batch_size": 1}, "batch_size=1 is too small"),
        ({"virtual_batch_size": 1}, "virtual_batch_size=1 at least 2"),
        ({"batch_size": 233, "drop_last": False}, "leave one of 700 rows alone, .*use drop_last=True"),
        ({"weights": 2}, r"weights takes 0 .*, 1 .*, a dictionary by class or 700 numbers"),
        ({"weights": {0: 1.0}}, r"give one weight for each of \[0, 1\]"),
        ({"weights": -np.ones(700)}, "none below 0"),
    ):
        with pytest.raises(ValueError, match=message):
            TabNetClassifier(**SETTINGS).fit(X, y, **{**FIT, **arguments})
    with pytest.raises(ValueError, match=r"weights takes 0 \(all rows alike\) or 700"):
        TabNetRegressor(**SETTINGS).fit(X, table.number, weights=1, **FIT)


def test_warm_starts_and_pretrainings(table: Table, model: TabNetClassifier, tmp_path: Any) -> None:
    X, y = table.X, table.word
    with pytest.raises(ValueError, match="classes that training has not: 'other'"):
        model.fit(X, np.where(y == "low", "other", y), warm_start=True, **FIT)
    pretrainer = TabNetPretrainer(**{**SETTINGS, "grouped_features": None}).fit(X, **FIT)
    with pytest.raises(ValueError, match="fitted on 5 columns, and X_train has 4"):
        TabNetClassifier(**SETTINGS).fit(X[:, :4], y, from_unsupervised=pretrainer, **FIT)
    with pytest.raises(TypeError, match=r"fraudlab\.sklearn\.TabNetPretrainer, not TabNetPretrainer; .*load_model"):
        TabNetClassifier(**SETTINGS).fit(X, y, from_unsupervised=theirs(Theirs, verbose=0), **FIT)
    with pytest.raises(ValueError, match="pretraining_ratio=1.5"):
        TabNetPretrainer(**SETTINGS).fit(X, pretraining_ratio=1.5, **FIT)


def test_a_device_that_is_not_there(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.warns(UserWarning, match="device_name='cuda': no CUDA device"):
        TabNetClassifier(**SETTINGS, device_name="cuda").fit(table.X, table.label, **FIT)
