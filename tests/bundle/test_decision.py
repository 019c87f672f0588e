"""Thresholds keep their budget, operating points are scikit-learn's metrics, Platt scaling is a logistic regression."""

import json

import numpy as np
import pytest
from scipy.stats import rankdata
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, precision_score, recall_score

from fraudlab.bundle.decision import Decision, Labelled
from fraudlab.bundle.money import Money
from fraudlab.errors import UserError
from fraudlab.metrics.operating_points import carried_over


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


def test_a_budget_of_whole_alerts_is_used_up() -> None:
    """Of 3,000 rows, 9 of 1,000 are 27, though 9 / 1000 * 3000 is a little less in floating point."""
    score = np.arange(3000) / 3000
    decision = Decision.from_scores(score > 0.9, score, medium=18, high=9)
    assert (decision.levels(score) == "high").sum() == 27
    assert (decision.levels(score) != "low").sum() == 54


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
    decision = Decision.from_scores(label, probability, medium=50, high=10, calibration="platt")
    log_odds = np.log(probability / (1 - probability))[:, None]
    expected = LogisticRegression(C=1e9).fit(log_odds, label).predict_proba(log_odds)[:, 1]
    assert decision.calibrate(probability) == pytest.approx(expected, abs=2e-3)
    with pytest.raises(UserError):
        Decision.from_scores(np.zeros(10), probability[:10], medium=50, high=10, calibration="platt")


def test_calibration_finds_the_optimum_where_scores_all_but_separate_the_classes() -> None:
    draw = np.random.default_rng(0)
    label = (draw.random(4000) < 0.02).astype(np.int8)
    caught = (label == 1) & (draw.random(4000) > 0.02)
    log_odds = np.where(caught, draw.normal(6, 0.5, 4000), draw.normal(-3, 0.25, 4000))
    decision = Decision.from_scores(label, 1 / (1 + np.exp(-log_odds)), medium=50, high=10, calibration="platt")
    # Platt's targets as weights: each row counts as so much fraud and the rest genuine.
    frauds = int(label.sum())
    target = np.where(label == 1, (frauds + 1) / (frauds + 2), 1 / (4000 - frauds + 2))
    model = LogisticRegression(C=1e12, tol=1e-10, max_iter=10_000).fit(
        np.tile(log_odds, 2)[:, None], np.repeat([1, 0], 4000), np.concatenate([target, 1 - target])
    )
    assert decision.calibration is not None
    assert decision.calibration["slope"] == pytest.approx(model.coef_[0, 0], rel=1e-4)
    assert decision.calibration["intercept"] == pytest.approx(model.intercept_[0], rel=1e-4)


