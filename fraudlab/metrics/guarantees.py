"""Thresholds that keep a promise: of a recall of fraud, of a precision, or of a number of alerts.

A promise of recall or precision holds with a chosen confidence where later rows are drawn as the labelled ones were,
each independent of the others. It is exact, however few rows there are; of too few there is none. Frauds come in
bursts, one piece of evidence each: ``effect`` says how many frauds are worth one.
"""

import math
from bisect import bisect_left
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fraudlab.metrics.operating_points import ALERTS_PER_1000, threshold_for_budget
from fraudlab.metrics.ranking import Ranking

Array = NDArray[Any]
_WEEK = 7
_HALVINGS = 60


def frauds_needed(recall: float, confidence: float) -> int:
    """The fewest frauds of which any threshold could promise ``recall``: with all of them above it."""
    return math.ceil(math.log(1 - confidence) / math.log(recall))


def at_most(successes: int, trials: int, p: float) -> float:
    """Probability of at most so many successes, each trial one with probability ``p`` in (0, 1)."""
    if successes >= trials:
        return 1.0
    k = np.arange(successes + 1)
    logs = np.append(0.0, np.cumsum(np.log(np.arange(1, trials + 1))))
    terms = logs[trials] - logs[k] - logs[trials - k] + k * math.log(p) + (trials - k) * math.log1p(-p)
    return min(1.0, float(np.exp(terms).sum()))


def share_between(successes: int, trials: int, confidence: float) -> tuple[float, float]:
    """The exact interval of a share (Clopper and Pearson 1934); 0 and 1 of no trials."""
    tail = (1 - confidence) / 2
    low = high = 0.0
    if successes:
        low = _root(lambda p: 1 - at_most(successes - 1, trials, p) < tail)
    if successes < trials:
        high = _root(lambda p: at_most(successes, trials, p) > tail)
    return low, high if successes < trials else 1.0


def recall_threshold(fraud_score: Array, recall: float, confidence: float, effect: float = 1.0) -> float | None:
    """The highest threshold that at least a share ``recall`` of all frauds reach, with ``confidence``.

    With n frauds it is the k-th lowest score, of the largest k where P(Bin(n, 1 - recall) < k) <= 1 - confidence
    (tolerance limits, Wilks 1941; class-conditional conformal prediction that holds with a confidence, Vovk 2012). Ties
    only make the promise safer.

    Args:
        fraud_score: of the frauds, ``[n]``.
        recall: in (0, 1).
        confidence: in (0, 1).
        effect: frauds that are worth one independent one, 1 or more; see :func:`burst_effect`. The n independent ones
            are runs of as many frauds by score, and the k-th run counts by its lowest.

    Returns:
        None where the frauds are too few, see :func:`frauds_needed`.
    """
    n = int(len(fraud_score) / effect)
    rank = bisect_left(range(n), True, key=lambda k: at_most(k, n, 1 - recall) > 1 - confidence)
    return float(np.sort(fraud_score)[int((rank - 1) * len(fraud_score) / n)]) if rank else None


def recall_threshold_of_bursts(
    fraud_score: Array, group: Array, recall: float, confidence: float
) -> tuple[float | None, float]:
    """:func:`recall_threshold` where the frauds of a group ``[n]`` are no independent evidence, and their effect."""
    effect = burst_effect(fraud_score >= np.quantile(fraud_score, 1 - recall), group)
    threshold = recall_threshold(fraud_score, recall, confidence, effect)
    if threshold is not None:  # the effect is itself an estimate: the larger one of two places
        effect = max(effect, burst_effect(fraud_score >= threshold, group))
        threshold = recall_threshold(fraud_score, recall, confidence, effect)
    return threshold, effect


def burst_effect(hit: Array, group: Array) -> float:
    """The design effect of a share: how many rows one independent row is worth, 1 or more.

    It is at least what it would be if all rows of a group were hit or missed together, by the groups' sizes alone: a
    few groups do not show how alike their rows are. It is more where large groups are hit otherwise than small ones:
    the variance of the share with rows drawn by group over that with rows drawn one by one (Kish 1965), with the
    correction of few groups.

    Args:
        hit: whether a row counts in the share, ``[n]``, at least one.
        group: of each row, ``[n]``.
    """
    rows = len(hit)
    share = float(np.mean(hit))
    if not 0 < share < 1:
        share = (float(np.sum(hit)) + 0.5) / (rows + 1)
    number = np.unique(group, return_inverse=True)[1]
    size = np.bincount(number)
    if len(size) == rows:
        return 1.0
    excess = np.bincount(number, np.asarray(hit, np.float64) - share)
    few = len(size) / max(1, len(size) - 1)
    return max(float(size @ size) / rows, few * float(excess @ excess) / (rows * share * (1 - share)))


