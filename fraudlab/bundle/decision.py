"""From a score to what is done about it: calibration, risk levels that keep a promise, a table of operating points."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fraudlab.bundle.money import Money
from fraudlab.errors import UserError
from fraudlab.metrics import calibration_maps
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

ALIKE = (
    "later frauds and their share are as in these rows, each card's or terminal's apart from the others', large bursts "
    "found about as often as small ones"
)
_ALERTS_HOLD = 0.99  # confidence of the alerts that are told: a few weeks say little of how weeks vary


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
        calibration: the map from the model's probability to the score, as :mod:`fraudlab.metrics.calibration_maps` has
            it; None to take the probability as it is.
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
        calibrations: where maps were compared, the cross-fitted log loss of each, and of scores as they
            are (``none``); of a map that cannot be fitted why, in words.
        money: what decides by amounts which transactions are ``low``; ``high`` are those of the others with a score
            from its threshold on. ``thresholds`` alone decide where it is None, or an amount is not known.
    """

    calibration: Mapping[str, Any] | None
    thresholds: Mapping[str, float]
    budget: Mapping[str, float]
    operating_points: Sequence[Mapping[str, float | None]]
    rests_on: Mapping[str, str] = field(default_factory=dict)
    alerts: Mapping[str, Sequence[float]] = field(default_factory=dict)
    guarantees: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    calibrations: Mapping[str, float | str] = field(default_factory=dict)
    money: Money | None = None

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
        calibration: str = "none",
        recall: float | None = None,
        precision: float | None = None,
        confidence: float = 0.95,
        known: Labelled | None = None,
        recent_day: Array | None = None,
        unit: Array | None = None,
        money: Money | None = None,
        amount: Array | None = None,
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
            calibration: ``none``; ``platt``, used where the validation gives evidence that the scores need it, since
                else it would follow one week's bursts; ``beta``, ``isotonic`` or, of these three, the ``best``, used
                where its cross-fitted log loss is lower than that of the scores as they are.
            recall: share of the frauds that the levels from ``medium`` on promise to find, in place of its budget.
            precision: share of frauds among the alerts that level ``high`` promises, in place of its budget.
            confidence: of both promises.
            known: rows that they rest on; None for the validation's, which only the model that scored them can promise
                by: how large the share of fraud is in ``recent``, nobody knows.
            recent_day: number of the day of each row of ``recent``, or of the validation where there are none, by which
                the alerts of the next week are predicted; None where not known.
            unit: number of each row's card, terminal or day, [N], by which maps are cross-fitted; None for ``group``.
            money: what decides by amounts, in place of the budget ``medium``, which becomes the alerts that it makes;
                where those are fewer than ``high``, so does that.
            amount: of the rows that thresholds rest on, NaN where not known; for ``money``.

        Raises:
            UserError: the labelled rows are too few for a promise; ``money`` makes no alert, or knows no amount; or
                to calibrate there are not both frauds and genuine rows, scores that rise with fraud, and a curve that
                fits them.
        """
        served = probability if recent is None else recent
        fitted, losses, said = _calibration(calibration, label, probability, recent, group, unit)
        ranking, shown = Ranking(label, probability), calibration_maps.applied(fitted, served)
        of_served = Ranking(np.zeros(len(served)), shown)
        if money is not None:
            assert amount is not None
            medium = money.alerts_per_1000(shown, amount)
            high = min(high, medium)
        budget = {"medium": medium, "high": high}
        thresholds = {level: threshold_for_budget(of_served, alerts) for level, alerts in budget.items()}
        guarantees: dict[str, dict[str, Any]] = {}
        if recall is not None or precision is not None:
            known = known or _validated(label, probability, recent, group)
            score = calibration_maps.applied(fitted, known.probability)
            if precision is not None:
                thresholds["high"], guarantees["high"] = _precise(known, score, precision, confidence)
            if recall is not None:
                thresholds["medium"], guarantees["medium"] = _finding(known, score, recall, confidence)
            thresholds["medium"] = min(thresholds.values())  # lower: it only finds more
        budget |= {level: 1000 * float((shown >= thresholds[level]).mean()) for level in guarantees}
        budget["medium"] = max(budget.values())
        alerted = {level: shown >= at for level, at in thresholds.items()}
        if money is not None:
            worth = money.worth(shown, np.asarray(amount))
            alerted = {"medium": worth, "high": worth & alerted["high"]}
        alerts_of = {level: [*alerts_between(made, recent_day, _ALERTS_HOLD)] for level, made in alerted.items()}
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
        rests_on = _rests_on(len(label), recent, said)
        return cls(fitted, thresholds, budget, by_threshold, rests_on, alerts_of, guarantees, losses, money)

    def calibrate(self, probability: Array) -> NDArray[np.float64]:
        """Scores in [0, 1] of the network's probabilities."""
        return calibration_maps.applied(self.calibration, probability)

    def level(self, score: float) -> Level:
        """The risk level of a calibrated score by the thresholds."""
        if score >= self.thresholds["high"]:
            return "high"
        return "medium" if score >= self.thresholds["medium"] else "low"

    def levels(self, score: Array, amount: Array | None = None) -> NDArray[np.str_]:
        """The risk levels of calibrated scores [N], with ``money`` by their amounts [N], NaN where not known."""
        at = np.where(score >= self.thresholds["high"], 2, np.where(score >= self.thresholds["medium"], 1, 0))
        if self.money is not None and amount is not None:
            worth = np.where(self.money.worth(score, amount), np.maximum(at, 1), 0)
            at = np.where(self.money.decides(amount), worth, at)
        return np.array(["low", "medium", "high"])[at]

    def to_dict(self) -> dict[str, Any]:
        """Plain data (for JSON) that :meth:`from_dict` reads back."""
        plain = asdict(self)
        if self.money is None:
            del plain["money"]  # which bundle format 8 does not know
        return plain

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> "Decision":
        """What :meth:`to_dict` gave.

        Raises:
            ValueError: thresholds, budget or calibration are no finite numbers, ``high`` begins below ``medium``, or
                the calibration does not rise.
        """
        money = plain.get("money")
        made = cls(**{**plain, "money": None if money is None else Money(**money)})
        for name, values in (("thresholds", made.thresholds), ("budget", made.budget)):
            if set(values) != {"medium", "high"} or not all(map(_is_number, values.values())):
                raise ValueError(f"{name} {values} must be two numbers, medium and high")
        if made.thresholds["high"] < made.thresholds["medium"]:
            raise ValueError(f"thresholds {made.thresholds} have high below medium")
        calibration_maps.check(made.calibration)
        if not all(isinstance(loss, str) or _is_number(loss) for loss in made.calibrations.values()):
            raise ValueError(f"calibrations {made.calibrations} must be log losses")
        if not all(_is_number(point["threshold"]) for point in made.operating_points):
            raise ValueError("an operating point has no threshold")
        if not all(len(span) == 2 and all(map(_is_number, span)) for span in made.alerts.values()):
            raise ValueError(f"alerts {made.alerts} must be two numbers per level")
        for promise in made.guarantees.values():
            if not all(_is_number(promise[name]) for name in ("target", "confidence", "shown", "low", "high")):
                raise ValueError(f"guarantee {promise} lacks a number")
        return made


