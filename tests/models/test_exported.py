"""Estimators in a bundle: ONNX gives the library's scores, and reasons are the library's own contributions."""

import json
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import catboost
import lightgbm
import numpy as np
import pytest
import xgboost

from fraudlab import config
from fraudlab.bundle.ort import onnxruntime
from fraudlab.bundle.reasons import load_reasons, save_reasons
from fraudlab.errors import UserError
from fraudlab.models.boosting.arrays import joined
from fraudlab.models.boosting.catboost_crossings import crossings
from fraudlab.models.boosting.crossings import apart
from fraudlab.models.contract import Examples
from fraudlab.models.registry import estimator_class

NUMBERS = 4
TREES = ("lightgbm", "xgboost", "catboost")
ALL = (*TREES, "logistic_regression")
SHAPES = {"both": [3, 400, 30], "numbers": [], "ids": [3, 400, 30]}


def rows(count: int, seed: int, cardinalities: list[int], width: int) -> Examples:
    """Rows whose label follows ids and numbers; ids 0 and 1 are rare, the last ones of the wide column never occur."""
    draw = np.random.default_rng(seed)
    used = [min(ids, 250) for ids in cardinalities]
    ids = np.stack([draw.integers(0, n, count) for n in used], axis=1) if used else np.empty((count, 0), int)
    numeric = draw.standard_normal((count, width)).astype(np.float32)
    numeric[draw.random(numeric.shape) < 0.2] = 0  # missing, as the encoder has it
    logit = numeric.sum(axis=1) - 2 + (np.sin(ids) * 2).sum(axis=1)
    return Examples(ids.astype(np.int64), numeric, (draw.random(count) < 1 / (1 + np.exp(-logit))).astype(np.int64))


class Fitted(NamedTuple):
    estimator: Any
    file: Path
    cardinalities: list[int]
    width: int
    run: Callable[[np.ndarray, np.ndarray], np.ndarray]
    explain: Any


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Fitted]:
    @cache
    def made(name: str, shape: str = "both", cardinalities: tuple[int, ...] = (), **changed: Any) -> Fitted:
        cardinalities, width = list(cardinalities or SHAPES[shape]), 0 if shape == "ids" else NUMBERS
        train = rows(3000, 0, cardinalities, width)
        quick = {"threads": 1, "n_estimators": 30, "learning_rate": 0.2} if name in TREES else {}
        settings = config.SCHEMAS["model"][name](**(quick | changed))
        given = {"fraud_weight": 2.0, "seed": 0, "on_round": print}
        estimator = estimator_class(name).fit(train, None, cardinalities, settings, **given)
        folder = tmp_path_factory.mktemp(name)
        estimator.save(folder / estimator.FILE)
        exported = estimator.exported(cardinalities, width)
        exported.write_onnx(folder / "model.onnx")
        save_reasons(folder, exported.kind, exported.arrays(train.categorical, train.numeric))
        session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
        names = [given.name for given in session.get_inputs()]

        def run(categorical: np.ndarray, numeric: np.ndarray) -> np.ndarray:
            given = {"categorical": categorical, "numeric": numeric}
            return session.run(["score"], {name: given[name] for name in names})[0]

        return Fitted(estimator, folder / estimator.FILE, cardinalities, width, run, load_reasons(folder, lambda _: _))

    return made


def on_thresholds(model: Fitted, given: Examples) -> np.ndarray:
    """The rows with each number on a threshold of the model, or a step of float32 beside it."""
    draw = np.random.default_rng(1)
    trees = model.estimator.exported(model.cardinalities, model.width)
    numeric = given.numeric.copy()
    for column in range(model.width):
        here = trees.threshold[(trees.bit < 0) & (trees.column == column + len(model.cardinalities))]
        near = np.concatenate([here, np.nextafter(here, np.float32(np.inf)), np.nextafter(here, np.float32(-np.inf))])
        numeric[:, column] = draw.choice(near, len(numeric)) if len(near) else 0
    return numeric


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ALL)
def test_scores_are_the_library_s(name: str, shape: str, fitted: Callable[..., Fitted]) -> None:
    model = fitted(name, shape)
    given = rows(2000, 5, model.cardinalities, model.width)
    expected = model.estimator.score(given.categorical, given.numeric)
    assert expected.std() > 0.05
    assert np.abs(model.run(given.categorical, given.numeric) - expected).max() < 1e-6
    alone = [model.run(given.categorical[i : i + 1], given.numeric[i : i + 1]) for i in range(20)]
    assert np.abs(np.concatenate(alone) - expected[:20]).max() < 1e-6


