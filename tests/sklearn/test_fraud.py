"""``FraudClassifier``: fraudlab's models by scikit-learn's conventions."""

import os
import pickle
import signal
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.model_selection import TimeSeriesSplit, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from fraudlab.sklearn import FraudClassifier
from fraudlab.training.callbacks import Progress

pytestmark = pytest.mark.long

TREES = ["model.n_estimators=60"]


@parametrize_with_checks([FraudClassifier(overrides=TREES)])
def test_estimator_checks(estimator: Any, check: Any) -> None:
    check(estimator)


def payments(rows: int = 1500) -> tuple[pl.DataFrame, np.ndarray]:
    draw = np.random.default_rng(1)
    amount, kind, shop = draw.lognormal(size=rows), draw.integers(0, 3, rows), draw.integers(0, 40, rows)
    risk = amount + 2 * (kind == 1) + (shop % 7 == 3) + draw.normal(size=rows) / 2
    frame = pl.DataFrame(
        {
            "amount": pl.Series(np.where(draw.random(rows) < 0.1, np.nan, amount)),
            "kind": pl.Series([("web", "shop", None)[k] for k in kind]),
            "online": pl.Series(kind == 0),
            "shop": pl.Series(shop),
        }
    )
    return frame, np.where(risk > np.quantile(risk, 0.85), "fraud", "genuine")


def test_frames_of_every_kind_are_one_table() -> None:
    frame, label = payments()
    with pytest.warns(UserWarning, match="'genuine' counts as the fraud.* 85% of the rows; .*give y == 'fraud'"):
        model = FraudClassifier(overrides=TREES, categorical=["shop"]).fit(frame, label)
    assert model.classes_.tolist() == ["fraud", "genuine"]
    assert model.feature_names_in_.tolist() == frame.columns
    expected = model.predict_proba(frame)
    columns = {name: frame[name].to_list() for name in frame.columns}
    pandas = pd.DataFrame({**columns, "kind": pd.Categorical(columns["kind"])})
    for other in (pandas, pandas.convert_dtypes(), frame.with_columns(pl.col("kind").cast(pl.Categorical))):
        same = FraudClassifier(overrides=TREES, categorical=[3]).fit(other, label)
        np.testing.assert_array_equal(same.predict_proba(other), expected)
        np.testing.assert_array_equal(model.predict_proba(other), expected)
    objects = pandas.astype(object).to_numpy()
    for array in (objects, objects.tolist()):
        same = FraudClassifier(overrides=TREES, categorical=[3]).fit(array, label)
        np.testing.assert_array_equal(same.predict_proba(array), expected)
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(frame.select(reversed(frame.columns)))


def test_trees_are_those_of_their_library() -> None:
    """Numbers without a missing value: the encoder scales them, and trees see the same order."""
    draw = np.random.default_rng(0)
    X = draw.normal(size=(3000, 4))
    y = X[:, 0] * X[:, 1] + draw.normal(size=3000) / 2 > 1.2
    ours = FraudClassifier(overrides=["model.n_estimators=300"], random_state=3).fit(X[:2000], y[:2000])
    settings = {"learning_rate": 0.05, "bagging_fraction": 0.8, "bagging_freq": 1, "feature_fraction": 0.8}
    plain = lightgbm.LGBMClassifier(n_estimators=ours.rounds_, verbose=-1, n_jobs=1, **settings).fit(X[:2000], y[:2000])
    found, expected = (average_precision_score(y[2000:], m.predict_proba(X[2000:])[:, 1]) for m in (ours, plain))
    assert 0 < ours.rounds_ <= 300
    assert found == pytest.approx(expected, abs=0.03)
    assert found > 0.7


def test_a_linear_model_is_scikit_learns() -> None:
    draw = np.random.default_rng(0)
    X = draw.normal(size=(800, 3)) * [1, 10, 100]
    y = (X / [1, 10, 100]).sum(axis=1) + draw.normal(size=800) > 2
    scaled = ["features.encoder.scaling=standard"]
    for share in (0.2, 0):  # the tested model learns from all rows, with a validation or without one
        ours = FraudClassifier("logistic_regression", overrides=scaled, validation_fraction=share).fit(X, y)
        plain = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(X, y)
        np.testing.assert_allclose(ours.predict_proba(X), plain.predict_proba(X), atol=2e-3)
    first = FraudClassifier("logistic_regression", overrides=[*scaled, "refit=false"]).fit(X, y)
    plain = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(X[:640], y[:640])
    np.testing.assert_allclose(first.predict_proba(X), plain.predict_proba(X), atol=2e-3)


@pytest.mark.parametrize("model", ["mlp", "xgboost"])
def test_other_models(model: str) -> None:
    frame, label = payments(1000)
    network = model == "mlp"
    overrides = ["trainer.max_epochs=6", "batch_size=64", "model.hidden=[32]"] if network else TREES
    estimator = FraudClassifier(model, overrides=overrides, random_state=5)
    torch.manual_seed(11)
    state = torch.get_rng_state()
    estimator.fit(frame, label == "fraud")
    assert torch.equal(torch.get_rng_state(), state)
    score = estimator.predict_proba(frame)
    np.testing.assert_allclose(score.sum(axis=1), 1)
    assert average_precision_score(label == "fraud", score[:, 1]) > 0.6
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(estimator)).predict_proba(frame), score)
    again = clone(estimator).fit(frame, label == "fraud")
    np.testing.assert_allclose(again.predict_proba(frame), score, atol=1e-6)
    assert estimator.rounds_ <= (6 if network else 60)


