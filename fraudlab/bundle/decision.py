"""From a score to what is done about it: calibration, risk levels for an alert budget, a table of operating points."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fraudlab.errors import UserError
from fraudlab.metrics.operating_points import ALERTS_PER_1000, operating_point, threshold_for_budget
from fraudlab.metrics.ranking import Ranking

Level = Literal["low", "medium", "high"]
Array = NDArray[Any]

_ROUNDS = 100  # of Newton's method; a handful is enough where the curve can be fitted at all
_STILL = 1e-10  # a step that changes no score
_EDGE = 1e-7  # probabilities 0 and 1 have no finite log-odds


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
    """

    calibration: Mapping[str, float] | None
    thresholds: Mapping[str, float]
    budget: Mapping[str, float]
    operating_points: Sequence[Mapping[str, float | None]]

    @classmethod
    def from_scores(
        cls, label: Array, probability: Array, *, medium: float, high: float, calibrate: bool = False
    ) -> "Decision":
        """Choose calibration and thresholds on rows that the scored model has not learnt from.

        Args:
            label: 0 or 1, [N].
            probability: of fraud by the network, [N].
            medium: alerts per 1,000 transactions that the levels from ``medium`` on may make.
            high: alerts per 1,000 transactions that level ``high`` alone may make.
            calibrate: fit Platt scaling (Platt 1999, with his smoothed targets).

        Raises:
            UserError: to calibrate there are not both frauds and genuine rows, scores that rise with fraud, and a curve
                that fits them.
        """
        fitted = _platt(label, probability) if calibrate else None
        ranking = Ranking(label, _calibrated(fitted, probability))
        budget = {"medium": medium, "high": high}
        thresholds = {level: threshold_for_budget(ranking, alerts) for level, alerts in budget.items()}
        wanted = {threshold_for_budget(ranking, alerts) for alerts in (*ALERTS_PER_1000, *budget.values())}
        wanted &= set(ranking.threshold.tolist())  # not those that alert on nothing
        points = [operating_point(ranking, threshold) for threshold in sorted(wanted, reverse=True)]
        return cls(fitted, thresholds, budget, points)

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
        return made


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _calibrated(fitted: Mapping[str, float] | None, probability: Array) -> NDArray[np.float64]:
    probability = np.asarray(probability, np.float64)
    if fitted is None:
        return probability
    return _sigmoid(fitted["slope"] * _log_odds(probability) + fitted["intercept"])


def _log_odds(probability: NDArray[np.float64]) -> NDArray[np.float64]:
    inside = np.clip(probability, _EDGE, 1 - _EDGE)
    odds: NDArray[np.float64] = np.log(inside / (1 - inside))
    return odds


def _sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(-np.clip(x, -700, 700)))


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
    odds = _log_odds(np.asarray(probability, np.float64))
    inputs = np.stack([odds, np.ones_like(odds)])
    weights = np.array([0.0, math.log((frauds + 1) / (genuine + 1))])

    def loss(weights: Array) -> float:
        z = weights @ inputs
        return float((np.logaddexp(0, z) - target * z).sum())

    for _ in range(_ROUNDS):
        p = _sigmoid(weights @ inputs)
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
