"""How far a score can be read as the probability of fraud.

``label`` (0 or 1) and ``score`` (in [0, 1]) are ``[N]``; all sums are float64. Every metric is NaN where there are no
rows.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

_EDGE = 1e-7  # probabilities 0 and 1 have no finite log-odds


def brier(label: Array, score: Array) -> float:
    """Mean squared difference of score and label, in [0, 1]; lower is better (scikit-learn's ``brier_score_loss``)."""
    return float(np.mean((_float64(score) - label) ** 2)) if len(score) else float("nan")


def log_loss(label: Array, score: Array) -> float:
    """Mean negative log-likelihood in nats, 0 or more; lower is better.

    The score is clipped to [eps, 1 - eps] with the eps of float64, 2.2e-16, as scikit-learn's ``log_loss`` does for
    float64 scores: a certain and wrong score costs 36 nats, also where it was computed in float32.
    """
    if not len(score):
        return float("nan")
    eps = np.finfo(np.float64).eps
    of_label = np.where(label == 1, _float64(score), 1 - _float64(score))
    return float(-np.log(np.clip(of_label, eps, 1 - eps)).mean())


def expected_calibration_error(label: Array, score: Array, bins: int = 15) -> float:
    """Expected calibration error (ECE), in [0, 1]; lower is better.

    [0, 1] is cut into ``bins`` bins of equal width, each holding its lower edge and the last also 1. ECE is the mean
    over the bins of |share of frauds - mean score|, weighted by the rows in the bin (Naeini et al. 2015 with
    the bins of Guo et al. 2017; of the fraud class, not of the more likely one). Where nearly all scores
    are close to 0, so is the metric: read it together with :func:`reliability_curve`.
    """
    if not len(score):
        return float("nan")
    score = _float64(score)
    index = np.minimum((score * bins).astype(np.int64), bins - 1)
    excess = np.bincount(index, weights=(label == 1) - score, minlength=bins)
    return float(np.abs(excess).sum() / len(score))


def reliability_curve(label: Array, score: Array, bins: int = 15) -> tuple[Array, Array, Array]:
    """Mean score (float64), share of frauds (float64) and rows (int64) of bins with about equally many rows.

    Bin i ends with the ceil(i N / bins)-th lowest score, which it holds: rows with equal scores share a bin. Empty
    bins are left out, so at most ``bins`` points come back, by ascending score. (scikit-learn's
    ``calibration_curve(..., strategy="quantile")`` with edges that are scores, not interpolated between them.)
    """
    score = _float64(score)
    if not len(score):
        return np.empty(0), np.empty(0), np.empty(0, dtype=np.int64)
    edges = np.sort(score)[(np.arange(1, bins) * len(score) - 1) // bins]
    index = np.searchsorted(edges, score)
    rows = np.bincount(index, minlength=bins)
    filled = rows > 0
    sums = (np.bincount(index, weights=weights, minlength=bins) for weights in (score, label == 1))
    mean_score, fraud_rate = (total[filled] / rows[filled] for total in sums)
    return mean_score, fraud_rate, rows[filled]


def log_odds(probability: Array) -> NDArray[np.float64]:
    """Log-odds of probabilities, those of 1e-7 and 1 - 1e-7 at most."""
    inside = np.clip(np.asarray(probability, np.float64), _EDGE, 1 - _EDGE)
    odds: NDArray[np.float64] = np.log(inside / (1 - inside))
    return odds


def sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities of log-odds."""
    return 1 / (1 + np.exp(-np.clip(x, -700, 700)))


def _float64(score: Array) -> NDArray[np.float64]:
    return np.asarray(score, dtype=np.float64)
