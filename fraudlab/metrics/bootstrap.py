"""Metrics on groups of rows drawn again with replacement: how far a metric would move on another sample."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fraudlab.metrics.calibration import log_odds, sigmoid
from fraudlab.metrics.ranking import Ranking, average_precision_of

Array = NDArray[Any]

RESAMPLED_METRICS = ("roc_auc", "average_precision")
FEWEST_GROUPS = 10
"""With fewer groups of rows to draw from, resamples are too alike for an interval."""
_FINITE = 0.9
_Z = 1.959964


class Resampled:
    """:data:`RESAMPLED_METRICS` of scores where each row counts some number of times: sorted once, one pass a resample.

    Args:
        label: ``[N]``, 0 or 1.
        score: ``[N]``, any finite reals.
    """

    def __init__(self, label: Array, score: Array) -> None:
        ranking = Ranking(label, score)
        self._order = np.argsort(score)[::-1]
        self._ends = ranking.alerts  # where tie groups end, with a 0 before
        self._fraud = np.asarray(label)[self._order] == 1
        # Only tie groups with a fraud in them add to the two metrics.
        self._groups = np.flatnonzero(np.diff(ranking.caught))
        group = np.searchsorted(self._ends, np.flatnonzero(self._fraud), side="right") - 1
        self._group_of_fraud = np.searchsorted(self._groups, group)

    def __call__(self, count: Array) -> tuple[float, float]:
        """AUC ROC and average precision where row i is there ``count[i]`` times (``[N]``); NaN without both classes."""
        count = count[self._order]
        alerts = np.append(0, np.cumsum(count))[self._ends]
        before, through = alerts[self._groups], alerts[self._groups + 1]
        frauds = np.bincount(self._group_of_fraud, count[self._fraud], minlength=len(self._groups))
        caught = np.cumsum(frauds)
        total = frauds.sum()
        genuine = alerts[-1] - total
        with np.errstate(invalid="ignore"):
            ranked_lower = genuine - (before - (caught - frauds)) - (through - before - frauds) / 2
            return float(frauds @ ranked_lower / (total * genuine)), average_precision_of(frauds, through)


def paired(
    label: Array, scores: Sequence[Array], group: NDArray[np.int64], resamples: int, seed: int
) -> Iterator[NDArray[np.float64]]:
    """:data:`RESAMPLED_METRICS` of several models on the same resamples of groups of rows.

    The rows of a group are drawn together, since they are not independent: a terminal that is compromised has many
    frauds, and a resample of single rows would move too little (Davison, Hinkley 1997, section 3.8).

    Args:
        label: ``[N]``, 0 or 1.
        scores: of each model ``[runs, N]``; a model's metric is the mean over its runs.
        group: ``[N]``, the number of each row's group, from 0 on; ``np.arange(N)`` draws single rows.
        resamples: how many.
        seed: of the draws.

    Yields:
        ``[models, 2]`` for each resample.
    """
    models = [[Resampled(label, score) for score in runs] for runs in scores]
    for count in drawn(group, resamples, seed):
        yield np.array([np.mean([run(count) for run in runs], axis=0) for runs in models])


def drawn(group: NDArray[np.int64], resamples: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """How often each row is in each resample of groups, ``[N]``; arguments as :func:`paired`'s."""
    random = np.random.default_rng(seed)
    groups = int(group.max()) + 1
    for _ in range(resamples):
        yield np.bincount(random.integers(0, groups, groups), minlength=groups)[group]


def share_interval(value: float, draws: Array, groups: int) -> tuple[float, float] | None:
    """95 % interval of a metric in [0, 1] by the deviation of its log-odds over resamples.

    Quantiles of the draws themselves are too narrow where few groups have a fraud, and resamples with copies of a row
    flatter average precision; by the log-odds the interval covers a population's value about as often as it says.
    Of a value of 0 or 1, which no resample moves, it is that of Wilson (1927) for ``groups`` of ``groups``.

    Args:
        value: of the metric.
        draws: ``[R]``, of it; NaN of resamples that had no fraud, or no genuine row.
        groups: that have a fraud; draws nearer to 0 or 1 than half a group count as so near.

    Returns:
        Low and high; None where there is no value, or :func:`enough` says no.
    """
    if np.isnan(value) or not enough(draws):
        return None
    if value in (0, 1):
        off = _Z**2 / (groups + _Z**2)
        return (1 - off, 1.0) if value else (0.0, off)
    edge = min(0.5 / groups, value / 2, (1 - value) / 2)
    odds = log_odds(np.clip(draws[np.isfinite(draws)], edge, 1 - edge))
    centre, deviation = log_odds(np.array([value]))[0], float(np.std(odds, ddof=1))
    low, high = sigmoid(centre + np.array([-_Z, _Z]) * deviation)
    return min(float(low), value), max(float(high), value)


def enough(draws: Array) -> bool:
    """Whether 9 of 10 draws ``[R]`` at least have a value; with fewer, an interval would speak of those alone."""
    return bool(np.isfinite(draws).mean() >= _FINITE)