def _validated(label: Array, probability: Array, recent: Array | None, group: Array | None) -> Labelled:
    """The validation, of the model that scored it."""
    if recent is not None:
        raise UserError(
            "medium_recall and high_precision cannot be promised: the tested model is not the one that validation "
            "scored, and it has no scores of labelled rows before its training. Train with split=time_windows and "
            "split.recent_windows, or with refit=false, or leave them out for medium_per_1000 and high_per_1000"
        )
    return Labelled(
        label,
        probability,
        group,
        f"this model's scores of {len(label):,} validation rows",
        f"{ALIKE}, and epochs, settings or weights that were chosen by these rows are as good on later ones",
    )


def _finding(known: Labelled, score: Array, recall: float, confidence: float) -> tuple[float, dict[str, Any]]:
    """The threshold that promises a recall, and the promise."""
    fraud = np.asarray(known.label) == 1
    frauds = int(fraud.sum())
    group = np.arange(len(fraud)) if known.group is None else known.group
    threshold, effect = None, 1.0
    if frauds:
        threshold, effect = recall_threshold_of_bursts(score[fraud], group[fraud], recall, confidence)
    if threshold is None:
        needed, groups = frauds_needed(recall, confidence), len(np.unique(group[fraud]))
        asked = f"needs {needed} frauds; there are {frauds}"
        if groups < frauds:
            asked = (
                f"needs {needed} independent frauds; {frauds} of {groups} cards or terminals count as "
                f"{int(frauds / effect)}"
            )
        raise UserError(
            f"medium_recall={recall} with confidence={confidence} {asked}, in {known.rests_on}; lower medium_recall or "
            "confidence, or leave it out for medium_per_1000"
        )
    found, independent = int((score[fraud] >= threshold).sum()), max(1, int(frauds / effect))
    return threshold, _promise("recall", recall, confidence, found / frauds, independent, known)