def two_fits(rows: int = 40_000) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Label and scores of a validation by one fit; scores of later rows, and label and scores of a test, by another.

    The second fit ranks as the first one does, with log-odds that are half as far apart.
    """
    draw = np.random.default_rng(3)
    label = (draw.random((3, rows)) < 0.02).astype(np.int8)
    log_odds = draw.normal(size=label.shape) + 3 * label - 5
    first, second = 1 / (1 + np.exp(-log_odds)), 1 / (1 + np.exp(-log_odds / 2 + 1))
    return label[0], first[0], second[1], label[2], second[2]


@pytest.mark.parametrize("calibration", ["none", "platt", "isotonic"])
def test_budgets_hold_for_the_model_that_is_served(calibration: str) -> None:
    label, validated, recent, _, test = two_fits()
    decision = Decision.from_scores(label, validated, recent, medium=50, high=10, calibration=calibration)
    assert (decision.calibration or {"map": "none"})["map"] == calibration
    alerts = {
        level: 1000 * (decision.calibrate(test) >= decision.thresholds[level]).mean() for level in decision.budget
    }
    assert alerts == pytest.approx({"medium": 50, "high": 10}, rel=0.1)
    # Thresholds of the validated model's scores would not.
    other = Decision.from_scores(label, validated, medium=50, high=10)
    assert 1000 * (test >= other.thresholds["medium"]).mean() > 200
    for point in decision.operating_points:
        budget = 1000 * (decision.calibrate(recent) >= point["threshold"]).mean()
        alert = validated >= np.sort(validated)[-round(budget / 1000 * len(validated))]
        assert point["precision"] == pytest.approx(precision_score(label, alert), abs=1e-12)
        assert point["recall"] == pytest.approx(recall_score(label, alert), abs=1e-12)
    said = decision.rests_on
    assert "40,000 rows before its test that it has not learnt from" in said["thresholds"] == said["scores"]
    assert "40,000 validation rows" in said["operating_points"]
    assert ("calibration" in said) == (calibration != "none")
    assert Decision.from_dict(json.loads(json.dumps(decision.to_dict()))) == decision


def test_calibration_is_of_the_model_that_is_served() -> None:
    label, validated, recent, test_label, test = two_fits()
    decision = Decision.from_scores(label, validated, recent, medium=50, high=10, calibration="platt")
    calibrated = decision.calibrate(test)
    best = LogisticRegression(C=1e9).fit(np.log(test / (1 - test))[:, None], test_label)
    expected = best.predict_proba(np.log(test / (1 - test))[:, None])[:, 1]
    assert log_loss(test_label, calibrated) == pytest.approx(log_loss(test_label, expected), rel=0.02)
    assert log_loss(test_label, calibrated) < 0.9 * log_loss(test_label, test)
    assert np.array_equal(np.argsort(calibrated), np.argsort(test))


def test_scores_are_carried_over_by_rank() -> None:
    draw = np.random.default_rng(0)
    score, recent = draw.integers(0, 30, 500) / 30, draw.random(800)
    expected = np.interp((rankdata(score) - 0.5) / 500, (np.arange(800) + 0.5) / 800, np.sort(recent))
    assert carried_over(score, recent) == pytest.approx(expected, abs=1e-12)
    assert carried_over(recent, recent) == pytest.approx(recent, abs=1e-12)


@pytest.mark.parametrize("scale", [1.0, 0.1])
def test_scores_are_left_alone_where_only_bursts_speak_against_them(scale: float) -> None:
    """The log-odds are right, or a tenth of what they should be; frauds come in bursts of 100, so that weeks differ."""
    draw = np.random.default_rng(8)
    terminal = np.repeat(np.arange(200), 100)
    log_odds = np.where(draw.random(200) < 0.3, 1.0, -6.0)[terminal] + draw.normal(size=20_000) / 4
    label = (draw.random(200) < 1 / (1 + np.exp(-log_odds.reshape(200, 100).mean(axis=1))))[terminal].astype(np.int8)
    probability = 1 / (1 + np.exp(-log_odds * scale))
    decision = Decision.from_scores(label, probability, None, terminal, medium=50, high=10, calibration="platt")
    by_row = Decision.from_scores(label, probability, medium=50, high=10, calibration="platt")
    assert by_row.calibration is not None
    if scale == 1:
        assert decision.calibration is None
        assert "left as they are" in decision.rests_on["calibration"]
        assert np.array_equal(decision.calibrate(probability), probability)
    else:
        assert decision.calibration == by_row.calibration


def test_the_evidence_is_a_likelihood_ratio_over_the_design_effect() -> None:
    """Against scikit-learn's likelihood and the sandwich estimate put together group by group."""
    label, probability = scored(3000)
    group = np.arange(3000) // 7
    decision = Decision.from_scores(label, probability, None, group, medium=50, high=10, calibration="platt")
    after = decision.calibrate(probability)
    ratio = 2 * 3000 * (log_loss(label, probability) - log_loss(label, after))
    inputs = np.stack([np.log(probability / (1 - probability)), np.ones(3000)], axis=1)
    parts = [((label - after)[:, None] * inputs)[group == g].sum(axis=0) for g in range(group.max() + 1)]
    effect = np.linalg.inv((inputs * (after * (1 - after))[:, None]).T @ inputs) @ sum(np.outer(u, u) for u in parts)
    assert f"likelihood ratio {ratio / max(1, np.trace(effect) / 2):.1f}," in decision.rests_on["calibration"]