def precision_threshold(
    label: Array, score: Array, precision: float, confidence: float, group: Array | None = None
) -> tuple[float, float] | None:
    """The lowest threshold of which at least a share ``precision`` of the alerts are frauds, with ``confidence``.

    Each budget of :data:`.ALERTS_PER_1000` is tested by the exact binomial, at a share of 1 - confidence, so that
    all of them hold together (Bonferroni). The alerts of a ``group`` ``[N]`` are no independent evidence.

    Returns:
        The threshold, and the effect of its alerts (:func:`burst_effect`); None where no budget shows it.
    """
    ranking = Ranking(label, score)
    fraud = np.asarray(label) == 1
    tail = (1 - confidence) / len(ALERTS_PER_1000)
    for budget in reversed(ALERTS_PER_1000):
        threshold = threshold_for_budget(ranking, budget)
        alerted = score >= threshold
        hit = fraud[alerted]
        if not hit.any():
            continue
        effect = 1.0 if group is None else burst_effect(hit, group[alerted])
        caught, alerts = int(hit.sum() / effect), int(len(hit) / effect)
        if caught and 1 - at_most(caught - 1, alerts, precision) <= tail:
            return threshold, effect
    return None


def alerts_between(alerted: Array, day: Array | None, confidence: float) -> tuple[float, float]:
    """Where the alerts per 1,000 transactions of the next week lie, if weeks go on varying as those of these rows did.

    Prediction intervals by Student's t: of the rates of days as if they were independent, and, of three whole weeks or
    more counted back from the last day, of their rates; the wider one. Of no days, of as many rows as if each were.
    Never less than what so few alerts leave open by themselves: the exact prediction limit of a Poisson count (Nelson
    1970).

    Args:
        alerted: ``[N]``, whether a row made an alert.
        day: ``[N]``, number of each row's day; None where not known.
        confidence: in (0, 1).
    """
    mean, share = float(np.mean(alerted)), (1 + confidence) / 2
    if day is None or len(np.unique(day)) < 2:
        half = math.sqrt(2 * mean * (1 - mean) / len(alerted)) * _t_quantile(share, 400)
        ahead = len(alerted)
    else:
        back = (int(day.max()) - day) // _WEEK
        ahead = math.ceil(len(alerted) * _WEEK / len(np.unique(day)))
        whole = [week for week in np.unique(back) if len(np.unique(day[back == week])) == _WEEK]
        half = _ahead(np.array([alerted[day == each].mean() for each in np.unique(day)]), _WEEK, share)
        if len(whole) >= 3:
            half = max(half, _ahead(np.array([alerted[back == week].mean() for week in whole]), 1, share))
    most = _count_ahead(int(np.sum(alerted)), ahead / (len(alerted) + ahead), 1 - share) / ahead
    return 1000 * max(0.0, mean - half), 1000 * min(1.0, max(mean + half, most))


def _count_ahead(count: int, part: float, tail: float) -> int:
    """The most that a further count may be, where ``part`` of both together falls to it; 0 for counts of 100 and more.

    Those leave so little open that the days tell it.
    """
    further = 0
    while count < 100 and at_most(count, count + further + 1, 1 - part) > tail:
        further += 1
    return further


def _ahead(rates: NDArray[np.float64], periods: int, share: float) -> float:
    """How far the mean rate of so many periods to come may lie from that of these."""
    spread = float(rates.std(ddof=1)) * math.sqrt(1 / periods + 1 / len(rates))
    return spread * _t_quantile(share, len(rates) - 1)


def _t_quantile(share: float, freedom: int) -> float:
    """Of Student's t, above its middle; by its finite series (Abramowitz and Stegun 26.7.3 and 26.7.4)."""
    freedom = min(freedom, 400)  # from here on nearly the normal

    def below(t: float) -> bool:
        angle = math.atan(t / math.sqrt(freedom))
        cos = math.cos(angle)
        odd = freedom % 2
        term = total = cos if odd else 1.0
        for k in range(2 + odd, freedom, 2) if odd else range(1, freedom - 1, 2):
            term *= cos * cos * ((k - 1) / k if odd else k / (k + 1))
            total += term
        total = 0.0 if freedom == 1 else total * math.sin(angle)
        inside = 2 / math.pi * (angle + total) if odd else total
        return (1 + inside) / 2 < share

    return _root(below, 1000.0)


def _root(below: Callable[[float], bool], high: float = 1.0) -> float:
    """Where ``below`` turns false, of 0 to ``high``."""
    low = 0.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if below(middle) else (low, middle)
    return (low + high) / 2
