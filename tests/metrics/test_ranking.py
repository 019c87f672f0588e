import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import metrics as reference

from fraudlab.metrics.ranking import (
    Ranking,
    average_precision,
    precision_at_budget,
    precision_recall_curve,
    recall_at_budget,
    recall_at_fpr,
    roc_auc,
    roc_curve,
)


@st.composite
def splits(draw, both_classes=True):
    """Labels and scores: from few to many ties, from balanced to one fraud, sometimes near-equal scores."""
    rows = draw(st.integers(2, 200))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    label = (rng.random(rows) < draw(st.sampled_from([0.5, 0.1, 0.01]))).astype(
        draw(st.sampled_from([int, float, bool]))
    )
    if both_classes:
        label[rng.permutation(rows)[:2]] = 0, 1
    levels = draw(st.sampled_from([1, 2, 3, 10, 1000]))
    score = rng.integers(0, levels, rows) / levels
    if draw(st.booleans()):
        score = np.nextafter(score, rng.choice([0.0, 1.0], rows))
    return label, score.astype(draw(st.sampled_from([np.float32, np.float64])))


@given(splits())
def test_areas_equal_scikit_learn(split):
    assert_allclose(roc_auc(*split), reference.roc_auc_score(*split), rtol=1e-12, atol=1e-12)
    assert_allclose(average_precision(*split), reference.average_precision_score(*split), rtol=1e-12)


@given(splits())
def test_curves_equal_scikit_learn(split):
    for ours, theirs in zip(roc_curve(*split), reference.roc_curve(*split, drop_intermediate=False), strict=True):
        assert_allclose(ours, theirs, rtol=1e-12)
    precision, recall, threshold = precision_recall_curve(*split)
    their_precision, their_recall, their_threshold = reference.precision_recall_curve(*split)
    assert_allclose(precision, their_precision[-2::-1], rtol=1e-12)
    assert_allclose(recall, their_recall[-2::-1], rtol=1e-12)
    assert_array_equal(threshold, their_threshold[::-1])


@given(splits(), st.sampled_from([0.0, 0.001, 0.01, 0.3, 1.0]))
def test_recall_at_fpr_interpolates_the_roc_curve(split, fpr):
    rate, recall, _ = reference.roc_curve(*split)
    assert_allclose(recall_at_fpr(*split, fpr), np.interp(fpr, rate, recall), rtol=1e-9, atol=1e-12)


def test_large_and_imbalanced_equals_scikit_learn():
    rng = np.random.default_rng(0)
    label = np.zeros(200_000)
    label[:20] = 1
    score = np.round(rng.random(200_000) * 0.5 + 0.3 * label, 3)
    assert_allclose(roc_auc(label, score), reference.roc_auc_score(label, score), rtol=1e-12)
    assert_allclose(average_precision(label, score), reference.average_precision_score(label, score), rtol=1e-12)


@given(splits(both_classes=False), st.sampled_from([0.001, 0.01, 0.07, 0.29, 0.5, 1.0]), st.randoms())
def test_budget_figures_are_the_mean_over_orders_within_ties(split, budget, random):
    label, score = split
    alerts = min(max(round(budget * len(label)), 1), len(label))
    last = np.sort(score)[::-1][alerts - 1]
    above, tied = label[score > last], label[score == last]
    caught = above.sum(dtype=float) + (alerts - len(above)) * tied.mean()
    assert_allclose(precision_at_budget(label, score, budget), caught / alerts, rtol=1e-12)
    frauds = label.sum(dtype=float)
    assert_allclose(recall_at_budget(label, score, budget), caught / frauds if frauds else math.nan, rtol=1e-12)


def test_budget_by_hand():
    label = np.array([1, 1, 0, 0, 0, 0, 0, 0, 0, 0])
    score = np.array([0.9, 0.5, 0.5, 0.5, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1])
    assert precision_at_budget(label, score, 0.1) == 1.0
    assert precision_at_budget(label, score, 0.2) == pytest.approx((1 + 1 / 3) / 2)  # one of three tied rows
    assert recall_at_budget(label, score, 0.3) == pytest.approx((1 + 2 / 3) / 2)
    assert recall_at_budget(label, score, 0.4) == 1.0
    assert precision_at_budget(label, score, 0.001) == 1.0  # at least one alert
    assert precision_at_budget(label, score, 1.0) == pytest.approx(0.2)


@given(splits(), st.randoms())
def test_order_of_rows_plays_no_part(split, random):
    label, score = split
    order = np.array(random.sample(range(len(label)), len(label)))
    ours, shuffled = Ranking(label, score), Ranking(label[order], score[order])
    assert_array_equal(ours.threshold, shuffled.threshold)
    assert_array_equal(ours.alerts, shuffled.alerts)
    assert_array_equal(ours.caught, shuffled.caught)


@given(splits())
def test_cumulate_sums_what_is_alerted(split):
    label, score = split
    value = np.arange(len(label), dtype=float)
    ranking = Ranking(label, score)
    expected = [0.0, *(value[score >= threshold].sum() for threshold in ranking.threshold)]
    assert_allclose(ranking.cumulate(value), expected)


@pytest.mark.parametrize("label", [[], [0, 0, 0], [1, 1, 1]])
def test_undefined_figures_are_nan(label):
    label, score = np.array(label, dtype=int), np.linspace(0, 1, len(label))
    assert math.isnan(roc_auc(label, score))
    assert math.isnan(recall_at_fpr(label, score, 0.01))
    if not label.any():
        assert math.isnan(average_precision(label, score))
        assert math.isnan(recall_at_budget(label, score, 0.01))
    if not len(label):
        assert math.isnan(precision_at_budget(label, score, 0.01))