def test_a_promised_recall_and_precision_hold_on_fresh_rows() -> None:
    """Through both fits: what is promised of the second, by labels of its own, holds for the second."""
    missed = {"recall": 0, "precision": 0, "alerts": 0}
    for seed in range(60):
        draw = np.random.default_rng(seed)
        rows = (draw.random(12_000) < 0.05).astype(np.int8)
        odds = draw.normal(size=12_000) + 3 * rows - 3
        label, first = rows[:6000], 1 / (1 + np.exp(-odds[:6000]))
        recent, test = np.split(1 / (1 + np.exp(-odds[6000:] / 2)), 2)  # scaled otherwise
        own = Labelled(rows[6000:9000], recent, None, "rows of its own", "nothing changes")
        decision = Decision.from_scores(
            label, first, recent, medium=50, high=10, recall=0.8, precision=0.8, confidence=0.9, known=own
        )
        fresh = 1 / (1 + np.exp(-(draw.normal(size=40_000) + np.repeat([3.0, 0.0], [2000, 38_000]) - 3) / 2))
        alerted = fresh >= decision.thresholds["high"]
        missed["recall"] += (fresh[:2000] >= decision.thresholds["medium"]).mean() < 0.8
        missed["precision"] += alerted[:2000].sum() / alerted.sum() < 0.8
        assert Decision.from_dict(json.loads(json.dumps(decision.to_dict()))) == decision
        medium, high = decision.guarantees["medium"], decision.guarantees["high"]
        assert (medium["of"], high["of"], medium["target"], high["confidence"]) == ("recall", "precision", 0.8, 0.9)
        assert 0.8 <= medium["low"] <= medium["shown"] <= medium["high"]
        assert decision.budget["medium"] == pytest.approx(1000 * (recent >= decision.thresholds["medium"]).mean())
        low, most = decision.alerts["medium"]
        missed["alerts"] += not low <= 1000 * (test >= decision.thresholds["medium"]).mean() <= most
    assert missed["recall"] <= 6 + 2 * np.sqrt(60 * 0.1 * 0.9)
    assert missed["precision"] <= 6 + 2 * np.sqrt(60 * 0.1 * 0.9)
    assert missed["alerts"] <= 3 + 2 * np.sqrt(60 * 0.05 * 0.95)