def _precise(known: Labelled, score: Array, precision: float, confidence: float) -> tuple[float, dict[str, Any]]:
    """The threshold that promises a precision, and the promise."""
    found = precision_threshold(known.label, score, precision, confidence, known.group)
    if found is None:
        apart = "" if known.group is None else ", each from another card or terminal"
        needed = frauds_needed(precision, 1 - (1 - confidence) / len(ALERTS_PER_1000))
        raise UserError(
            f"high_precision={precision} with confidence={confidence} cannot be shown on {known.rests_on}, which have "
            f"{int(np.sum(known.label))} frauds: the {needed} highest scores would have to be frauds without a genuine "
            f"row among them{apart}, or more of them with a few genuine rows; lower high_precision, or "
            "leave it out for high_per_1000"
        )
    threshold, effect = found
    alerted = score >= threshold
    shown, independent = float(np.mean(np.asarray(known.label)[alerted] == 1)), int(alerted.sum() / effect)
    return threshold, _promise("precision", precision, confidence, shown, independent, known)


def _promise(of: str, target: float, confidence: float, shown: float, trials: int, known: Labelled) -> dict[str, Any]:
    low, high = share_between(round(shown * trials), trials, 2 * confidence - 1)
    bounds = {"shown": shown, "low": max(low, target), "high": high}
    words = {"rests_on": known.rests_on, "assumes": known.assumes}
    return {"of": of, "target": target, "confidence": confidence, **bounds, **words}


def _rests_on(validation: int, recent: Array | None, calibration: str | None) -> dict[str, str]:
    own = f"this model's scores of {validation:,} validation rows"
    first = carried = own
    if recent is not None:
        own = f"this model's scores of {len(recent):,} rows before its test that it has not learnt from"
        first = f"{validation:,} validation rows and their scores by the model that was fitted before them"
        carried = f"{first}, carried over by rank to {own}"
        first += ", at the same budgets"
    said = {"thresholds": own, "scores": own, "operating_points": first}
    return said if calibration is None else {**said, "calibration": calibration.format(on=carried)}


def _calibration(
    asked: str, label: Array, probability: Array, recent: Array | None, group: Array | None, unit: Array | None
) -> tuple[dict[str, Any] | None, dict[str, float | str], str | None]:
    """The map, what :func:`.calibration_maps.choose` tells of others, and in words what the choice rests on."""
    if asked == "none":
        return None, {}, None
    scale = probability if recent is None else carried_over(probability, recent)
    spread = 1 if recent is None else 2  # the rows carried over to vary as much as the validation's
    if asked == "platt":
        fitted = calibration_maps.fit("platt", label, scale)
        found = calibration_maps.evidence(label, scale, fitted, group) / spread
        enough = found > calibration_maps.EVIDENCE
        none = "" if enough else "no evidence that scores need it, which are left as they are, on "
        test = f"which calibrated scores have above {calibration_maps.EVIDENCE:.1f} once in 1,000"
        return fitted if enough else None, {}, f"{none}{{on}} (likelihood ratio {found:.1f}, {test})"
    kinds = calibration_maps.KINDS if asked == "best" else (asked,)
    chosen, losses = calibration_maps.choose(kinds, label, scale, group if unit is None else unit, spread)
    kept = "scores are left as they are" if chosen is None else chosen["map"]
    rule = f"{kept}: the simplest within one standard error of the least log loss, cross-fitted in"
    return chosen, losses, f"{rule} {calibration_maps.FOLDS} folds of {{on}}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
