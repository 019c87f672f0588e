"""Thresholds keep their budget, operating points are scikit-learn's metrics, Platt scaling is a logistic regression."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import precision_score, recall_score

from fraudlab.bundle.decision import Decision
from fraudlab.errors import UserError


def scored(rows: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(0)
    label = (draw.random(rows) < 0.05).astype(np.int8)
    return label, 1 / (1 + np.exp(-(draw.normal(size=rows) + 2 * label - 3)))


def test_levels_keep_their_budget() -> None:
    label, probability = scored()
    decision = Decision.from_scores(label, probability, medium=50, high=10)
    levels = np.array([decision.level(score) for score in probability])
    assert (levels == "high").sum() == 40
    assert (levels != "low").sum() == 200
    assert probability[levels == "high"].min() > probability[levels == "medium"].max()
    assert Decision.from_dict(decision.to_dict()) == decision


def test_operating_points_are_those_of_scikit_learn() -> None:
    label, probability = scored()
    points = Decision.from_scores(label, probability, medium=50, high=10).operating_points
    assert len(points) >= 4
    for point in points:
        alert = probability >= point["threshold"]
        assert point["precision"] == pytest.approx(precision_score(label, alert))
        assert point["recall"] == pytest.approx(recall_score(label, alert))
        assert point["fpr"] == pytest.approx(alert[label == 0].mean())
        assert point["alerts_per_1000"] == pytest.approx(1000 * alert.mean())


def test_calibration_is_a_logistic_regression_on_the_log_odds() -> None:
    label, probability = scored(20_000)
    decision = Decision.from_scores(label, probability, medium=50, high=10, calibrate=True)
    log_odds = np.log(probability / (1 - probability))[:, None]
    expected = LogisticRegression(C=1e9).fit(log_odds, label).predict_proba(log_odds)[:, 1]
    assert decision.calibrate(probability) == pytest.approx(expected, abs=2e-3)
    with pytest.raises(UserError):
        Decision.from_scores(np.zeros(10), probability[:10], medium=50, high=10, calibrate=True)


def test_calibration_finds_the_optimum_where_scores_all_but_separate_the_classes() -> None:
    draw = np.random.default_rng(0)
    label = (draw.random(4000) < 0.02).astype(np.int8)
    caught = (label == 1) & (draw.random(4000) > 0.02)
    log_odds = np.where(caught, draw.normal(12, 1, 4000), draw.normal(-6, 0.5, 4000))
    decision = Decision.from_scores(label, 1 / (1 + np.exp(-log_odds)), medium=50, high=10, calibrate=True)
    # Platt's targets as weights: each row counts as so much fraud and the rest genuine.
    frauds = int(label.sum())
    target = np.where(label == 1, (frauds + 1) / (frauds + 2), 1 / (4000 - frauds + 2))
    model = LogisticRegression(C=1e12, tol=1e-10, max_iter=10_000).fit(
        np.tile(log_odds, 2)[:, None], np.repeat([1, 0], 4000), np.concatenate([target, 1 - target])
    )
    assert decision.calibration is not None
    assert decision.calibration["slope"] == pytest.approx(model.coef_[0, 0], rel=1e-4)
    assert decision.calibration["intercept"] == pytest.approx(model.intercept_[0], rel=1e-4)