@pytest.mark.parametrize("name", TREES)
def test_numbers_on_thresholds_go_the_library_s_way(name: str, fitted: Callable[..., Fitted]) -> None:
    model = fitted(name)
    given = rows(2000, 6, model.cardinalities, model.width)
    numeric = on_thresholds(model, given)
    assert (
        np.abs(model.run(given.categorical, numeric) - model.estimator.score(given.categorical, numeric)).max() < 1e-6
    )


@pytest.mark.parametrize("name", ALL)
def test_every_id_missing_unknown_and_never_learnt_ones_among_them(name: str, fitted: Callable[..., Fitted]) -> None:
    model = fitted(name)
    ids = np.minimum(np.arange(400)[:, None], np.array(model.cardinalities) - 1)
    numeric = np.zeros((400, NUMBERS), np.float32)
    assert np.abs(model.run(ids, numeric) - model.estimator.score(ids, numeric)).max() < 1e-6


def contributions_of_the_library(name: str, model: Fitted, given: Examples) -> np.ndarray:
    """[n, C + N + 1], the last of which is the base."""
    table = joined(given.categorical, given.numeric)
    if name == "lightgbm":
        return lightgbm.Booster(model_file=str(model.file)).predict(table, pred_contrib=True)
    if name == "xgboost":
        types = ["c"] * len(model.cardinalities) + ["q"] * model.width
        table[:, : len(model.cardinalities)][given.categorical == 1] = np.nan  # an unknown word is missing to it
        matrix = xgboost.DMatrix(table, feature_types=types, enable_categorical=True)
        return xgboost.Booster(model_file=str(model.file)).predict(matrix, pred_contribs=True)
    data = catboost.FeaturesData(
        num_feature_data=given.numeric, cat_feature_data=given.categorical.astype(np.bytes_).astype(object)
    )
    booster = catboost.CatBoost().load_model(str(model.file))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        numbers_first = booster.get_feature_importance(catboost.Pool(data), type="ShapValues")
    width = model.width
    return np.hstack([numbers_first[:, width:-1], numbers_first[:, :width], numbers_first[:, -1:]])


@pytest.mark.parametrize("name", TREES)
def test_contributions_are_the_library_s(name: str, fitted: Callable[..., Fitted]) -> None:
    model = fitted(name)
    given = rows(200, 7, model.cardinalities, model.width)
    expected = contributions_of_the_library(name, model, given)
    found = model.explain(given.categorical, given.numeric)
    assert np.abs(found - expected[:, :-1]).max() < 2e-5  # XGBoost adds them in single precision
    assert model.explain.base == pytest.approx(expected[:, -1].mean(), abs=2e-5)


@pytest.mark.parametrize("name", ALL)
def test_contributions_add_up_to_the_log_odds(name: str, fitted: Callable[..., Fitted]) -> None:
    model = fitted(name)
    given = rows(300, 8, model.cardinalities, model.width)
    score = model.run(given.categorical, given.numeric).astype(np.float64)
    log_odds = model.explain.base + model.explain(given.categorical, given.numeric).sum(axis=1)
    assert np.abs(1 / (1 + np.exp(-log_odds)) - score).max() < 1e-6


def test_linear_contributions_are_weights_times_what_differs_from_the_mean(fitted: Callable[..., Fitted]) -> None:
    model = fitted("logistic_regression")
    train, given = (rows(count, seed, model.cardinalities, model.width) for count, seed in ((3000, 0), (50, 9)))
    one = np.zeros((1, NUMBERS), np.float32)
    logit = lambda numeric: np.log((p := model.estimator.score(given.categorical[:1], numeric)) / (1 - p))  # noqa: E731
    for column in range(NUMBERS):
        step = one.copy()
        step[0, column] = 1
        weight = (logit(step) - logit(one))[0]
        expected = weight * (given.numeric[:, column] - train.numeric[:, column].mean())
        found = model.explain(given.categorical, given.numeric)[:, len(model.cardinalities) + column]
        assert np.allclose(found, expected, atol=1e-4)


