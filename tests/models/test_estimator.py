"""What every baseline keeps, whichever the library."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from fraudlab import config
from fraudlab.models.contract import Examples
from fraudlab.models.registry import estimator_class
from tests.support.estimators import BOOSTED, fit

ALL = (*BOOSTED, "logistic_regression")


@pytest.mark.parametrize("name", ALL)
def test_a_saved_model_gives_the_same_scores(name: str, train: Examples, validation: Examples, tmp_path: Path) -> None:
    model, _ = fit(name, train, validation)
    score = model.score(validation.categorical, validation.numeric)
    assert score.dtype == np.float32
    assert roc_auc_score(validation.label, score) > 0.8
    model.save(tmp_path / model.FILE)
    assert not (tmp_path / model.FILE).read_bytes().startswith(b"\x80")  # as a pickle would
    again = type(model).load(tmp_path / model.FILE).score(validation.categorical, validation.numeric)
    assert np.array_equal(score, again)


@pytest.mark.parametrize("name", ALL)
def test_the_same_seed_gives_the_same_model_and_another_one_another(
    name: str, train: Examples, validation: Examples
) -> None:
    scores = [
        fit(name, train, validation, seed=seed)[0].score(validation.categorical, validation.numeric)
        for seed in (0, 0, 1)
    ]
    assert np.array_equal(scores[0], scores[1])
    assert np.array_equal(scores[0], scores[2]) == (name == "logistic_regression")


@pytest.mark.parametrize("name", BOOSTED)
def test_boosting_ends_at_the_best_average_precision(name: str, train: Examples, validation: Examples) -> None:
    model, curve = fit(name, train, validation)
    assert len(curve) < 40
    assert model.rounds == np.argmax(curve) + 1
    score = model.score(validation.categorical, validation.numeric)
    assert max(curve) == pytest.approx(average_precision_score(validation.label, score), abs=1e-6)


@pytest.mark.parametrize("name", BOOSTED)
def test_without_a_validation_it_takes_every_round(name: str, train: Examples) -> None:
    model, curve = fit(name, train, None, n_estimators=7)
    assert model.rounds == 7
    assert not curve


@pytest.mark.parametrize("name", ALL)
def test_ids_are_categories_not_numbers(name: str) -> None:
    """The label is whether an id is odd: no threshold on the ids tells, one question about categories does."""
    ids = np.random.default_rng(0).integers(2, 12, (4000, 1))
    examples = Examples(ids, np.zeros((4000, 1), np.float32), ids[:, 0] % 2)
    leaf = {"lightgbm": {"num_leaves": 2}, "logistic_regression": {}}.get(name, {"max_depth": 1})
    once = {"n_estimators": 1, "colsample": 1.0, "subsample": 1.0} if name in BOOSTED else {}
    model, _ = fit(name, examples, None, **leaf, **once)
    assert roc_auc_score(examples.label, model.score(examples.categorical, examples.numeric)) == 1


@pytest.mark.parametrize("name", ALL)
def test_missing_and_unknown_ids_are_scored_though_never_learnt(
    name: str, train: Examples, validation: Examples
) -> None:
    model, _ = fit(name, train, validation)
    score = model.score(np.array([[0], [1]]), np.zeros((2, 3), np.float32))
    assert ((score > 0) & (score < 1)).all()


@pytest.mark.parametrize("name", ALL)
def test_a_weight_on_frauds_raises_scores(name: str, train: Examples, validation: Examples) -> None:
    plain, heavy = (
        fit(name, train, None, weight=weight)[0].score(validation.categorical, validation.numeric) for weight in (1, 10)
    )
    assert heavy.mean() > 1.5 * plain.mean()


@pytest.mark.parametrize("name", ALL)
def test_a_table_without_categories(name: str, train: Examples, validation: Examples, tmp_path: Path) -> None:
    none = np.empty((len(train.label), 0), np.int64)
    settings = config.SCHEMAS["model"][name](**({"threads": 1, "n_estimators": 5} if name in BOOSTED else {}))
    model = estimator_class(name).fit(
        train._replace(categorical=none), None, [], settings, fraud_weight=1, seed=0, on_round=print
    )
    model.save(tmp_path / model.FILE)
    again = type(model).load(tmp_path / model.FILE)
    assert roc_auc_score(train.label, again.score(none, train.numeric)) > 0.7
