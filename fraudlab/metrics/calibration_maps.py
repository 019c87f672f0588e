"""Maps from a model's scores to probabilities of fraud: fitted to labels, kept as plain numbers, applied with NumPy.

A map takes log-odds to log-odds and rises strictly, so that it keeps the order of scores:

- ``{"map": "platt", "slope", "intercept"}``: a line (Platt 1999);
- ``{"map": "beta", "a", "b", "c"}``: ``a ln(s) - b ln(1 - s) + c`` of a score s, with a and b of 0 or more (Kull, Silva
  Filho and Flach 2017);
- ``{"map": "isotonic", "log_odds", "calibrated"}``: straight lines between knots, one for each pool of isotonic
  regression, at its mean log-odds (Oron and Flournoy 2017), and parallel to the diagonal beyond them;
- None: scores as they are.

All are fitted to Platt's smoothed targets, (frauds + 1) / (frauds + 2) for a fraud and 1 / (genuine + 2) for a genuine
row, so that no score becomes 0 or 1 because a few rows were of one class.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fraudlab.errors import UserError
from fraudlab.metrics.calibration import log_odds, sigmoid

Array = NDArray[Any]
Map = Mapping[str, Any]

KINDS = ("platt", "beta", "isotonic")
"""Simplest first."""
ISOTONIC_FRAUDS = 200  # fewer would be followed one by one
FOLDS = 5
EVIDENCE = -2 * math.log(0.001)  # chi-square of 2 degrees of freedom that calibrated scores exceed once in 1,000

_ROUNDS = 100  # of Newton's method; a handful is enough where the curve can be fitted at all
_STILL = 1e-10  # a step that changes no score
_NUMBERS = {"platt": {"slope", "intercept"}, "beta": {"a", "b", "c"}, "isotonic": {"log_odds", "calibrated"}}
_NEAR = 1e-9  # log-odds so near each other that their difference is mostly rounding
_MOST = float(-log_odds(np.array(0.0)))
_EPS = float(np.finfo(np.float64).eps)


def mapped(fitted: Map | None, odds: Array) -> NDArray[np.float64]:
    """Calibrated log-odds of log-odds; beyond those of 1e-7 and 1 - 1e-7 as at these, where there is a map."""
    if fitted is None:
        return np.asarray(odds, np.float64)
    odds = np.clip(np.asarray(odds, np.float64), -_MOST, _MOST)
    if fitted["map"] == "platt":
        return np.asarray(fitted["slope"] * odds + fitted["intercept"], np.float64)
    if fitted["map"] == "beta":
        log_score, log_rest = -np.logaddexp(0, -odds), -np.logaddexp(0, odds)
        return np.asarray(fitted["a"] * log_score - fitted["b"] * log_rest + fitted["c"], np.float64)
    knots, values = fitted["log_odds"], fitted["calibrated"]
    beyond = odds - np.clip(odds, knots[0], knots[-1])
    return np.asarray(np.interp(odds, knots, values) + beyond, np.float64)


def rise(fitted: Map | None, base: float, odds: NDArray[np.float64]) -> NDArray[np.float64]:
    """By how much calibrated log-odds rise for each unit of log-odds between ``base`` and ``odds`` ``[N]``, ``[N]``."""
    if fitted is None:
        return np.ones(len(odds))
    apart = odds - base
    near = np.abs(apart) < _NEAR  # where the quotient would be of rounding: that of a wider span around the base
    start, end = np.where(near, base - _NEAR, base), np.where(near, base + _NEAR, odds)
    return (mapped(fitted, end) - mapped(fitted, start)) / (end - start)


def applied(fitted: Map | None, probability: Array) -> NDArray[np.float64]:
    """Calibrated probabilities of a model's."""
    probability = np.asarray(probability, np.float64)
    return probability if fitted is None else sigmoid(mapped(fitted, log_odds(probability)))


def check(fitted: Map | None) -> None:
    """Whether a map that was read from a file is one.

    Raises:
        ValueError: it has other keys or numbers that are not finite, or it does not rise.
    """
    if fitted is None:
        return
    kind, rest = fitted["map"], {name: value for name, value in fitted.items() if name != "map"}
    if kind not in _NUMBERS or set(rest) != _NUMBERS[kind]:
        raise ValueError(f"calibration {fitted} is none of {', '.join(_NUMBERS)}")
    values = [np.asarray(value) for value in rest.values()]
    knots = len(rest["log_odds"]) if kind == "isotonic" else 0
    shape = (knots,) if kind == "isotonic" else ()
    if any(value.shape != shape or value.dtype.kind not in "if" or not np.isfinite(value).all() for value in values):
        raise ValueError(f"calibration has {' and '.join(rest)} that are no finite numbers, or not equally many")
    if kind == "platt":
        rises = rest["slope"] > 0
    elif kind == "beta":
        rises = min(rest["a"], rest["b"]) >= 0 and max(rest["a"], rest["b"]) > 0
    else:
        rises = knots > 1 and all((np.diff(value) > 0).all() for value in values)
    if not rises:
        raise ValueError(f"calibration {kind} does not rise with the score: {' or '.join(rest)}")


