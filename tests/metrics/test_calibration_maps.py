"""Maps are those of scipy's and scikit-learn's optimisers, rise, and are chosen by rows they did not see."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import log_loss

from fraudlab.errors import UserError
from fraudlab.metrics import calibration_maps as maps

Array = np.ndarray


def drawn(rows: int, odds_of: object = lambda odds: odds, seed: int = 0) -> tuple[Array, Array]:
    """Labels, and scores whose true log-odds are ``odds_of`` of theirs."""
    draw = np.random.default_rng(seed)
    odds = draw.normal(-3, 1.5, rows)
    label = (draw.random(rows) < 1 / (1 + np.exp(-odds_of(odds)))).astype(np.int8)  # type: ignore[operator]
    return label, 1 / (1 + np.exp(-odds))


def smoothed(label: Array) -> Array:
    """Platt's targets."""
    return np.where(label == 1, (label.sum() + 1) / (label.sum() + 2), 1 / ((label == 0).sum() + 2))


def likeliest(inputs: list[Array], target: Array, bounds: list) -> Array:
    """Weights of most likelihood within bounds, by scipy."""
    x = np.stack([*inputs, np.ones_like(target)])

    def loss(weights: Array) -> tuple[float, Array]:
        z = weights @ x
        return np.mean(np.logaddexp(0, z) - target * z), x @ (1 / (1 + np.exp(-z)) - target) / len(target)

    tight = {"ftol": 1e-15, "gtol": 1e-11, "maxiter": 10_000}
    return minimize(
        loss, np.zeros(len(x)), jac=True, method="L-BFGS-B", bounds=[*bounds, (None, None)], options=tight
    ).x


@pytest.mark.parametrize(
    ("odds_of", "zero"),
    [
        (lambda odds: 0.4 * odds + 0.5, None),
        (lambda odds: -2 - odds / 2 + 9 * np.logaddexp(0, odds), "a"),
        (lambda odds: np.where(odds < -2, odds, -2 - (odds + 2)), "b"),
    ],
)
def test_beta_is_the_most_likely_curve_that_falls_nowhere(odds_of: object, zero: str | None) -> None:
    label, score = drawn(6000, odds_of)
    found = maps.fit("beta", label, score)
    expected = likeliest([np.log(score), -np.log1p(-score)], smoothed(label), [(0, None), (0, None)])
    assert [found["a"], found["b"], found["c"]] == pytest.approx(expected, rel=2e-3, abs=2e-3)
    assert {name for name in ("a", "b") if found[name] == 0} == ({zero} if zero else set())
    p = np.exp(expected @ np.stack([np.log(score), -np.log1p(-score), np.ones_like(score)]))
    assert maps.applied(found, score) == pytest.approx(p / (1 + p), abs=1e-4)


def test_isotonic_knots_are_the_pools_of_scikit_learn() -> None:
    label, score = drawn(4000, lambda odds: np.floor(odds))
    score = np.round(score, 4)  # with equal ones
    found = maps.fit("isotonic", label, score)
    pools = IsotonicRegression().fit_transform(score, smoothed(label))
    values, of = np.unique(pools.round(12), return_inverse=True)
    assert 1 / (1 + np.exp(-np.array(found["calibrated"]))) == pytest.approx(values, abs=1e-9)
    odds = np.log(np.clip(score, 1e-7, 1) / (1 - score))
    assert found["log_odds"] == pytest.approx(np.bincount(of, odds) / np.bincount(of), abs=1e-9)
    middle = 1 / (1 + np.exp(-np.array(found["log_odds"])))
    assert maps.applied(found, middle) == pytest.approx(values, abs=1e-9)


