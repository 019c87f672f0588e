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


@pytest.mark.parametrize("groups", [10, 20, 40, 60])
@pytest.mark.parametrize("alike", [True, False])
def test_a_recall_of_bursts_is_missed_as_seldom_as_promised(groups: int, alike: bool) -> None:
    """Of those given, however few groups there are, of one size or of geometric sizes."""
    draw = np.random.default_rng(groups)
    missed = given_ = plain = 0
    for _ in range(300):
        size = np.full(groups, 10) if alike else draw.geometric(0.1, groups)
        group = np.repeat(np.arange(groups), size)
        score = draw.random(groups)[group]
        threshold, effect = guarantees.recall_threshold_of_bursts(score, group, 0.8, 0.9)
        assert effect > 0.999 * (size @ size) / size.sum()
        given_ += threshold is not None
        missed += threshold is not None and 1 - threshold < 0.8
        plain += 1 - guarantees.recall_threshold(score, 0.8, 0.9) < 0.8 if size.sum() > 10 else 0
    assert missed <= 0.1 * given_ + 2 * np.sqrt(given_ * 0.1 * 0.9)
    assert plain > 60  # without the effect
    assert given_ > 290 if groups >= 40 else given_ == 0 if groups == 10 else True


def test_a_guaranteed_precision_is_missed_as_seldom_as_promised() -> None:
    draw = np.random.default_rng(2)
    grid = np.linspace(0, 1, 100_001)
    truth = np.cumsum(grid[::-1] ** 3)[::-1] / np.arange(len(grid), 0, -1)  # precision above each score
    missed = given_up = 0
    for _ in range(300):
        score = draw.random(4000)
        label = draw.random(4000) < score**3
        found = guarantees.precision_threshold(label, score, 0.7, 0.9)
        given_up += found is None
        missed += found is not None and truth[np.searchsorted(grid, found[0])] < 0.7
    assert given_up < 30
    assert missed <= 30 + 2 * np.sqrt(300 * 0.1 * 0.9)
    assert guarantees.precision_threshold(np.arange(4000) < 5, draw.random(4000), 0.99, 0.95) is None


def test_a_precision_of_bursts_is_promised_by_bursts() -> None:
    """10 bursts of 40 alerts, each a fraud with 0.6, show no precision of 0.7; 200 with 0.9 do."""
    draw = np.random.default_rng(4)
    for bursts, true in ((10, 0.6), (200, 0.9)):
        group = np.append(np.repeat(np.arange(bursts), 40), np.arange(1000, 1000 + 60 * bursts))
        score = np.append(0.5 + draw.random(bursts)[group[: 40 * bursts]] / 2, draw.random(60 * bursts) / 2)
        given_ = 0
        for _ in range(40):
            label = np.append(np.repeat(draw.random(bursts) < true, 40), np.zeros(60 * bursts))
            given_ += guarantees.precision_threshold(label, score, 0.7, 0.9, group) is not None
        assert given_ >= 36 if true == 0.9 else given_ == 0


def test_weeks_without_an_alert_promise_no_more_than_their_rows_show() -> None:
    """Beside none in 4 parts of 5 a further count exceeds the limit as seldom as said (negative binomial)."""
    low, high = guarantees.alerts_between(np.zeros(16_800, bool), np.repeat(np.arange(28), 600), 0.9)
    limit = round(high * 4.2)
    assert low == 0 < limit
    assert stats.nbinom.sf(limit, 1, 0.8) <= 0.05 < stats.nbinom.sf(limit - 1, 1, 0.8)


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


def test_a_threshold_of_many_frauds_takes_few_looks() -> None:
    """Of 30,000 frauds; the rank is SciPy's."""
    score = np.arange(30_000) / 30_000
    found = guarantees.recall_threshold(score, 0.9, 0.95)
    rank = round(found * 30_000) + 1
    assert stats.binom.cdf(rank - 1, 30_000, 0.1) <= 0.05 < stats.binom.cdf(rank, 30_000, 0.1)