def fit(kind: str, label: Array, probability: Array) -> dict[str, Any]:
    """The map of a kind (``platt``, ``beta``, ``isotonic``) that fits best.

    Args:
        kind: which.
        label: 0 or 1, ``[N]``.
        probability: of fraud by the model, ``[N]``, in [0, 1].

    Raises:
        UserError: there are not both frauds and genuine rows, scores that rise with fraud, and a curve that fits them.
    """
    fraud = np.asarray(label) == 1
    frauds, genuine = int(fraud.sum()), int((~fraud).sum())
    if not frauds or not genuine:
        raise UserError(
            f"calibration={kind} needs frauds and genuine rows in the validation split; use calibration=none"
        )
    target = np.where(fraud, (frauds + 1) / (frauds + 2), 1 / (genuine + 2))
    found = {"platt": _platt, "beta": _beta, "isotonic": _isotonic}[kind](target, log_odds(probability))
    if found is None:
        raise UserError(f"calibration={kind}: scores do not rise with fraud on validation; use calibration=none")
    return {"map": kind, **found}


def choose(
    kinds: Sequence[str], label: Array, probability: Array, unit: Array | None, spread: float = 1.0
) -> tuple[dict[str, Any] | None, dict[str, float | str]]:
    """The map that scores need, by the log loss of rows that it was not fitted to.

    Rows are dealt into 5 folds, those of one unit into one fold; each fold is scored by maps that are fitted to the
    others. Of the maps whose loss is within one standard error of the lowest, over units, the first is chosen (the
    one-standard-error rule: Hastie, Tibshirani and Friedman 2009, section 7.10).

    Args:
        kinds: maps, simplest first; scores as they are (``none``) come before them.
        label: 0 or 1, ``[N]``.
        probability: of fraud by the model, ``[N]``.
        unit: number of each row's card, terminal or day, from 0 on, ``[N]``; None where rows are independent.
        spread: of the variance of a difference of losses, where probabilities were estimated, too.

    Returns:
        The map, fitted to all rows, and of each kind the mean log loss, or in words why it cannot be fitted.

    Raises:
        UserError: the only kind cannot be fitted, or all frauds are of one unit.
    """
    fraud = np.asarray(label) == 1
    unit = np.arange(len(fraud)) if unit is None else unit
    if len(np.unique(unit[fraud])) < 2:
        raise UserError(
            f"calibration={kinds[0] if len(kinds) == 1 else 'best'} needs frauds of at least two cards, terminals or "
            "days in the validation split; use calibration=none"
        )
    fold = _folds(fraud, unit)
    losses, said, fitted = {"none": _losses(fraud, np.asarray(probability, np.float64))}, dict[str, float | str](), {}
    for kind in kinds:
        try:
            if kind == "isotonic" and (frauds := int(fraud.sum())) < ISOTONIC_FRAUDS:
                needs = f"needs {ISOTONIC_FRAUDS} frauds in the validation split, which has {frauds}"
                raise UserError(f"calibration=isotonic {needs}; use calibration=beta")
            fitted[kind] = fit(kind, label, probability)
            losses[kind] = _losses(fraud, _held_out(kind, fraud, probability, fold))
        except UserError as error:
            if len(kinds) == 1:
                raise
            said[kind] = str(error)
    means = {kind: float(loss.mean()) for kind, loss in losses.items()}
    best = losses[min(means, key=lambda kind: means[kind])]
    chosen = next(kind for kind, loss in losses.items() if _as_good(loss - best, unit, spread))
    return fitted.get(chosen), {**means, **said}


def evidence(label: Array, probability: Array, fitted: Map, group: Array | None) -> float:
    """How much speaks for a map ``platt`` against the probabilities as they are: a likelihood ratio.

    It is corrected for groups: chi-square of 2 degrees of freedom where the probabilities are calibrated and groups are
    independent (Rao, Scott 1984).
    """
    fraud = np.asarray(label) == 1
    odds = log_odds(probability)
    inputs = np.stack([odds, np.ones_like(odds)])
    after = mapped(fitted, odds)
    ratio = 2 * float((np.logaddexp(0, odds) - np.logaddexp(0, after) - fraud * (odds - after)).sum())
    p = sigmoid(after)
    parts = inputs * (fraud - p)
    if group is not None:
        parts = np.stack([np.bincount(group, part) for part in parts])
    of_rows = (inputs * (p * (1 - p))) @ inputs.T
    design_effect = float(np.trace(np.linalg.pinv(of_rows) @ (parts @ parts.T))) / 2
    return ratio / max(design_effect, 1.0)


