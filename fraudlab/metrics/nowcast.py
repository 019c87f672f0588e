"""What a metric will be once labels have come: estimates for young rows, from their scores and the labels so far.

A row's label is final at an age of ``horizon`` days: fraud where it was told by then and not taken back, genuine
otherwise, as training counts it. Of younger rows three things are estimated, each from rows that are older:

- how scores read as probabilities: a logistic curve, whose level differs from week to week (a random effect;
  DerSimonian and Laird 1986), so that a new week's level is uncertain even where the curve is well known;
- how late frauds are reported: from arrivals that are cut off at each row's age (the product-limit estimate for right
  truncation; Lagakos, Barraj and De Gruttola 1988);
- how often they are taken back (Kaplan and Meier 1958).

What a row will be is drawn from them many times; a metric's interval is that of its values over the draws. With no
label at all this is the confidence-based estimate of performance, with all of them the metric itself.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fraudlab.metrics.calibration import log_odds, sigmoid
from fraudlab.metrics.label_delays import KnownRows, arrivals, kept, told_by

Array = NDArray[Any]

LEVEL = 0.9
"""Share of the later values that an interval is to hold."""
WEEKS_NEEDED = 3
"""Mature weeks with frauds from which the spread between weeks can be told."""

_DRAWS = 300
_BINS = 64  # of scores, where rows of about one score need not be told apart
_LEVELS = 201  # of a week's level, by equal steps of its prior probability
_EDGE = 1e-7


@dataclass(frozen=True)
class Past:
    """What rows with final labels and arrivals so far say of younger ones; see :func:`learn`.

    Attributes:
        centre: of the covariates, ``[D]``.
        slopes: of the log-odds and, where there is one, of the logarithm of the amount, ``[D]``, and their covariance.
        level: mean of the weeks' intercepts, and the standard deviation of a new week's.
        weeks: mature weeks that it rests on.
        arrivals: by the day of the delay, frauds told then ``[horizon + 1]``, and those that could have been.
        kept: share of frauds that is not taken back within each number of days ``[horizon + 1]``.
        horizon: days.
    """

    centre: Array
    slopes: tuple[Array, Array]
    level: tuple[float, float]
    weeks: int
    arrivals: tuple[Array, Array]
    kept: Array
    horizon: int


def learn(rows: KnownRows, horizon: int, ratio: NDArray[np.float64] | None = None) -> Past | None:
    """What the past says; None where fewer than :data:`WEEKS_NEEDED` mature weeks have frauds and genuine rows.

    Args:
        rows: of all weeks up to now.
        horizon: days until a label is final.
        ratio: how much more likely a row of the week to be estimated is to look like each row, ``[N]``: weights for
            the curve, where transactions have changed.
    """
    mature = rows.age >= horizon
    young = np.unique(rows.week[~mature])
    use = ~np.isin(rows.week, young)
    weeks, number = np.unique(rows.week[use], return_inverse=True)
    fraud = rows.final_fraud(horizon)[use]
    weight = (rows.weight if ratio is None else rows.weight * ratio)[use]
    counts = [np.bincount(number, weight * which, minlength=len(weeks)) for which in (fraud, ~fraud)]
    both = (counts[0] > 0) & (counts[1] > 0)
    if both.sum() < WEEKS_NEEDED:
        return None
    inside = both[number]
    renumbered = np.cumsum(both) - 1
    covariates = _covariates(rows)[use][inside]
    # Where the frauds lie: there an error of the slopes says nothing of the level.
    centre = np.average(covariates, axis=0, weights=weight[inside] * fraud[inside])
    covariates -= centre
    slopes, spread, levels, variance = _weekly_curves(
        covariates, fraud[inside], weight[inside], renumbered[number[inside]], int(both.sum())
    )
    return Past(
        centre,
        (slopes, spread),
        _between(levels, variance),
        int(both.sum()),
        arrivals(rows, horizon),
        kept(rows, horizon),
        horizon,
    )


def _covariates(rows: KnownRows) -> NDArray[np.float64]:
    """What a fraud's probability follows: the log-odds of the score, and the amount, which frauds are larger in."""
    odds = log_odds(rows.score)
    columns = [odds] if rows.amount is None else [odds, np.log1p(rows.amount)]
    return np.stack(columns, axis=1)


