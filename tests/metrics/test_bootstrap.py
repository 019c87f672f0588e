"""Metrics of counted rows are metrics of rows repeated."""

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import average_precision_score, roc_auc_score

from fraudlab.metrics.bootstrap import Resampled, paired, share_interval


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_counts_equal_repeated_rows(seed: int, ties: bool) -> None:
    random = np.random.default_rng(seed)
    label = random.random(400) < 0.1
    score = random.normal(size=400) + label
    score = score.round(1) if ties else score
    metrics = Resampled(label, score)
    for count in (np.ones(400, int), random.integers(0, 4, 400)):
        repeated = np.repeat(label, count), np.repeat(score, count)
        assert metrics(count) == pytest.approx(
            (roc_auc_score(*repeated), average_precision_score(*repeated)), abs=1e-12
        )


def test_one_class_has_no_figure() -> None:
    assert np.isnan(Resampled(np.array([0, 1]), np.array([0.1, 0.2]))(np.array([2, 0]))).all()
    assert np.isnan(Resampled(np.zeros(3), np.arange(3.0))(np.ones(3, int))).all()


def test_the_spread_is_that_of_fresh_samples() -> None:
    """A bootstrap's deviation estimates that of a metric over samples drawn anew."""

    def sample(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        label = random.random(3000) < 0.05
        return label, random.normal(size=3000) + 1.5 * label

    random = np.random.default_rng(0)
    fresh = np.std([roc_auc_score(*sample(random)) for _ in range(150)])
    label, score = sample(random)
    drawn = np.array(list(paired(label, [[score]], np.arange(3000), 200, 1)))[:, 0, 0]
    assert drawn.std() == pytest.approx(fresh, rel=0.3)


def test_models_are_compared_on_the_same_rows() -> None:
    random = np.random.default_rng(0)
    label = random.random(500) < 0.2
    score = random.normal(size=500) + label
    drawn = np.array(list(paired(label, [[score], [score, score], [-score]], np.arange(500) // 2, 20, 3)))
    assert drawn.shape == (20, 3, 2)
    assert np.allclose(drawn[:, 0], drawn[:, 1])
    assert np.allclose(drawn[:, 0, 0] + drawn[:, 2, 0], 1)  # a ranking turned over


def test_rows_of_a_group_are_drawn_together() -> None:
    """Against a loop that puts a resample together group by group."""
    random = np.random.default_rng(2)
    label, score, group = random.random(300) < 0.2, random.normal(size=300), random.integers(0, 40, 300)
    group = np.unique(group, return_inverse=True)[1]
    draws = np.random.default_rng(7)
    for found in paired(label, [[score]], group, 5, 7):
        rows = np.concatenate([np.flatnonzero(group == g) for g in draws.integers(0, group.max() + 1, group.max() + 1)])
        expected = roc_auc_score(label[rows], score[rows]), average_precision_score(label[rows], score[rows])
        assert found[0] == pytest.approx(expected, abs=1e-12)


def bursts(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Label, scores of two models and terminal of some 6,000 rows: a tenth of the terminals is compromised.

    A model finds the frauds of a terminal all alike, so that they are one piece of evidence.
    """
    terminal = np.repeat(np.arange(400), random.poisson(15, 400))
    compromised = random.random(400) < 0.1
    label = random.random(len(terminal)) < np.where(compromised[terminal], 0.5, 0.002)
    found = random.normal(size=(2, 400))[:, terminal]
    better = np.array([[0.0], [0.1]])
    return label, label * (2 + found + better) + random.normal(size=found.shape), terminal


@pytest.mark.parametrize(
    ("draws", "least", "most"), [(25, 0.80, 1.0), pytest.param(200, 0.90, 0.97, marks=pytest.mark.slow)]
)
def test_intervals_cover_the_truth_where_frauds_come_in_bursts(draws: int, least: float, most: float) -> None:
    random = np.random.default_rng(0)
    fresh = [bursts(random) for _ in range(300)]
    truth = np.mean([average_precision_score(y, s[1]) - average_precision_score(y, s[0]) for y, s, _ in fresh])

    def covered(seed: int, *, by_row: bool) -> bool:
        label, scores, terminal = bursts(np.random.default_rng(seed))
        group = np.arange(len(label)) if by_row else terminal
        drawn = np.array(list(paired(label, scores[:, None], group, 150, seed)))[:, :, 1]
        low, high = np.quantile(drawn[:, 1] - drawn[:, 0], [0.025, 0.975])
        return bool(low <= truth <= high)

    assert least <= np.mean([covered(1000 + seed, by_row=False) for seed in range(draws)]) <= most
    assert np.mean([covered(1000 + seed, by_row=True) for seed in range(draws)]) < 0.85


def test_an_interval_of_a_perfect_ranking_is_that_of_its_frauds() -> None:
    low, high = share_interval(1.0, np.ones(100), 20)
    known = binomtest(20, 20).proportion_ci(method="wilson")
    assert (low, high) == pytest.approx((known.low, 1.0), abs=1e-6)
    low, high = share_interval(0.99, np.tile([1.0, 0.98], 50), 20)
    assert 0.9 < low < 0.985
    assert 0.99 < high < 1


def test_an_interval_is_not_told_of_the_draws_that_happen_to_have_a_fraud() -> None:
    draws = np.linspace(0.5, 0.7, 100)
    assert share_interval(0.6, draws, 20) is not None
    draws[:11] = np.nan
    assert share_interval(0.6, draws, 20) is None
    assert share_interval(0.6, np.full(100, np.nan), 20) is None