def test_a_model_of_one_leaf(tmp_path: Path) -> None:
    flat = Examples(np.zeros((50, 1), np.int64), np.zeros((50, 1), np.float32), np.arange(50) % 2)
    settings = config.SCHEMAS["model"]["lightgbm"](n_estimators=2, threads=1)
    estimator = estimator_class("lightgbm").fit(flat, None, [3], settings, fraud_weight=1, seed=0, on_round=print)
    exported = estimator.exported([3], 1)
    exported.write_onnx(tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    given = {"categorical": flat.categorical, "numeric": flat.numeric}
    found = session.run(["score"], {one.name: given[one.name] for one in session.get_inputs()})[0]
    assert np.allclose(found, estimator.score(flat.categorical, flat.numeric), atol=1e-6)


CROSSED = {"both": [2, 3, 400, 30], "ids": [3, 400, 30]}  # a column of two ids is asked for one of them


@pytest.mark.parametrize("shape", CROSSED)
def test_catboost_s_statistics_of_several_columns(shape: str, fitted: Callable[..., Fitted]) -> None:
    model = fitted("catboost", shape, tuple(CROSSED[shape]), max_ctr_complexity=4)
    given = rows(4000, 10, model.cardinalities, model.width)  # pairs of ids that no training row has among them
    given = given._replace(numeric=on_thresholds(model, given))
    expected = model.estimator.score(given.categorical, given.numeric)
    crossings = model.estimator.exported(model.cardinalities, model.width).crossings
    assert (crossings.column >= len(model.cardinalities)).any() == (shape == "both")
    assert np.abs(model.run(given.categorical, given.numeric) - expected).max() < 1e-6
    few = given._replace(categorical=given.categorical[:200], numeric=given.numeric[:200], label=given.label[:200])
    theirs = contributions_of_the_library("catboost", model, few)
    found = model.explain(few.categorical, few.numeric)
    assert np.abs(found - theirs[:, :-1]).max() < 2e-5
    log_odds = model.explain.base + found.sum(axis=1)
    assert np.abs(1 / (1 + np.exp(-log_odds)) - expected[:200]).max() < 1e-6


def test_combinations_of_one_key_are_refused(fitted: Callable[..., Fitted], tmp_path: Path) -> None:
    model = fitted("catboost", "both", tuple(CROSSED["both"]), max_ctr_complexity=4)
    ids = np.minimum(np.arange(400)[:, None], np.array(model.cardinalities) - 1).astype(np.bytes_).astype(object)
    data = catboost.FeaturesData(np.zeros((400, model.width), np.float32), ids)
    booster = catboost.CatBoost().load_model(str(model.file))
    booster.save_model(str(tmp_path / "model.json"), format="json", pool=catboost.Pool(data))
    dumped = json.loads((tmp_path / "model.json").read_text(encoding="utf-8"))
    several = [each for each in dumped["features_info"]["ctrs"] if len(each["elements"]) > 1]
    first, *others = (dumped["ctr_data"][each["identifier"]] for each in several)
    known = [int(each) for each in first["hash_map"][:: first["hash_stride"]]]
    for table in others:  # the hashes that have the keys of the first crossing's combinations
        places = range(0, len(table["hash_map"]), table["hash_stride"])
        for place, one in zip(places, known, strict=False):
            table["hash_map"][place] = str((one - int(apart(2)[1])) % 2**64)
    with pytest.raises(UserError, match="one key.*seed="):
        crossings(dumped, 400, len(model.cardinalities))


def test_columns_that_crossings_do_not_look_at_leave_the_model(fitted: Callable[..., Fitted], tmp_path: Path) -> None:
    model = fitted("catboost", "both", tuple(CROSSED["both"]), max_ctr_complexity=4, n_estimators=2)
    exported = model.estimator.exported(model.cardinalities, model.width)
    dropped = exported.unused()
    assert dropped.any()
    given = rows(500, 11, model.cardinalities, model.width)
    kept = np.split(~dropped, [len(model.cardinalities)])
    smaller = [np.ascontiguousarray(part[:, of]) for part, of in zip(given[:2], kept, strict=True)]
    exported.without(dropped).write_onnx(tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    found = session.run(["score"], dict(zip(("categorical", "numeric"), smaller, strict=True)))[0]
    assert np.abs(found - model.estimator.score(given.categorical, given.numeric)).max() < 1e-6