@settings(max_examples=40)
@given(
    kind=st.sampled_from(maps.KINDS), seed=st.integers(0, 10_000), rows=st.integers(4, 300), power=st.floats(0.2, 30)
)
def test_every_map_rises_and_stays_finite(kind: str, seed: int, rows: int, power: float) -> None:
    """Also where classes are separated, scores are 0 or 1, or nearly all alike; else it is refused in words."""
    draw = np.random.default_rng(seed)
    label = (draw.random(rows) < 0.2).astype(np.int8)
    score = np.clip(draw.random(rows) ** power + draw.choice([0.0, 0.3, 1.0]) * label, 0, 1).astype(np.float32)
    try:
        found = maps.fit(kind, label, score)
    except UserError:  # what it says: below
        return
    maps.check(found)
    assert json.loads(json.dumps(found)) == found
    assert np.isfinite(maps.applied(found, np.array([0.0, 1e-30, 1e-7, 0.5, 1 - 1e-7, 1.0]))).all()
    odds = np.linspace(-16, 16, 500)
    calibrated = maps.mapped(found, odds)
    assert np.isfinite(calibrated).all()
    assert (np.diff(calibrated) >= 0).all()
    assert kind == "beta" or (np.diff(calibrated) > 0).all()  # of beta's terms, one is flat at an end
    for base in (*odds[::100], 40.0):
        scale = maps.rise(found, base, odds)
        assert np.isfinite(scale).all()
        ends = maps.mapped(found, np.array(base)) + scale * (odds - base)
        assert ends == pytest.approx(calibrated, abs=1e-6)


def test_losses_are_of_rows_that_the_map_was_not_fitted_to() -> None:
    """Of folds that are dealt by hand, with scipy's optimum."""
    label, score = drawn(3000, lambda odds: 0.5 * odds)
    unit = np.random.default_rng(1).integers(0, 60, 3000)
    chosen, told = maps.choose(("platt",), label, score, unit)
    by_frauds = sorted(range(60), key=lambda u: (-label[unit == u].sum(), -(unit == u).sum(), u))
    odds, held_out = np.log(score / (1 - score)), np.empty(3000)
    for fold in range(5):
        out = np.isin(unit, by_frauds[fold::5])
        weights = likeliest([odds[~out]], smoothed(label[~out]), [(None, None)])
        held_out[out] = 1 / (1 + np.exp(-(weights[0] * odds[out] + weights[1])))
    assert told == pytest.approx({"none": log_loss(label, score), "platt": log_loss(label, held_out)}, abs=1e-7)
    assert chosen == maps.fit("platt", label, score)


@pytest.mark.parametrize(
    ("odds_of", "chosen"),
    [
        (lambda odds: odds, "none"),
        (lambda odds: 0.5 * odds + 1, "platt"),
        (lambda odds: -3 + 60 / (1 + np.exp(-odds)), "beta"),
        (lambda odds: np.where(odds < -2, -6.0, 0.0), "isotonic"),
    ],
)
def test_the_simplest_map_that_is_as_good_is_chosen(odds_of: object, chosen: str) -> None:
    label, score = drawn(20_000, odds_of)
    found, told = maps.choose(maps.KINDS, label, score, None)
    assert (found or {"map": "none"})["map"] == chosen
    fresh_label, fresh = drawn(20_000, odds_of, seed=1)
    assert log_loss(fresh_label, maps.applied(found, fresh)) == pytest.approx(told[chosen], rel=0.1)
    assert maps.choose(maps.KINDS, label, score, None) == (found, told)


def test_bursts_on_few_terminals_choose_no_map() -> None:
    """Row by row, the labels of a burst would say that its scores are too low; terminal by terminal they do not."""
    draw = np.random.default_rng(8)
    terminal = np.repeat(np.arange(60), 200)
    odds = draw.normal(-3, 1, 60)[terminal] + draw.normal(size=12_000) / 4
    label = (draw.random(60) < 1 / (1 + np.exp(-odds.reshape(60, 200).mean(axis=1))))[terminal].astype(np.int8)
    score = 1 / (1 + np.exp(-odds))
    assert maps.choose(maps.KINDS, label, score, terminal)[0] is None
    assert maps.choose(maps.KINDS, label, score, None)[0] is not None


def test_what_cannot_be_fitted_is_said() -> None:
    label, score = drawn(1500)
    _, told = maps.choose(maps.KINDS, label, score, None)
    assert f"needs 200 frauds in the validation split, which has {label.sum()}" in str(told["isotonic"])
    with pytest.raises(UserError, match="needs 200 frauds"):
        maps.choose(("isotonic",), label, score, None)
    _, told = maps.choose(maps.KINDS, label, 1 - score, None)
    assert "scores do not rise with fraud" in str(told["beta"])
    assert "scores do not rise with fraud" in str(told["platt"])
    with pytest.raises(UserError, match="at least two cards, terminals or days"):
        maps.choose(maps.KINDS, label, score, np.where(label == 1, 0, 1))
