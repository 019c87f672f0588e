import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from sklearn import metrics as reference

from fraudlab.metrics.calibration import brier, expected_calibration_error, log_loss, reliability_curve


@st.composite
def scored(draw):
    rows = draw(st.integers(2, 200))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    label = (rng.random(rows) < draw(st.sampled_from([0.5, 0.02]))).astype(int)
    levels = draw(st.sampled_from([1, 5, 1000]))
    return label, rng.integers(0, levels + 1, rows) / levels


@given(scored())
def test_brier_and_log_loss_equal_scikit_learn(split):
    label, score = split
    assert_allclose(brier(label, score), reference.brier_score_loss(label, score), rtol=1e-12)
    assert_allclose(log_loss(label, score), reference.log_loss(label, score, labels=[0, 1]), rtol=1e-9, atol=1e-15)


@given(scored(), st.sampled_from([1, 5, 15]))
def test_expected_calibration_error_bin_by_bin(split, bins):
    label, score = split
    error = 0.0
    for number in range(bins):
        inside = (score * bins >= number) & ((score * bins < number + 1) | (number == bins - 1))
        if inside.any():
            error += inside.mean() * abs(label[inside].mean() - score[inside].mean())
    assert expected_calibration_error(label, score, bins) == pytest.approx(error)


def test_expected_calibration_error_by_hand():
    label, score = np.array([0, 1, 1, 1]), np.array([0.1, 0.3, 0.9, 1.0])
    # Two bins: {0.1, 0.3} with mean 0.2 and half frauds, {0.9, 1.0} with mean 0.95 and all frauds.
    assert expected_calibration_error(label, score, bins=2) == pytest.approx(0.5 * 0.3 + 0.5 * 0.05)
    assert expected_calibration_error(np.array([0, 1]), np.array([0.5, 0.5])) == 0.0


@given(scored(), st.sampled_from([1, 5, 15]))
def test_reliability_curve_bin_by_bin(split, bins):
    label, score = split
    edges = [-1.0, *(np.sort(score)[math.ceil(i * len(score) / bins) - 1] for i in range(1, bins)), 1.0]
    expected = []
    for low, high in itertools.pairwise(edges):
        inside = (score > low) & (score <= high)
        if inside.any():
            expected.append((score[inside].mean(), label[inside].mean(), inside.sum()))
    assert_allclose(np.transpose(reliability_curve(label, score, bins)), expected, rtol=1e-9)


def test_reliability_bins_hold_equally_many_rows():
    _, _, rows = reliability_curve(np.zeros(1500), np.random.default_rng(0).random(1500), bins=15)
    assert rows.tolist() == [100] * 15


def test_certain_and_wrong_float32_score_costs_what_it_costs_in_float64():
    label = np.array([0, 1])
    single = log_loss(label, np.array([1, 1], dtype=np.float32))
    assert single == log_loss(label, np.array([1.0, 1.0])) == pytest.approx(-math.log(np.finfo(float).eps) / 2)


def test_no_rows_is_nan():
    empty = np.empty(0)
    assert all(math.isnan(metric(empty, empty)) for metric in (brier, log_loss, expected_calibration_error))
    assert [len(points) for points in reliability_curve(empty, empty)] == [0, 0, 0]