def _folds(fraud: Array, unit: Array) -> NDArray[np.int64]:
    """The fold of each row: units are dealt by falling number of frauds, then of rows."""
    order = np.lexsort((-np.bincount(unit), -np.bincount(unit, fraud)))
    fold = np.empty(len(order), np.int64)
    fold[order] = np.arange(len(order)) % FOLDS
    return fold[unit]


def _held_out(kind: str, fraud: Array, probability: Array, fold: Array) -> NDArray[np.float64]:
    """Each row's calibrated probability by the map that is fitted to the other folds."""
    found = np.empty(len(fraud))
    for each in np.unique(fold):
        out = fold == each
        found[out] = applied(fit(kind, fraud[~out], probability[~out]), probability[out])
    return found


def _losses(fraud: Array, probability: NDArray[np.float64]) -> NDArray[np.float64]:
    return -np.log(np.clip(np.where(fraud, probability, 1 - probability), _EPS, 1 - _EPS))


def _as_good(more: NDArray[np.float64], unit: Array, spread: float) -> bool:
    """Whether losses that are ``more`` in sum are so by one standard error at most."""
    of_units = np.bincount(unit, more)
    variance = spread * len(of_units) * float(np.var(of_units, ddof=1)) if len(of_units) > 1 else 0.0
    return float(more.sum()) <= math.sqrt(variance)


def _platt(target: Array, odds: Array) -> dict[str, Any] | None:
    slope, intercept = _likeliest("platt", np.stack([odds, np.ones_like(odds)]), target)
    return {"slope": float(slope), "intercept": float(intercept)} if slope > 0 else None


def _beta(target: Array, odds: Array) -> dict[str, Any] | None:
    """The most likely curve that falls nowhere: of both terms, or the likelier one of those of one term."""
    terms = np.stack([-np.logaddexp(0, -odds), np.logaddexp(0, odds)])
    scale = np.maximum(terms.std(axis=1), _EPS)  # Newton's steps are then of one size
    terms = terms / scale[:, None]
    for choices in ([[0, 1]], [[0], [1]]):
        found = []
        for kept in choices:
            weights = _likeliest("beta", np.stack([*terms[kept], np.ones_like(odds)]), target)
            if (weights[:-1] >= 0).all() and (weights[:-1] > 0).any():
                both = np.zeros(2)
                both[kept] = weights[:-1]
                z = both @ terms + weights[-1]
                found.append((float((np.logaddexp(0, z) - target * z).sum()), *(both / scale), weights[-1]))
        if found:
            return dict(zip("abc", map(float, min(found)[1:]), strict=True))
    return None


def _isotonic(target: Array, odds: Array) -> dict[str, Any] | None:
    """Knots at the pools of adjacent violators (Ayer et al. 1955), each at its mean log-odds."""
    at, group, rows = np.unique(odds, return_inverse=True, return_counts=True)
    low = target.min()  # sums of 0s and 1s are exact, so that equal shares are equal
    sums = [np.bincount(group, target > low).astype(np.float64), rows.astype(np.float64), at * rows]
    while True:
        share = sums[0] / sums[1]
        begins = np.flatnonzero(np.append(True, share[1:] > share[:-1]))
        if len(begins) == len(share):
            break
        sums = [np.add.reduceat(each, begins) for each in sums]
    knots, values = sums[2] / sums[1], low + (target.max() - low) * share
    values = np.log(values / (1 - values))
    while len(knots) > 1:  # rounding may leave two pools at one place
        kept = np.append(True, (np.diff(knots) > 0) & (np.diff(values) > 0))
        if kept.all():
            return {"log_odds": knots.tolist(), "calibrated": values.tolist()}
        knots, values = knots[kept], values[kept]
    return None


def _likeliest(kind: str, inputs: Array, target: Array) -> NDArray[np.float64]:
    """Weights ``[K]`` of inputs ``[K, N]``, the last of which is 1, of most likelihood, by Newton's method.

    A whole step diverges where scores all but separate the classes, so it is halved while the loss rises (Lin, Lin and
    Weng 2007).
    """

    def loss(weights: Array) -> float:
        z = weights @ inputs
        return float((np.logaddexp(0, z) - target * z).sum())

    weights = np.zeros(len(inputs))
    weights[-1] = math.log(target.mean() / (1 - target.mean()))
    for _ in range(_ROUNDS):
        p = sigmoid(weights @ inputs)
        curvature = (inputs * (p * (1 - p))) @ inputs.T + 1e-9 * np.eye(len(inputs))
        step = np.linalg.solve(curvature, inputs @ (p - target))
        while np.abs(step).max() >= _STILL and loss(weights - step) > loss(weights):
            step /= 2
        weights = weights - step
        if np.abs(step).max() < _STILL:
            return weights
    raise UserError(f"calibration={kind}: no curve fits the validation scores; use calibration=none")
