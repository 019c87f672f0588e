"""Metrics by name: the one table of what is measured, and which way is better."""

from collections.abc import Callable

from fraudlab.errors import UserError
from fraudlab.metrics.calibration import brier, expected_calibration_error, log_loss
from fraudlab.metrics.cards import card_precision_at_k
from fraudlab.metrics.contract import MetricPart, ScoredRows
from fraudlab.metrics.cost import cost_savings, ranked_value_detection_rate


def _card_precision(rows: ScoredRows) -> float | None:
    if rows.day is None or rows.card is None:
        return None
    return card_precision_at_k(rows.day, rows.card, rows.label, rows.score)


def _value_detection_rate(rows: ScoredRows) -> float | None:
    return None if rows.amount is None else ranked_value_detection_rate(rows.ranking, rows.label, rows.amount, 0.01)


def _cost_savings(rows: ScoredRows) -> float | None:
    if rows.amount is None or rows.cost_threshold is None:
        return None
    costs = rows.admin_cost, rows.recovery_share
    return cost_savings(rows.label, rows.score, rows.amount, rows.cost_threshold, *costs)


METRICS: dict[str, MetricPart] = {
    "rows": MetricPart(lambda rows: rows.ranking.rows, None),
    "frauds": MetricPart(lambda rows: rows.ranking.frauds, None),
    "fraud_rate": MetricPart(lambda rows: rows.ranking.frauds / rows.ranking.rows, None),
    "roc_auc": MetricPart(lambda rows: rows.ranking.roc_auc(), heading="AUC ROC"),
    "average_precision": MetricPart(lambda rows: rows.ranking.average_precision(), heading="AP"),
    "card_precision_at_100": MetricPart(_card_precision, heading="CP@100"),
    "recall_at_fpr_0.01": MetricPart(lambda rows: rows.ranking.recall_at_fpr(0.01), heading="recall@1% FPR"),
    "recall_at_fpr_0.001": MetricPart(lambda rows: rows.ranking.recall_at_fpr(0.001), heading="recall@0.1% FPR"),
    "precision_at_budget_0.01": MetricPart(lambda rows: rows.ranking.precision_at_budget(0.01)),
    "recall_at_budget_0.01": MetricPart(lambda rows: rows.ranking.recall_at_budget(0.01)),
    "precision_at_budget_0.001": MetricPart(lambda rows: rows.ranking.precision_at_budget(0.001)),
    "recall_at_budget_0.001": MetricPart(lambda rows: rows.ranking.recall_at_budget(0.001)),
    "value_detection_rate_at_budget_0.01": MetricPart(_value_detection_rate),
    "brier": MetricPart(lambda rows: brier(rows.label, rows.score), higher_is_better=False, heading="Brier"),
    "log_loss": MetricPart(lambda rows: log_loss(rows.label, rows.score), higher_is_better=False),
    "expected_calibration_error": MetricPart(
        lambda rows: expected_calibration_error(rows.label, rows.score), higher_is_better=False
    ),
    "cost_savings": MetricPart(_cost_savings),
    "cost_threshold": MetricPart(lambda rows: rows.cost_threshold, None),
}
"""In the order of ``metrics.json``."""
_BUILT_IN = frozenset(METRICS)


def register_metric(
    name: str,
    measure: Callable[[ScoredRows], float | int | None],
    *,
    higher_is_better: bool | None,
    heading: str = "",
) -> None:
    """Add a metric of a plugin to ``metrics.json``.

    Args:
        name: its key there.
        measure: see :class:`fraudlab.metrics.contract.MetricPart`.
        higher_is_better: whether more of it is better; None where neither is.
        heading: of its column in tables; empty to show it in none.

    Raises:
        UserError: fraudlab has a metric of that name.
    """
    if name in _BUILT_IN:
        raise UserError(f"the metric {name} is fraudlab's own; register yours under another name")
    METRICS[name] = MetricPart(measure, higher_is_better, heading)


def headings() -> dict[str, str]:
    """The metrics that tables show: key in ``metrics.json`` -> heading."""
    return {name: metric.heading for name, metric in METRICS.items() if metric.heading}
