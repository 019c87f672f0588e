"""How far another sample of such rows might move the metrics of a run: the intervals of its report."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from fraudlab.metrics.bootstrap import FEWEST_GROUPS, RESAMPLED_METRICS, Resampled, drawn, enough, share_interval
from fraudlab.metrics.cost import cost_savings
from fraudlab.runs.predictions import column, groups_of

_RESAMPLES, _SEED = 200, 0


@dataclass(frozen=True)
class Bands:
    """95 % bootstrap intervals of some metrics.

    Attributes:
        by: what was drawn: ``card``, ``terminal``, ``day`` or ``row``.
        groups: how many of them there are.
        metrics: low and high of each metric.
    """

    by: str
    groups: int
    metrics: Mapping[str, tuple[float, float]]


def bands_of(rows: pl.DataFrame, metrics: Mapping[str, Any], admin_cost: float, recovery_share: float) -> Bands | None:
    """Intervals of the ranking metrics and of the savings at the threshold of ``metrics``; None without both classes.

    A metric that :func:`fraudlab.metrics.bootstrap.enough` refuses has none; with fewer than
    :data:`fraudlab.metrics.bootstrap.FEWEST_GROUPS` groups there are none at all.

    Args:
        rows: predictions of one part.
        metrics: of that part, as ``metrics.json`` has them.
        admin_cost: of one alert, see :mod:`fraudlab.metrics.cost`.
        recovery_share: of a fraud's amount, what an alert saves.
    """
    label, score = rows["label"].to_numpy(), rows["score"].to_numpy()
    if len(np.unique(label)) < 2:
        return None
    by, group = groups_of(rows, None)
    ranked, amount, threshold = Resampled(label, score), column(rows, "amount"), metrics.get("cost_threshold")
    groups, with_fraud = int(group.max()) + 1, len(np.unique(group[label == 1]))
    if groups < FEWEST_GROUPS:
        return None
    found = []
    for count in drawn(group, _RESAMPLES, _SEED):
        values = [*ranked(count)]
        if amount is not None and threshold is not None:
            values.append(cost_savings(label, score, amount, threshold, admin_cost, recovery_share, count))
        found.append(values)
    draws = np.array(found).T
    bands: dict[str, tuple[float, float]] = {}
    for name, value, of in zip(RESAMPLED_METRICS, ranked(np.ones(len(label), np.int64)), draws, strict=False):
        if (interval := share_interval(value, of, with_fraud)) is not None:
            bands[name] = interval
    for of in draws[len(RESAMPLED_METRICS) :]:
        if enough(of):
            low, high = np.nanquantile(of, [0.025, 0.975]).tolist()
            bands["cost_savings"] = low, high
    return Bands(by, groups, bands) if bands else None
