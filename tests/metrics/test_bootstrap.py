"""Metrics of counted rows are metrics of rows repeated."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from fraudlab.metrics.bootstrap import Resampled, paired


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
    drawn = np.array(list(paired(label, [[score]], 200, 1)))[:, 0, 0]
    assert drawn.std() == pytest.approx(fresh, rel=0.3)


def test_models_are_compared_on_the_same_rows() -> None:
    random = np.random.default_rng(0)
    label = random.random(500) < 0.2
    score = random.normal(size=500) + label
    drawn = np.array(list(paired(label, [[score], [score, score], [-score]], 20, 3)))
    assert drawn.shape == (20, 3, 2)
    assert np.allclose(drawn[:, 0], drawn[:, 1])
    assert np.allclose(drawn[:, 0, 0] + drawn[:, 2, 0], 1)  # a ranking turned over