def _weekly_curves(
    covariates: Array, fraud: Array, weight: Array, week: Array, weeks: int
) -> tuple[Array, Array, Array, Array]:
    """Slopes for all weeks and an intercept for each, by Newton's method.

    Returns:
        Slopes ``[D]``, their covariance ``[D, D]``, the weeks' intercepts and their variances ``[weeks]``.
    """
    start = np.eye(covariates.shape[1])[0]  # scores that are probabilities
    slopes, level = start, np.zeros(weeks)
    weak = 1e-3  # a pull towards them that keeps the Hessian regular
    for _ in range(100):
        p = sigmoid(covariates @ slopes + level[week])
        curvature, residual = weight * p * (1 - p), weight * (fraud - p)
        # The Hessian is an arrow: a diagonal for the intercepts beside the slopes' rows.
        on_level = np.bincount(week, curvature, minlength=weeks) + weak
        across = _sums(week, covariates * curvature[:, None], weeks)
        gradient = np.bincount(week, residual, minlength=weeks) - weak * level
        shared = across / on_level[:, None]
        schur = covariates.T @ (covariates * curvature[:, None]) + weak * np.eye(len(slopes)) - across.T @ shared
        step = np.linalg.solve(schur, covariates.T @ residual - weak * (slopes - start) - shared.T @ gradient)
        steps = (gradient - across @ step) / on_level
        largest = max(np.abs(step).max(), np.abs(steps).max())
        scale = min(1.0, 2.0 / max(largest, 1e-12))
        slopes, level = slopes + scale * step, level + scale * steps
        if largest < 1e-9:
            break
    # Rows of one week may go together, so the weeks are what is independent.
    own = _sums(week, (covariates - shared[week]) * residual[:, None], weeks)
    inverse = np.linalg.inv(schur)
    robust = inverse @ (own.T @ own) @ inverse * weeks / (weeks - 1)
    return slopes, robust if np.trace(robust) > np.trace(inverse) else inverse, level, 1 / on_level


def _sums(part: Array, values: Array, parts: int) -> Array:
    return np.stack([np.bincount(part, column, minlength=parts) for column in values.T], axis=1)


def _between(levels: Array, variance: Array) -> tuple[float, float]:
    """Mean level of the weeks and the standard deviation of a new week's around it (DerSimonian and Laird 1986)."""
    count = len(levels)
    own = 1 / variance
    mean = (own * levels).sum() / own.sum()
    excess = (own * (levels - mean) ** 2).sum() - (count - 1)
    spread = max(0.0, excess / (own.sum() - (own**2).sum() / own.sum()))
    both = 1 / (variance + spread)
    mean = float((both * levels).sum() / both.sum())
    return mean, float(np.sqrt(spread + 1 / both.sum()))


@dataclass(frozen=True)
class Estimate:
    """A value that is expected, and between which two the later one lies at :data:`LEVEL`."""

    value: float
    low: float
    high: float


def estimate(
    past: Past, week: KnownRows, admin_cost: float, seed: int = 0, recovery_share: float = 1.0
) -> dict[str, Estimate]:
    """Expected metrics of one week's rows, as they will be when their labels are final.

    Args:
        past: of :func:`learn`, at the same moment.
        week: rows of one week, at least one.
        admin_cost: of one alert, in the currency of ``amount``.
        seed: of the draws.
        recovery_share: of a fraud's amount, what an alert saves.

    Returns:
        ``frauds``, ``average_precision``, ``precision`` and ``recall`` of the alerts, and with an amount
        ``value_recall`` (share of the defrauded amount that was alerted) and ``saved``
        (``recovery_share`` of that amount less the alerts' cost); without those that no draw defines.
    """
    chance = np.random.default_rng(seed)
    covariates = _covariates(week) - past.centre
    final = week.age >= past.horizon
    fraud = week.final_fraud(past.horizon)
    settled = final | (week.revoked <= past.horizon)
    open_ = ~settled & ~fraud
    day = np.clip(np.floor(week.age), 0, past.horizon).astype(np.int64)
    since = np.clip(np.floor(week.age - np.where(fraud, week.told, 0)), 0, past.horizon).astype(np.int64)
    left = np.clip(np.ceil(past.horizon - np.where(fraud, week.told, 0)), 0, past.horizon).astype(np.int64)
    stays = np.where(final, 1.0, past.kept[left] / np.maximum(past.kept[since], _EDGE))
    level = _Level(past, covariates[open_], week.weight[open_], day[open_])
    arrived = float((stays * fraud * week.weight)[~final].sum())
    measured = _Measured(week, admin_cost, recovery_share)
    found: list[dict[str, float]] = []
    for _ in range(_DRAWS):
        slopes = chance.multivariate_normal(*past.slopes)
        share = told_by(past.arrivals, chance)
        intercept = level.draw(slopes, share, arrived, chance)
        p = sigmoid(covariates[open_] @ slopes + intercept)
        here = share[day[open_]]
        chances = np.where(fraud, stays, 0.0)
        chances[open_] = p * (1 - here) / np.maximum(1 - p * here, _EDGE)
        found.append(measured(chance.random(len(chances)) < chances))
    return {name: _interval([each[name] for each in found]) for name in found[0]}