def test_tools() -> None:
    frame, label = payments()
    model = make_pipeline(FunctionTransformer(lambda X: X.drop("shop")), FraudClassifier(overrides=TREES))
    scores = cross_val_score(model, frame, label == "fraud", cv=TimeSeriesSplit(3), scoring="average_precision")
    assert scores.min() > 0.5
    imputed = make_pipeline(SimpleImputer(), FraudClassifier(overrides=TREES))
    assert imputed.fit(frame.select("amount", "shop"), label).score(frame.select("amount", "shop"), label) > 0.8


def test_a_class_that_the_last_rows_lack() -> None:
    frame, label = payments(400)
    order = np.argsort(label)
    with pytest.warns(UserWarning, match="hold one class only: validation rows are drawn"):
        model = FraudClassifier(overrides=TREES).fit(frame[order], label[order])
    assert model.rounds_ is not None
    single = np.arange(400) == 7
    with pytest.warns(UserWarning, match="only one row"):
        assert FraudClassifier(overrides=TREES).fit(frame, single).rounds_ is None


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("seed=1", "give random_state=<seed>"),
        ("data.path=x", "overrides: data.path=x does nothing here"),
        ("split=random", "overrides: split=random does nothing here"),
        ("features=columns", "overrides: features=columns does nothing here"),
    ],
)
def test_what_is_not_of_a_fit_is_refused(word: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        FraudClassifier(overrides=[word]).fit(*payments(400))


def test_nearly_all_rows_validate() -> None:
    frame, label = payments(400)
    with pytest.warns(UserWarning, match="validation rows are drawn"):
        model = FraudClassifier(overrides=TREES, validation_fraction=0.999).fit(frame, label)
    assert model.rounds_ is not None


NETWORK = ("trainer.max_epochs=2", "batch_size=64", "model.hidden=[8]", "refit=false")


def test_threads_are_those_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    frame, label = payments(200)
    before, seen = torch.get_num_threads(), list[int]()
    monkeypatch.setattr(
        Progress, "on_train_epoch_start", lambda self, trainer, module: seen.append(torch.get_num_threads())
    )
    overrides = [*NETWORK, f"threads={before + 1}", "trainer.enable_progress_bar=true"]
    FraudClassifier("mlp", overrides=overrides).fit(frame, label)
    assert set(seen) == {before + 1}
    assert torch.get_num_threads() == before


def test_ctrl_c_reaches_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    frame, label = payments(200)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    monkeypatch.setattr(
        Progress, "on_train_epoch_start", lambda self, trainer, module: os.kill(os.getpid(), signal.SIGINT)
    )
    try:
        with pytest.raises(KeyboardInterrupt):
            FraudClassifier("mlp", overrides=[*NETWORK, "trainer.enable_progress_bar=true"]).fit(frame, label)
    finally:
        signal.signal(signal.SIGINT, before)


def test_bad_input() -> None:
    frame, label = payments(300)
    with pytest.raises(NotFittedError):
        FraudClassifier().predict(frame)
    model = FraudClassifier(overrides=TREES).fit(frame, label)
    times = pl.Series("at", ["2024-01-01"] * 300).str.to_datetime()
    numbers = np.arange(300)
    for X, y, kind, message in (
        (frame, np.ones(300), ValueError, "one class only, 1.0"),
        (frame, numbers % 3, ValueError, r"Only binary .*\[0, 1, 2\]"),
        (frame, numbers + 0.5, ValueError, "continuous"),
        (frame, np.where(numbers < 9, np.nan, 1), ValueError, "NaN"),
        (frame, label[:9], ValueError, "inconsistent numbers of samples"),
        (frame, np.array([1, "a"] * 150, object), (TypeError, ValueError), "types|label"),
        (frame[:0], label[:0], ValueError, "0 rows"),
        (frame.with_columns(times), label, TypeError, "column at holds Datetime.*hour and the weekday"),
        (frame.with_columns(times).to_numpy()[:, [0, 4]], label, TypeError, "column x1 holds datetime"),
        (pd.DataFrame(frame.to_numpy(), columns=[*"abac"]), label, ValueError, "more than one column called a"),
        (pd.DataFrame({"a": numbers, "b": [np.arange(2)] * 300}), label, TypeError, "column b holds ndarray"),
        (sparse.csr_matrix(np.eye(300)), label, TypeError, "toarray"),
    ):
        with pytest.raises(kind, match=message):
            FraudClassifier(overrides=TREES).fit(X, y)
    with pytest.raises(ValueError, match="column amount should be numeric but holds 'x'"):
        model.predict(frame.with_columns(pl.lit("x").alias("amount")))
    with pytest.raises(ValueError, match="now missing:\n- shop"):
        model.predict(frame.drop("shop"))
    unseen = frame.with_columns(pl.lit("by post").alias("kind"), pl.lit(None, pl.Float64).alias("amount"))
    assert np.isfinite(model.predict_proba(unseen)).all()
    for settings, message in (
        ({"model": "lightgmb"}, "lightgbm"),
        ({"overrides": ["model.leaves=3"]}, "num_leaves"),
        ({"categorical": ["shops"]}, "'shops'; the columns are amount, kind, online, shop"),
        (
            {"model": "tabnet", "overrides": ["model.pretrained=outputs/x"]},
            "model.pretrained=outputs/x: .*leave it out",
        ),
        ({"overrides": ["resume=outputs/x"]}, "resume=outputs/x: .*leave it out"),
        ({"validation_fraction": 1.0}, r"must lie in \[0, 1\)"),
    ):
        with pytest.raises(ValueError, match=message):
            FraudClassifier(**settings).fit(frame, label)
