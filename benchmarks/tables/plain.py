"""What a competent stranger writes: a library's defaults, categories as such, early stopping on a validation part."""

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import polars as pl

from fraudlab.metrics.ranking import average_precision

MOST_ROUNDS, PATIENCE = 1_000, 50


class Parts(NamedTuple):
    """Rows of the table in pandas, categories as ``category``, and their labels: to fit, to stop on, to test."""

    train: tuple
    validation: tuple
    test: tuple


def parts(frame: pl.DataFrame, words: tuple[str, ...], numbers: tuple[str, ...], rows: list[np.ndarray]) -> Parts:
    """The columns that fraudlab's models get, in pandas; the words are those of all rows, as a script would have it."""
    import pandas as pd

    text = {name: pd.Categorical(frame[name].cast(pl.String).to_list()) for name in words}
    pandas = pd.DataFrame({**text, **{name: frame[name].cast(pl.Float64).to_numpy() for name in numbers}})
    label = frame["fraud"].to_numpy()
    return Parts(*((pandas.iloc[some], label[some]) for some in rows))


def _lightgbm(data: Parts, seed: int) -> Callable:
    import lightgbm

    model = lightgbm.LGBMClassifier(n_estimators=MOST_ROUNDS, random_state=seed, n_jobs=1, verbosity=-1)
    stop = lightgbm.early_stopping(PATIENCE, first_metric_only=True, verbose=False)
    return model.fit(*data.train, eval_set=[data.validation], eval_metric="average_precision", callbacks=[stop])


def _xgboost(data: Parts, seed: int) -> Callable:
    import xgboost

    model = xgboost.XGBClassifier(
        n_estimators=MOST_ROUNDS, early_stopping_rounds=PATIENCE, eval_metric="aucpr", enable_categorical=True,
        random_state=seed, n_jobs=1,
    )  # fmt: skip
    return model.fit(*data.train, eval_set=[data.validation], verbose=False)


def _catboost(data: Parts, seed: int) -> Callable:
    import catboost

    words = list(data.train[0].select_dtypes("category").columns)

    def text(part: tuple) -> catboost.Pool:
        columns = part[0].copy()
        for name in words:
            columns[name] = columns[name].astype(object).fillna("missing").astype(str)
        return catboost.Pool(columns, part[1], cat_features=words)

    model = catboost.CatBoostClassifier(
        iterations=MOST_ROUNDS, early_stopping_rounds=PATIENCE, eval_metric="PRAUC", random_seed=seed, thread_count=1,
        allow_writing_files=False, verbose=False,
    )  # fmt: skip
    model.fit(text(data.train), eval_set=text(data.validation))
    return lambda part: model.predict_proba(text(part))[:, 1]


MODELS = ("lightgbm", "xgboost", "catboost")
_SCRIPTS = {"lightgbm": _lightgbm, "xgboost": _xgboost, "catboost": _catboost}


def measured(model: str, data: Parts, seed: int) -> dict[str, float]:
    """Average precision on validation and test, and seconds of the fit."""
    began = time.process_time()
    fitted = _SCRIPTS[model](data, seed)
    seconds = time.process_time() - began
    score = fitted if model == "catboost" else lambda part: fitted.predict_proba(part[0])[:, 1]
    found = {name: float(average_precision(part[1], score(part)))
             for name, part in (("val", data.validation), ("test", data.test))}  # fmt: skip
    return {**found, "seconds": seconds}