class _Level:
    """Draws a week's level: what weeks differ by, weighed by how many of its frauds have been told so far."""

    def __init__(self, past: Past, covariates: Array, weight: Array, day: Array) -> None:
        # Student's t, for the spread between weeks rests on few of them.
        freedom = past.weeks - 1
        normal = np.random.default_rng(0).standard_t(freedom, 20_001)
        steps = np.quantile(normal, (np.arange(_LEVELS) + 0.5) / _LEVELS)
        self._levels = past.level[0] + past.level[1] * steps
        index = covariates @ past.slopes[0]
        edges = np.unique(np.quantile(index, np.linspace(0, 1, _BINS + 1)[1:-1])) if len(index) else np.empty(0)
        part, parts, days = np.searchsorted(edges, index), len(edges) + 1, past.horizon + 1
        self._rows = np.bincount(part * days + day, weight, minlength=parts * days).reshape(-1, days)
        total = np.maximum(np.bincount(part, weight, minlength=parts), _EDGE)
        self._means = _sums(part, covariates * weight[:, None], parts) / total[:, None]

    def draw(self, slopes: Array, told_by: Array, arrived: float, chance: np.random.Generator) -> float:
        seen = self._rows @ told_by
        expected = sigmoid(self._means @ slopes + self._levels[:, None]) @ seen
        likely = arrived * np.log(np.maximum(expected, 1e-300)) - expected
        share = np.exp(likely - likely.max())
        return float(
            self._levels[np.searchsorted(np.cumsum(share / share.sum()), chance.random()).clip(0, _LEVELS - 1)]
        )


class _Measured:
    """Metrics of one week for labels that are drawn; the rows are ranked once."""

    def __init__(self, week: KnownRows, admin_cost: float, recovery_share: float) -> None:
        self._week = week
        self._order = np.argsort(-week.score)
        ranked = week.score[self._order]
        self._ends = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(ranked) - 1)
        self._weight = week.weight[self._order]
        self._rows = np.cumsum(self._weight)[self._ends]
        self._alerts = float((week.weight * week.alerted).sum())
        self._cost, self._recovered = admin_cost * self._alerts, recovery_share

    def __call__(self, fraud: Array) -> dict[str, float]:
        week = self._week
        caught = np.cumsum(self._weight * fraud[self._order])[self._ends]
        total = caught[-1]
        right = float((week.weight * (fraud & week.alerted)).sum())
        nan = float("nan")
        found = {
            "frauds": float(total),
            "average_precision": float(np.diff(caught, prepend=0.0) @ (caught / self._rows) / total) if total else nan,
            "precision": right / self._alerts if self._alerts else nan,
            "recall": right / float(total) if total else nan,
        }
        if week.amount is not None:
            lost = week.weight * week.amount * fraud
            found["value_recall"] = float(lost[week.alerted].sum() / lost.sum()) if lost.any() else nan
            found["saved"] = self._recovered * float(lost[week.alerted].sum()) - self._cost
        return found


def metrics_of(
    week: KnownRows, fraud: NDArray[np.bool_], admin_cost: float, recovery_share: float = 1.0
) -> dict[str, float]:
    """The metrics of :func:`estimate` for labels that are known, ``[N]``; NaN where one is undefined."""
    return _Measured(week, admin_cost, recovery_share)(fraud)


def _interval(values: list[float]) -> Estimate:
    known = np.array(values)[np.isfinite(values)]
    if not len(known):
        return Estimate(float("nan"), float("nan"), float("nan"))
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(float(known.mean()), float(low), float(high))


def as_dict(found: Mapping[str, Estimate]) -> dict[str, dict[str, float | None]]:
    """Plain data for JSON, which has null in place of NaN."""
    return {
        metric: {of: None if np.isnan(value) else value for of, value in asdict(each).items()}
        for metric, each in found.items()
    }
