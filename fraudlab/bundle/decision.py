"""From a score to what is done about it: calibration, risk levels that keep a promise, a table of operating points."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fraudlab.errors import UserError
from fraudlab.metrics.calibration import log_odds, sigmoid
from fraudlab.metrics.guarantees import (
    alerts_between,
    frauds_needed,
    precision_threshold,
    recall_threshold_of_bursts,
    share_between,
)
from fraudlab.metrics.operating_points import ALERTS_PER_1000, carried_over, operating_point, threshold_for_budget
from fraudlab.metrics.ranking import Ranking

Level = Literal["low", "medium", "high"]
Array = NDArray[Any]

_ROUNDS = 100  # of Newton's method; a handful is enough where the curve can be fitted at all
_STILL = 1e-10  # a step that changes no score
_ALERTS_HOLD = 0.99  # confidence of the alerts that are told: a few weeks say little of how weeks vary
_EVIDENCE = -2 * math.log(0.001)  # chi-square of 2 degrees of freedom that calibrated scores exceed once in 1,000


@dataclass(frozen=True)
class Labelled:
    """Rows with labels by which a recall or a precision can be promised.

    Attributes:
        label: 0 or 1, ``[N]``.
        probability: of fraud by the network to be served, or carried over to its scale, ``[N]``.
        group: number of each row's card or terminal, from 0 on, ``[N]``; None where rows are independent.
        rests_on: which model and which rows, in words.
        assumes: what must be so for the promise to hold, in words.
    """

    label: Array
    probability: Array
    group: Array | None
    rests_on: str
    assumes: str


@dataclass(frozen=True)
class Decision:
    """How scores are read.

    Attributes:
        calibration: slope and intercept of Platt scaling, ``{"slope", "intercept"}``, on the log-odds of the network's
            probability; None to take the probability as it is.
        thresholds: scores from which on a transaction is ``medium`` and ``high``.
        budget: alerts per 1,000 transactions that either level may make, counted from the top.
        operating_points: what alerting on scores of at least ``threshold`` gives, by falling threshold: ``precision``,
            ``recall``, ``fpr`` (share of genuine transactions alerted), each None where there is nothing to share, and
            ``alerts_per_1000`` transactions.
        rests_on: which model and which rows ``thresholds``, ``calibration``, ``operating_points`` and the histogram of
            ``scores`` come from, in words.
        alerts: of each level, where the alerts per 1,000 transactions of the next week lie, ``[low, high]``, with
            confidence 0.99 where weeks go on varying as they did.
        guarantees: of a level whose threshold promises a ``recall`` or a ``precision``: ``of`` which, ``target``,
            ``confidence``, what the labelled rows have (``shown``), between which bounds that holds (``low``, ``high``,
            either with that confidence), ``rests_on`` and ``assumes``, in words.
    """

    calibration: Mapping[str, float] | None
    thresholds: Mapping[str, float]
    budget: Mapping[str, float]
    operating_points: Sequence[Mapping[str, float | None]]
    rests_on: Mapping[str, str] = field(default_factory=dict)
    alerts: Mapping[str, Sequence[float]] = field(default_factory=dict)
    guarantees: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @classmethod
    def from_scores(
        cls,
        label: Array,
        probability: Array,
        recent: Array | None = None,
        group: Array | None = None,
        *,
        medium: float,
        high: float,
        calibrate: bool = False,
        recall: float | None = None,
        precision: float | None = None,
        confidence: float = 0.95,
        known: Labelled | None = None,
        recent_day: Array | None = None,
    ) -> "Decision":
        """Choose calibration and thresholds on rows that the scored model has not learnt from.

        Where the model to be served is another one than validation scored, thresholds come from its own ``recent``
        scores, for a budget needs no labels. What needs them stays on the validation: its scores are carried over to
        the scale of the served model by rank, and calibration is fitted to those.

        Args:
            label: 0 or 1, [N], of the validation.
            probability: of fraud by the network that was scored on it, [N].
            recent: of fraud by the network to be served, on other rows that it has not learnt from, [M]; None where it
                is the network that ``probability`` is of.
            group: number of each row's card or terminal, from 0 on, [N]: frauds of one are no independent evidence.
                None where rows are.
            medium: alerts per 1,000 transactions that the levels from ``medium`` on may make.
            high: alerts per 1,000 transactions that level ``high`` alone may make.
            calibrate: fit Platt scaling (Platt 1999, with his smoothed targets), and use it where the validation gives
                evidence that the scores need it; else they stay as they are, since it would follow one week's bursts.
            recall: share of the frauds that the levels from ``medium`` on promise to find, in place of its budget.
            precision: share of frauds among the alerts that level ``high`` promises, in place of its budget.
            confidence: of both promises.
            known: rows that they rest on; None for the validation's, carried over to the scale of the served model.
            recent_day: number of the day of each row of ``recent``, or of the validation where there are none, by which
                the alerts of the next week are told; None where not known.

        Raises:
            UserError: the labelled rows are too few for a promise; or to calibrate there are not both frauds and
                genuine rows, scores that rise with fraud, and a curve that fits them.
        """
        served = probability if recent is None else recent
        fitted: dict[str, float] | None = None
        evidence: float | None = None
        if calibrate:
            scale = probability if recent is None else carried_over(probability, recent)
            fitted = _platt(label, scale)
            evidence = _evidence(label, scale, fitted, group)
            if recent is not None:
                evidence /= 2  # the rows carried over to vary as much as the validation's
            fitted = fitted if evidence > _EVIDENCE else None
        ranking = Ranking(label, probability)
        of_served = Ranking(np.zeros(len(served)), _calibrated(fitted, served))
        budget = {"medium": medium, "high": high}
        thresholds = {level: threshold_for_budget(of_served, alerts) for level, alerts in budget.items()}
        guarantees: dict[str, dict[str, Any]] = {}
        if recall is not None or precision is not None:
            known = known or _carried(label, probability, recent, group)
            score = _calibrated(fitted, known.probability)
            if precision is not None:
                thresholds["high"], guarantees["high"] = _precise(known, score, precision, confidence)
            if recall is not None:
                thresholds["medium"], guarantees["medium"] = _finding(known, score, recall, confidence)
            thresholds["medium"] = min(thresholds.values())  # lower: it only finds more
        shown = _calibrated(fitted, served)
        budget |= {level: 1000 * float((shown >= thresholds[level]).mean()) for level in guarantees}
        budget["medium"] = max(budget.values())
        alerts_of = {
            level: [*alerts_between(shown >= at, recent_day, _ALERTS_HOLD)] for level, at in thresholds.items()
        }
        points = {}
        promised = {budget[level] for level in guarantees}
        for alerts in sorted({*ALERTS_PER_1000, *budget.values()} - promised):
            threshold, here = threshold_for_budget(of_served, alerts), threshold_for_budget(ranking, alerts)
            if threshold <= of_served.threshold[0] and here <= ranking.threshold[0]:  # else it alerts on nothing
                points[threshold] = {**operating_point(ranking, here), "threshold": threshold}
        for level in guarantees:
            point = operating_point(ranking, threshold_for_budget(ranking, budget[level]))
            points[thresholds[level]] = {**point, "threshold": thresholds[level]}
        by_threshold = [points[threshold] for threshold in sorted(points, reverse=True)]
        return cls(
            fitted, thresholds, budget, by_threshold, _rests_on(len(label), recent, evidence), alerts_of, guarantees
        )

    def calibrate(self, probability: Array) -> NDArray[np.float64]:
        """Scores in [0, 1] of the network's probabilities."""
        return _calibrated(self.calibration, probability)

    def level(self, score: float) -> Level:
        """The risk level of a calibrated score."""
        if score >= self.thresholds["high"]:
            return "high"
        return "medium" if score >= self.thresholds["medium"] else "low"

    def levels(self, score: Array) -> NDArray[np.str_]:
        """The risk levels of calibrated scores [N]."""
        at = np.where(score >= self.thresholds["high"], 2, np.where(score >= self.thresholds["medium"], 1, 0))
        return np.array(["low", "medium", "high"])[at]

    def to_dict(self) -> dict[str, Any]:
        """Plain data (for JSON) that :meth:`from_dict` reads back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> "Decision":
        """What :meth:`to_dict` gave.

        Raises:
            ValueError: thresholds, budget or calibration are no finite numbers, or ``high`` begins below ``medium``.
        """
        made = cls(**plain)
        for name, values in (("thresholds", made.thresholds), ("budget", made.budget)):
            if set(values) != {"medium", "high"} or not all(map(_is_number, values.values())):
                raise ValueError(f"{name} {values} are no two numbers, medium and high")
        if made.thresholds["high"] < made.thresholds["medium"]:
            raise ValueError(f"thresholds {made.thresholds} have high below medium")
        fitted = made.calibration
        if fitted is not None and not (set(fitted) == {"slope", "intercept"} and all(map(_is_number, fitted.values()))):
            raise ValueError(f"calibration {fitted} is no slope and intercept")
        if not all(_is_number(point["threshold"]) for point in made.operating_points):
            raise ValueError("an operating point has no threshold")
        if not all(len(span) == 2 and all(map(_is_number, span)) for span in made.alerts.values()):
            raise ValueError(f"alerts {made.alerts} are no two numbers a level")
        for promise in made.guarantees.values():
            if not all(_is_number(promise[name]) for name in ("target", "confidence", "shown", "low", "high")):
                raise ValueError(f"guarantee {promise} lacks a number")
        return made


def _carried(label: Array, probability: Array, recent: Array | None, group: Array | None) -> Labelled:
    """The validation as rows of the served model."""
    alike = "later frauds and their share are as in these rows, each card's or terminal's apart from the others'"
    own = f"this model's scores of {len(label):,} validation rows"
    if recent is None:
        return Labelled(label, probability, group, own, alike)
    first = f"{len(label):,} validation rows, scored by the model that was fitted before them, carried over by rank"
    also = f"{alike}, the recent rows have as large a share of fraud, and both models rank alike"
    return Labelled(label, carried_over(probability, recent), group, first, also)


def _finding(known: Labelled, score: Array, recall: float, confidence: float) -> tuple[float, dict[str, Any]]:
    """The threshold that promises a recall, and the promise."""
    fraud = np.asarray(known.label) == 1
    frauds = int(fraud.sum())
    group = np.arange(len(fraud)) if known.group is None else known.group
    threshold, effect = None, 1.0
    if frauds:
        threshold, effect = recall_threshold_of_bursts(score[fraud], group[fraud], recall, confidence)
    if threshold is None:
        needed = math.ceil(effect * frauds_needed(recall, confidence))
        apart = f", worth {frauds / effect:.0f} that are independent" if effect > 1 else ""
        raise UserError(
            f"medium_recall={recall} with confidence={confidence} needs {needed} frauds, and there are "
            f"{frauds}{apart}, in {known.rests_on}; lower medium_recall or confidence, or leave it out for "
            "medium_per_1000"
        )
    found, independent = int((score[fraud] >= threshold).sum()), max(1, int(frauds / effect))
    return threshold, _promise("recall", recall, confidence, found / frauds, independent, known)


def _precise(known: Labelled, score: Array, precision: float, confidence: float) -> tuple[float, dict[str, Any]]:
    """The threshold that promises a precision, and the promise."""
    threshold = precision_threshold(known.label, score, precision, confidence)
    if threshold is None:
        needed = frauds_needed(precision, 1 - (1 - confidence) / len(ALERTS_PER_1000))
        raise UserError(
            f"high_precision={precision} with confidence={confidence} cannot be shown on {known.rests_on}, which have "
            f"{int(np.sum(known.label))} frauds: the {needed} highest scores would have to be frauds without a genuine "
            "row among them, or more of them with some; lower high_precision, or leave it out for high_per_1000"
        )
    alerted = score >= threshold
    shown, alerts = float(np.mean(np.asarray(known.label)[alerted] == 1)), int(alerted.sum())
    return threshold, _promise("precision", precision, confidence, shown, alerts, known)


def _promise(of: str, target: float, confidence: float, shown: float, trials: int, known: Labelled) -> dict[str, Any]:
    low, high = share_between(round(shown * trials), trials, 2 * confidence - 1)
    bounds = {"shown": shown, "low": max(low, target), "high": high}
    words = {"rests_on": known.rests_on, "assumes": known.assumes}
    return {"of": of, "target": target, "confidence": confidence, **bounds, **words}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _rests_on(validation: int, recent: Array | None, evidence: float | None) -> dict[str, str]:
    own = f"this model's scores of {validation:,} validation rows"
    first = carried = own
    if recent is not None:
        own = f"this model's scores of {len(recent):,} rows before its test that it has not learnt from"
        first = f"{validation:,} validation rows and their scores by the model that was fitted before them"
        carried = f"{first}, carried over by rank to {own}"
        first += ", at the same budgets"
    said = {"thresholds": own, "scores": own, "operating_points": first}
    if evidence is None:
        return said
    test = f"likelihood ratio {evidence:.1f}, which calibrated scores have above {_EVIDENCE:.1f} once in 1,000"
    none = "" if evidence > _EVIDENCE else "no evidence that scores need it, which are left as they are, on "
    return {**said, "calibration": f"{none}{carried} ({test})"}


def _evidence(label: Array, probability: Array, fitted: Mapping[str, float], group: Array | None) -> float:
    """How much speaks for ``fitted`` against the probabilities as they are: a likelihood ratio, corrected for groups.

    Chi-square of 2 degrees of freedom where they are calibrated and groups are independent (Rao, Scott 1984).
    """
    fraud = np.asarray(label) == 1
    odds = log_odds(probability)
    inputs = np.stack([odds, np.ones_like(odds)])
    after = np.array([fitted["slope"], fitted["intercept"]]) @ inputs
    ratio = 2 * float((np.logaddexp(0, odds) - np.logaddexp(0, after) - fraud * (odds - after)).sum())
    p = sigmoid(after)
    parts = inputs * (fraud - p)
    if group is not None:
        parts = np.stack([np.bincount(group, part) for part in parts])
    of_rows = (inputs * (p * (1 - p))) @ inputs.T
    design_effect = float(np.trace(np.linalg.pinv(of_rows) @ (parts @ parts.T))) / 2
    return ratio / max(design_effect, 1.0)


def _calibrated(fitted: Mapping[str, float] | None, probability: Array) -> NDArray[np.float64]:
    probability = np.asarray(probability, np.float64)
    if fitted is None:
        return probability
    return sigmoid(fitted["slope"] * log_odds(probability) + fitted["intercept"])


def _platt(label: Array, probability: Array) -> dict[str, float]:
    """Slope and intercept of most likelihood, by Newton's method.

    A whole step diverges where scores all but separate the classes, so it is halved while the loss rises (Lin, Lin and
    Weng 2007).
    """
    fraud = np.asarray(label) == 1
    frauds, genuine = int(fraud.sum()), int((~fraud).sum())
    if not frauds or not genuine:
        raise UserError("calibration=platt needs frauds and genuine rows in the validation split; use calibration=none")
    target = np.where(fraud, (frauds + 1) / (frauds + 2), 1 / (genuine + 2))
    odds = log_odds(probability)
    inputs = np.stack([odds, np.ones_like(odds)])
    weights = np.array([0.0, math.log((frauds + 1) / (genuine + 1))])

    def loss(weights: Array) -> float:
        z = weights @ inputs
        return float((np.logaddexp(0, z) - target * z).sum())

    for _ in range(_ROUNDS):
        p = sigmoid(weights @ inputs)
        curvature = (inputs * (p * (1 - p))) @ inputs.T + 1e-9 * np.eye(2)
        step = np.linalg.solve(curvature, inputs @ (p - target))
        while np.abs(step).max() >= _STILL and loss(weights - step) > loss(weights):
            step /= 2
        weights = weights - step
        if np.abs(step).max() < _STILL:
            break
    else:
        raise UserError("calibration=platt: no curve fits the validation scores; use calibration=none")
    if weights[0] <= 0:
        raise UserError("calibration=platt: scores do not rise with fraud on validation; use calibration=none")
    return {"slope": float(weights[0]), "intercept": float(weights[1])}
