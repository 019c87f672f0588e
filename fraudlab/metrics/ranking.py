"""How well scores rank frauds above genuine transactions: ROC, precision-recall, alert budgets.

Every function takes ``label`` (0 or 1, any dtype, ``[N]``) and ``score`` (any finite reals, ``[N]``, higher = more
suspicious). Rows with equal scores form one tie group: no metric depends on the order of the rows. The arrays are
not checked here; :func:`fraudlab.metrics.metrics.compute_metrics` does that once.
"""

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class Ranking:
    """The rows of a split from the most to the least suspicious: sorted once, read by every metric.

    Attributes:
        threshold: ``[T]`` float64, the distinct scores, descending.
        alerts: ``[T + 1]`` int64, number of rows with a score of at least ``threshold[i - 1]``; starts with 0.
        caught: ``[T + 1]`` int64, number of frauds among them; starts with 0.
        rows: N.
        frauds: number of rows with label 1.
    """

    def __init__(self, label: Array, score: Array) -> None:
        score = np.asarray(score, dtype=np.float64)
        self._order = np.argsort(score)[::-1]  # need not be stable: a tie group is only read as a whole
        ranked = score[self._order]
        self.rows = len(ranked)
        ends = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), self.rows - 1) if self.rows else np.empty(0, int)
        self.threshold = ranked[ends]
        self.alerts = np.append(0, ends + 1)
        self.caught = self.cumulate(np.asarray(label) == 1)
        self.frauds = int(self.caught[-1])

    def cumulate(self, value: Array) -> Array:
        """Sum of ``value`` (``[N]``, in the order of the rows given) over the rows alerted: ``[T + 1]``."""
        value = value.astype(np.int64) if value.dtype == bool else value
        sums = np.cumsum(value[self._order])
        return np.append(np.zeros(1, sums.dtype), sums[self.alerts[1:] - 1])

    @cached_property
    def false_positive_rate(self) -> NDArray[np.float64]:
        """``[T + 1]``, ascending from 0 to 1; NaN where there is no genuine row."""
        return _share(self.alerts - self.caught, self.rows - self.frauds)

    @cached_property
    def recall(self) -> NDArray[np.float64]:
        """``[T + 1]``, ascending from 0 to 1; NaN where there is no fraud."""
        return _share(self.caught, self.frauds)

    def roc_auc(self) -> float:
        """See :func:`roc_auc`."""
        genuine = self.alerts - self.caught
        # Trapezoids in whole numbers, halved at the end: exact up to 9e15 pairs, then correctly rounded sums.
        pairs = np.dot(np.diff(genuine).astype(np.float64), (self.caught[1:] + self.caught[:-1]).astype(np.float64))
        return float(_share(pairs / 2, self.frauds * (self.rows - self.frauds)))

    def average_precision(self) -> float:
        """See :func:`average_precision`."""
        return average_precision_of(np.diff(self.caught), self.alerts[1:])

    def recall_at_fpr(self, fpr: float) -> float:
        """See :func:`recall_at_fpr`."""
        return float(np.interp(fpr, self.false_positive_rate, self.recall))

    def alerts_within(self, budget: float) -> int:
        """Alerts that ``budget`` (a share of the rows, 0 to 1) pays for: the nearest whole number, at least 1."""
        return min(max(round(budget * self.rows), 1), self.rows)

    def expected(self, cumulated: Array, alerts: int) -> float:
        """Expected sum over the first ``alerts`` rows where the order within a tie group is random.

        ``cumulated`` is what :meth:`cumulate` gives. Drawing r of the m rows of a tie group yields r/m of the
        group's sum on average, so the expectation is the straight line between the group's ends.
        """
        return float(np.interp(alerts, self.alerts, cumulated))

    def precision_at_budget(self, budget: float) -> float:
        """See :func:`precision_at_budget`."""
        alerts = self.alerts_within(budget)
        return float(_share(self.expected(self.caught, alerts), alerts))

    def recall_at_budget(self, budget: float) -> float:
        """See :func:`recall_at_budget`."""
        return float(_share(self.expected(self.caught, self.alerts_within(budget)), self.frauds))


def _share(part: Any, whole: float) -> NDArray[np.float64]:
    return np.asarray(part, dtype=np.float64) / (whole or np.nan)


def roc_auc(label: Array, score: Array) -> float:
    """Area under the ROC curve, in [0, 1]: how likely a fraud scores above a genuine row, a tie counting half.

    Equal to scikit-learn's ``roc_auc_score``. NaN where one class is missing.
    """
    return Ranking(label, score).roc_auc()


def average_precision(label: Array, score: Array) -> float:
    """Average precision, in [0, 1]: sum over the thresholds of (gain in recall) x precision, not interpolated.

    Equal to scikit-learn's ``average_precision_score``, except that it is NaN (there: 0) where there is no fraud.
    """
    return Ranking(label, score).average_precision()


def average_precision_of(frauds: Array, alerts: Array) -> float:
    """Average precision of tie groups in falling order of score.

    Args:
        frauds: in each group, ``[G]``; groups without any may be left out.
        alerts: rows through each group, those of groups left out too, ``[G]``.
    """
    caught = np.cumsum(frauds)
    total = caught[-1] if len(caught) else 0
    return float(_share(np.dot(frauds, caught / np.maximum(alerts, 1)), total))


def recall_at_fpr(label: Array, score: Array, fpr: float) -> float:
    """Share of the frauds caught where a share ``fpr`` of the genuine rows is alerted.

    The ROC curve is interpolated linearly at ``fpr``, as ``get_recall`` of Amazon's Fraud Dataset Benchmark does
    with ``numpy.interp``. NaN where one class is missing.
    """
    return Ranking(label, score).recall_at_fpr(fpr)


def precision_at_budget(label: Array, score: Array, budget: float) -> float:
    """Share of frauds among the most suspicious ``budget`` (a share of the rows, 0 to 1).

    The number of alerts is ``budget * N`` to the nearest whole number, at least 1. Where the last alert falls into
    a tie group, it is the expected value over a random order within the group. NaN where there are no rows.
    """
    return Ranking(label, score).precision_at_budget(budget)


def recall_at_budget(label: Array, score: Array, budget: float) -> float:
    """Share of all frauds that lie among the most suspicious ``budget`` of the rows.

    Alerts and ties as in :func:`precision_at_budget`. NaN where there is no fraud.
    """
    return Ranking(label, score).recall_at_budget(budget)


def roc_curve(label: Array, score: Array) -> tuple[Array, Array, Array]:
    """False positive rate, recall and threshold, ``[T + 1]`` float64 each, from flagging nothing to flagging all.

    Equal to scikit-learn's ``roc_curve(..., drop_intermediate=False)``: the first threshold is infinite, and a row
    is flagged where its score is at least the threshold. Rates of a missing class are NaN.
    """
    ranking = Ranking(label, score)
    return ranking.false_positive_rate, ranking.recall, np.append(np.inf, ranking.threshold)


def precision_recall_curve(label: Array, score: Array) -> tuple[Array, Array, Array]:
    """Precision, recall and threshold, ``[T]`` float64 each, the threshold descending.

    The points of scikit-learn's ``precision_recall_curve`` in reverse order and without its end point
    (precision 1, recall 0), which no threshold reaches. Recall is NaN where there is no fraud.
    """
    ranking = Ranking(label, score)
    return ranking.caught[1:] / ranking.alerts[1:], ranking.recall[1:], ranking.threshold
