"""Guaranteed thresholds against SciPy's distributions and fresh samples."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from fraudlab.metrics import guarantees


@given(st.integers(1, 3000), st.floats(0, 1), st.floats(0.001, 0.999))
def test_tails_and_intervals_are_scipy_s(trials: int, share: float, p: float) -> None:
    successes = round(share * trials)
    assert guarantees.at_most(successes, trials, p) == pytest.approx(stats.binom.cdf(successes, trials, p), abs=1e-9)
    exact = stats.binomtest(successes, trials).proportion_ci(0.9, "exact")
    assert guarantees.share_between(successes, trials, 0.9) == pytest.approx((exact.low, exact.high), abs=1e-9)


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 8, 33])
def test_quantiles_of_student_s_t(freedom: int) -> None:
    for share in (0.9, 0.975, 0.995):
        assert guarantees._t_quantile(share, freedom) == pytest.approx(stats.t.ppf(share, freedom), rel=1e-6)


@given(st.integers(1, 200), st.sampled_from([0.5, 0.8, 0.95]), st.sampled_from([0.8, 0.95]))
def test_the_rank_is_the_highest_that_the_binomial_allows(n: int, recall: float, confidence: float) -> None:
    scores = np.random.default_rng(n).random(n)
    allowed = [k for k in range(1, n + 1) if stats.binom.cdf(k - 1, n, 1 - recall) <= 1 - confidence]
    found = guarantees.recall_threshold(scores, recall, confidence)
    assert found == (np.sort(scores)[max(allowed) - 1] if allowed else None)
    assert (found is None) == (n < guarantees.frauds_needed(recall, confidence))


def test_a_guaranteed_recall_is_missed_as_seldom_as_promised() -> None:
    """1,000 samples of 150 frauds: the recall of all frauds is known, since scores are uniform."""
    draw = np.random.default_rng(0)
    found = [guarantees.recall_threshold(draw.random(150), 0.9, 0.9) for _ in range(1000)]
    missed = np.mean([1 - threshold < 0.9 for threshold in found])
    assert 0.05 < missed <= 0.1 + 2 * np.sqrt(0.1 * 0.9 / 1000)


def test_bursts_need_more_frauds_than_single_ones() -> None:
    """Frauds of a group are found together: without the effect the promise is broken, with it hardly ever."""
    draw = np.random.default_rng(1)
    missed = {"plain": 0, "burst": 0}
    for _ in range(300):
        group = np.repeat(np.arange(60), 10)
        score = draw.random(60)[group]
        plain = guarantees.recall_threshold(score, 0.8, 0.9)
        burst, effect = guarantees.recall_threshold_of_bursts(score, group, 0.8, 0.9)
        assert effect > 3
        missed["plain"] += 1 - plain < 0.8
        missed["burst"] += 1 - burst < 0.8
    assert missed["plain"] > 60
    assert missed["burst"] <= 30 + 2 * np.sqrt(300 * 0.1 * 0.9)


def test_a_guaranteed_precision_is_missed_as_seldom_as_promised() -> None:
    draw = np.random.default_rng(2)
    grid = np.linspace(0, 1, 100_001)
    truth = np.cumsum(grid[::-1] ** 3)[::-1] / np.arange(len(grid), 0, -1)  # precision above each score
    missed = given_up = 0
    for _ in range(300):
        score = draw.random(4000)
        label = draw.random(4000) < score**3
        threshold = guarantees.precision_threshold(label, score, 0.7, 0.9)
        given_up += threshold is None
        missed += threshold is not None and truth[np.searchsorted(grid, threshold)] < 0.7
    assert given_up < 30
    assert missed <= 30 + 2 * np.sqrt(300 * 0.1 * 0.9)
    assert guarantees.precision_threshold(np.arange(4000) < 5, draw.random(4000), 0.99, 0.95) is None


@pytest.mark.parametrize(("days", "spread"), [(35, 0.3), (10, 0.0), (1, 0.0)])
def test_the_alerts_of_the_next_week_lie_in_their_interval(days: int, spread: float) -> None:
    draw = np.random.default_rng(3)
    held = []
    for _ in range(200):
        weeks = np.exp(draw.normal(0, spread, 6))
        day = np.repeat(np.arange(days + 7), 2000)
        week = np.minimum((days + 6 - day) // 7, 5)
        alerted = draw.random(len(day)) < 0.01 * weeks[week]
        now = day < days
        low, high = guarantees.alerts_between(alerted[now], day[now] if days > 1 else None, 0.9)
        held.append(low <= 1000 * (alerted[~now] if days > 1 else draw.random(2000) < 0.01).mean() <= high)
    assert 0.85 <= np.mean(held) <= 0.97
