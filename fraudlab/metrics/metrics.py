"""The metrics of one split, computed from the predictions of the whole split: the single place they come from."""

import math

import numpy as np

from fraudlab.errors import UserError
from fraudlab.metrics.contract import Array, ScoredRows
from fraudlab.metrics.ranking import Ranking
from fraudlab.metrics.registry import METRICS

ADMIN_COST = 2.5
"""Cost of looking at one alert, in the currency of the amounts: a stand-in to be replaced by one's own."""


def compute_metrics(
    label: Array,
    score: Array,
    *,
    day: Array | None = None,
    card: Array | None = None,
    amount: Array | None = None,
    cost_threshold: float | None = None,
    admin_cost: float | Array = ADMIN_COST,
    recovery_share: float = 1.0,
) -> dict[str, float | int | None]:
    """All metrics of a split, always under the same keys; None where a metric is undefined, so JSON can carry them.

    Undefined are: what ranks one class against a missing one, card precision without ``day`` and ``card``, value
    detection without ``amount``, savings without ``amount`` and ``cost_threshold``.

    Args:
        label: ``[N]``, 0 or 1 (integer, boolean or float).
        score: ``[N]``, probability of fraud, in [0, 1].
        day: ``[N]`` integers, e.g. days since the epoch.
        card: ``[N]``, integers or strings; None or NaN = no card known.
        amount: ``[N]``, 0 or more.
        cost_threshold: rows with at least this score are flagged; chosen on the validation split with
            :func:`fraudlab.metrics.cost.best_cost_threshold`.
        admin_cost: cost of one alert, in the currency of ``amount``, or of an alert on each row, ``[N]``.
        recovery_share: of a fraud's amount, what an alert saves; above 0, at most 1.

    Raises:
        UserError: an array is empty, of another length or dimension, or holds values out of range.
    """
    label, score = np.asarray(label), np.asarray(score)
    _check(label, score, day, card, amount)
    _check_costs(label, admin_cost, recovery_share)
    label, score = label == 1, score.astype(np.float64, copy=False)
    ranking = Ranking(label, score)
    rows = ScoredRows(label, score, ranking, day, card, amount, cost_threshold, admin_cost, recovery_share)
    found = {name: metric.measure(rows) for name, metric in METRICS.items()}
    return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in found.items()}


def _check(label: Array, score: Array, day: Array | None, card: Array | None, amount: Array | None) -> None:
    if label.ndim != 1 or not len(label):
        raise UserError(f"metrics need at least one row in a flat array; label has shape {label.shape}")
    for name, array in {"score": score, "day": day, "card": card, "amount": amount}.items():
        if array is not None and array.shape != label.shape:
            raise UserError(f"{name} has shape {array.shape} where label has {label.shape}; give one value a row")
    if label.dtype != bool and not ((label == 0) | (label == 1)).all():
        raise UserError("label holds values other than 0 and 1; encode fraud as 1 and genuine as 0")
    if not ((score >= 0) & (score <= 1)).all():  # also false for NaN
        raise UserError("score must lie in [0, 1] and be finite; give probabilities, not logits")
    if day is not None and day.dtype.kind not in "iu":
        raise UserError(f"day has type {day.dtype}; give whole days as integers, e.g. days since the epoch")
    if amount is not None and not ((amount >= 0) & (amount < np.inf)).all():
        raise UserError("amount must be finite and 0 or more; leave amount out where refunds or gaps are in the table")


def _check_costs(label: Array, admin_cost: float | Array, recovery_share: float) -> None:
    costs = np.asarray(admin_cost, np.float64)
    if costs.shape not in ((), label.shape):
        raise UserError(
            f"admin_cost has shape {costs.shape} where label has {label.shape}; give one cost, or one a row"
        )
    if not ((costs >= 0) & (costs < np.inf)).all():
        raise UserError(
            f"admin_cost={admin_cost} must be finite and 0 or more"
            if not costs.shape
            else "admin_cost is missing, infinite or negative in some rows; it must be finite and 0 or more"
        )
    if not 0 < recovery_share <= 1:
        raise UserError(f"recovery_share={recovery_share} must be above 0 and at most 1: the share that an alert saves")