def test_a_promise_rests_on_labels_of_the_served_model_where_there_are_enough() -> None:
    label, first = scored(6000)
    own = Labelled(label, first / 2, None, "rows of its own", "nothing changes")
    decision = Decision.from_scores(label, first, first / 2, medium=50, high=10, recall=0.8, known=own)
    alone = Decision.from_scores(label, first / 2, medium=50, high=10, recall=0.8)
    assert decision.thresholds["medium"] == alone.thresholds["medium"]
    assert decision.guarantees["medium"]["rests_on"] == "rows of its own"
    assert list(decision.guarantees) == ["medium"]
    assert decision.thresholds["high"] == Decision.from_scores(label, first / 2, medium=50, high=10).thresholds["high"]
    levels = decision.levels(first / 2)
    assert (levels != "low")[label == 1].mean() >= 0.8


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"recall": 0.99}, "medium_recall=0.99 with confidence=0.95 needs 299 frauds; there are 10"),
        ({"precision": 0.95}, "high_precision=0.95 .* which have 10 frauds: the 102 highest scores would have to be"),
    ],
)
def test_a_promise_that_the_frauds_cannot_give_names_how_many_are_needed(asked: dict, message: str) -> None:
    label, probability = scored(150)
    assert label.sum() == 10
    with pytest.raises(UserError, match=message):
        Decision.from_scores(label, probability, medium=50, high=10, **asked)
    single = Decision.from_scores(*scored(4000), group=np.arange(4000), medium=50, high=10, recall=0.8)
    bursts = Decision.from_scores(*scored(4000), group=np.arange(4000) // 200, medium=50, high=10, recall=0.8)
    assert bursts.thresholds["medium"] <= single.thresholds["medium"]


def test_rows_of_another_model_promise_nothing() -> None:
    """How large the share of fraud is in rows without labels, nobody knows."""
    label, first = scored(6000)
    with pytest.raises(UserError, match="no scores of labelled rows before its training.*split.recent_windows"):
        Decision.from_scores(label, first, first / 2, medium=50, high=10, recall=0.8)


def test_frauds_of_few_cards_promise_nothing() -> None:
    """However many and however well found."""
    label = np.repeat([1, 0], [60, 3000])
    score = np.linspace(0.99, 0.01, 3060)
    for cards in (1, 3, 13):
        group = np.append(np.arange(60) % cards, np.arange(100, 3100))
        with pytest.raises(UserError, match=f"needs 14 independent frauds; 60 of {cards} cards or terminals"):
            Decision.from_scores(label, score, None, group, medium=50, high=10, recall=0.8)
        with pytest.raises(UserError, match="each from another card or terminal"):
            Decision.from_scores(label, score, None, group, medium=50, high=10, precision=0.7)
    group = np.append(np.arange(60) % 15, np.arange(100, 3100))
    promised = Decision.from_scores(label, score, None, group, medium=50, high=10, recall=0.8).guarantees["medium"]
    assert promised["low"] == pytest.approx(0.05 ** (1 / 15), abs=1e-9)


def test_money_decides_by_amounts_and_thresholds_where_there_is_none() -> None:
    label, probability = scored()
    amount = np.random.default_rng(1).lognormal(4, 1, len(label))
    amount[:40] = np.nan
    money = Money("amount", 3.0, 0.5)
    decision = Decision.from_scores(label, probability, medium=50, high=10, money=money, amount=amount)
    worth = probability[40:] * 0.5 * amount[40:] - 3.0 > 0
    assert decision.budget["medium"] == pytest.approx(1000 * worth.mean())
    assert (probability >= decision.thresholds["medium"]).mean() == pytest.approx(worth.mean(), abs=1 / len(label))
    # Where the rule alerts on fewer than high may, thresholds make as many alerts as it, and no more.
    rare = Decision.from_scores(label, probability, medium=50, high=10, money=Money("amount", 60.0, 0.5), amount=amount)
    rate = (probability[40:] * 0.5 * amount[40:] > 60.0).mean()
    assert 0 < rate < 0.01
    assert rare.budget == pytest.approx({"medium": 1000 * rate, "high": 1000 * rate})
    assert (probability >= rare.thresholds["medium"]).mean() == pytest.approx(rate, abs=1 / len(label))
    for cost, amounts, says in ((1e9, amount, "worth 1e.09"), (3.0, np.full(len(label), np.nan), "has a amount")):
        with pytest.raises(UserError, match=f"would make no alerts: none of .*{says}"):
            Decision.from_scores(
                label, probability, medium=50, high=10, money=Money("amount", cost, 0.5), amount=amounts
            )
    levels = decision.levels(probability, amount)
    assert ((levels != "low")[40:] == worth).all()
    assert (levels == "high").sum() <= 40
    assert (levels[:40] == decision.levels(probability[:40])).all()
    assert (decision.levels(probability, -amount)[40:] == decision.levels(probability)[40:]).all()
    assert Decision.from_dict(json.loads(json.dumps(decision.to_dict()))) == decision
    plain = Decision.from_scores(label, probability, medium=50, high=10).to_dict()
    assert "money" not in plain  # bundles that decide by scores alone are read by earlier versions
    for wrong in ({"admin_cost": -1.0}, {"recovery_share": 1.5}, {"admin_cost": float("nan")}):
        with pytest.raises(ValueError, match="costs out of range"):
            Decision.from_dict({**decision.to_dict(), "money": {**decision.to_dict()["money"], **wrong}})
