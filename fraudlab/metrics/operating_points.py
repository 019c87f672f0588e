"""Operating points: what alerting from a threshold on gives, and thresholds for a budget of alerts."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fraudlab.metrics.ranking import Ranking

ALERTS_PER_1000 = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0)  # alerts per 1,000 of the operating points


def threshold_for_budget(ranking: Ranking, per_1000: float) -> float:
    """The lowest score whose alerts stay within the budget; above the top score where a tie there exceeds it.

    A threshold takes or leaves a tie group, so its alerts are the most that do not exceed the budget. The metrics at a
    budget (:meth:`.Ranking.alerts_within`) take the nearest whole number of alerts instead, and a part of a tie group.
    """
    within = np.flatnonzero(ranking.alerts[1:] <= per_1000 * ranking.rows / 1000)
    return float(ranking.threshold[within[-1]]) if len(within) else float(np.nextafter(ranking.threshold[0], 2.0))


def carried_over(score: NDArray[Any], recent: NDArray[Any]) -> NDArray[np.float64]:
    """Scores of one model on the scale of another: each becomes the other model's score of the same rank.

    Two fits of one model rank alike but scale their scores otherwise, so a threshold or a calibration that is chosen on
    one fit's scores says nothing of the other's before that.

    Args:
        score: of the one model, ``[N]``; equal scores stay equal.
        recent: of the other one, on rows of the same kind, ``[M]``.

    Returns:
        ``[N]``, within the range of ``recent``.
    """
    _, group, count = np.unique(score, return_inverse=True, return_counts=True)
    middle = np.cumsum(count) - count / 2
    # Hazen's quantiles: the middle of the i-th of M ranks is the i-th value itself.
    found: NDArray[np.float64] = np.quantile(np.asarray(recent, np.float64), middle / len(score), method="hazen")
    return found[group]


def operating_point(ranking: Ranking, threshold: float) -> dict[str, float | None]:
    """What alerting on scores of at least ``threshold`` gives; None for a share of nothing."""
    at = int(np.searchsorted(-ranking.threshold, -threshold, side="right"))
    alerts, caught = int(ranking.alerts[at]), int(ranking.caught[at])
    genuine = ranking.rows - ranking.frauds
    return {
        "threshold": threshold,
        "precision": caught / alerts if alerts else None,
        "recall": caught / ranking.frauds if ranking.frauds else None,
        "fpr": (alerts - caught) / genuine if genuine else None,
        "alerts_per_1000": 1000 * alerts / ranking.rows,
    }
