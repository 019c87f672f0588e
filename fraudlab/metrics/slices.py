"""Metrics of some of the rows compared with the others: what a model does to each group, with intervals.

Rows of one card or terminal are not independent, so shares have the interval of Wilson (1927) for as many rows as they
are worth: the rows divided by the design effect of their groups (Kish 1965).
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fraudlab.metrics.bootstrap import FEWEST_GROUPS, RESAMPLED_METRICS, Resampled, drawn, share_interval

Array = NDArray[Any]

FEWEST_FRAUDS = 10
"""With fewer of them, what is measured on frauds would tell of chance alone, and is not told."""
_Z = 1.959964
_RESAMPLES = 200


@dataclass(frozen=True)
class Share:
    """A share of rows, its interval of 95 %, and as how many independent rows they count."""

    value: float
    low: float
    high: float
    worth: float

    @classmethod
    def of(cls, hit: Array, group: Array) -> "Share | None":
        """The share of rows ``[N]`` that ``hit`` marks; ``group`` ``[N]`` has their groups.

        None of fewer than :data:`FEWEST_GROUPS` groups. At 0 and 1, where rows say nothing of how alike those of a
        group are, a group counts as one row.
        """
        _, number = np.unique(group, return_inverse=True)
        groups = int(number.max(initial=-1)) + 1
        if groups < FEWEST_GROUPS:
            return None
        share, worth = float(hit.mean()), float(groups)
        if 0 < share < 1:
            off = np.bincount(number, hit - share)
            few = 1.0 if groups == len(hit) else groups / (groups - 1)
            worth = len(hit) / max(float(off @ off) * few / (len(hit) * share * (1 - share)), 1.0)
        middle = (share + _Z**2 / (2 * worth)) / (1 + _Z**2 / worth)
        half = _Z * math.sqrt(share * (1 - share) / worth + _Z**2 / (4 * worth**2)) / (1 + _Z**2 / worth)
        return cls(share, max(middle - half, 0.0), min(middle + half, 1.0), worth)

    def told(self) -> dict[str, Any]:
        return {"value": self.value, "interval": [self.low, self.high]}


def ratio(one: Share | None, other: Share | None) -> dict[str, Any] | None:
    """The ratio of two shares with an interval of 95 % by its logarithm (Katz et al. 1978); None where one is 0.

    Groups that have rows on both sides move both shares alike; that is left out, and makes the interval too wide.
    """
    if one is None or other is None or not one.value or not other.value:
        return None
    deviation = math.sqrt(sum((1 - each.value) / (each.worth * each.value) for each in (one, other)))
    value = one.value / other.value
    return {"value": value, "interval": [value * math.exp(sign * _Z * deviation) for sign in (-1, 1)]}


def of_slice(label: Array, flagged: Array, group: Array, inside: Array, score: Array | None = None) -> dict[str, Any]:
    """Metrics of the rows that ``inside`` marks.

    Args:
        label: ``[N]``, 0 or 1.
        flagged: ``[N]``, whether there is an alert.
        group: ``[N]``, numbers of the groups of rows that belong together.
        inside: ``[N]``, whether a row is of the slice.
        score: ``[N]``; None where the rows' scores are of several models and rank nothing together.

    Returns:
        ``rows``, ``frauds``; and with intervals ``alerted``, ``false_positive_rate`` and its ``ratio`` to the rows
        outside; of :data:`FEWEST_FRAUDS` frauds and more ``recall`` and, of scores, the ranking metrics. What is not
        told is None.
    """
    fraud = np.asarray(label) == 1

    def share(rows: Array) -> Share | None:
        return Share.of(flagged[rows], group[rows])

    genuine, others = share(inside & ~fraud), share(~inside & ~fraud)
    alerted, frauds = share(inside), int((inside & fraud).sum())
    recall = share(inside & fraud) if frauds >= FEWEST_FRAUDS else None
    found: dict[str, Any] = {"rows": int(inside.sum()), "frauds": frauds, "ratio": ratio(genuine, others)}
    for name, each in (("alerted", alerted), ("false_positive_rate", genuine), ("recall", recall)):
        found[name] = None if each is None else each.told()
    ranks = score is not None and recall is not None and genuine is not None
    return {**found, **(_ranked(label, score, group, inside) if ranks else dict.fromkeys(RESAMPLED_METRICS))}  # type: ignore[arg-type]


def _ranked(label: Array, score: Array, group: Array, inside: Array) -> dict[str, Any]:
    ranked = Resampled(label[inside], score[inside])
    _, number = np.unique(group[inside], return_inverse=True)
    draws = np.stack([ranked(count) for count in drawn(number, _RESAMPLES, 0)])
    values, groups = ranked(np.ones(len(number), np.int64)), len(np.unique(number[label[inside] == 1]))
    found: dict[str, Any] = {}
    for m, (name, value) in enumerate(zip(RESAMPLED_METRICS, values, strict=True)):
        interval = share_interval(value, draws[:, m], groups)
        found[name] = None if interval is None else {"value": value, "interval": list(interval)}
    return found
