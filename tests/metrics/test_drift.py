"""Indices by their definitions, p-values against scipy's, and a null that holds where weeks differ by themselves."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.distance import jensenshannon
from scipy.stats import chi2, false_discovery_control

from fraudlab.metrics.drift import (
    LEVEL,
    Null,
    adjusted,
    category_counts,
    jensen_shannon,
    needed,
    number_counts,
    of_change,
    roots_by_size,
    stability_index,
)


def test_of_known_shares() -> None:
    before, now = np.repeat([0, 1], [50, 50]), np.repeat([0, 1], [80, 20])
    expected = 0.3 * np.log(0.8 / 0.5) - 0.3 * np.log(0.2 / 0.5)
    assert stability_index(*category_counts(before, now)) == pytest.approx(expected)
    assert stability_index(*number_counts(before * 1.0, now * 1.0, bins=2)) == pytest.approx(expected)
    assert stability_index(np.array([4, 0, 4]), np.array([0, 0, 0])) == 0
    assert stability_index(*category_counts(np.zeros(100, int), np.full(100, 7))) > 1
    assert stability_index(*number_counts(np.ones(10), np.ones(5))) == 0


def test_of_one_distribution_and_of_a_shifted_one() -> None:
    draw = np.random.default_rng(0)
    before, same, moved = draw.normal(size=20_000), draw.normal(size=20_000), draw.normal(1.0, size=20_000)
    assert stability_index(*number_counts(before, same)) < 0.005
    # Twice the Kullback-Leibler divergence of two unit normals a deviation apart is 1; deciles lose a little of it.
    assert stability_index(*number_counts(before, moved)) == pytest.approx(0.95, abs=0.05)


def test_distance_and_adjusted_p_values_are_scipys() -> None:
    draw = np.random.default_rng(1)
    before, now = draw.integers(0, 50, (7, 9)), draw.integers(0, 50, (7, 9))
    now[:, 3] = before[:, 4] = 0
    expected = [jensenshannon(b, n, base=2) for b, n in zip(before, now, strict=True)]
    assert jensen_shannon(before, now) == pytest.approx(expected)
    p = draw.random((3, 40)) ** 2
    assert adjusted(p) == pytest.approx(false_discovery_control(p, axis=1))


def test_the_change_of_independent_rows_is_chi_square_distributed() -> None:
    index = np.linspace(0.01, 0.2, 9)
    expected = chi2.sf(index / (1 / 400 + 1 / 900), 9)
    assert of_change(np.full(9, 10), index, 400, 900) == pytest.approx(expected, rel=0.1, abs=2e-5)


def _windows(draw: np.random.Generator, count: int, size: int, columns: int, spread: float) -> NDArray:
    """Counts of windows whose shares of 12 cells differ by ``spread`` from window to window; some cells are rare."""
    odds = np.log(np.r_[np.full(9, 1.0), 0.05, 0.005, 0.0005])
    made = np.empty((count, columns, 12), np.int64)
    for window in made:
        shares = np.exp(odds + spread * draw.normal(size=(columns, 12)))
        window[:] = draw.multinomial(size, shares / shares.sum(axis=1, keepdims=True))
    return made


@pytest.mark.parametrize("spread", [0.0, 0.1])
def test_a_share_level_of_unchanged_windows_gives_an_alarm(spread: float) -> None:
    draw = np.random.default_rng(7)
    alarms = []
    for _ in range(4):
        windows = _windows(draw, 200, 250, 40, spread)
        roots = roots_by_size(windows, 250)
        null = Null.fitted(50_000, roots)
        lowest = needed(50_000, roots, 0)
        total = windows.sum(axis=0)
        for factor in (1, 8):  # larger windows are of weeks that differ as those of the reference do
            fresh = _windows(draw, 120 * factor, 250, 40, spread).reshape(120, factor, 40, 12).sum(axis=1)
            p = null.p_values(stability_index(total, fresh), 250 * factor)
            alarms.append((adjusted(p).min(axis=1) <= lowest).mean())
    # 960 windows; those of one reference share its errors, so the band is wider than a binomial one.
    assert abs(np.mean(alarms) - LEVEL) < 0.025
    moved = fresh.copy()
    moved[:, 5, 0] += moved[:, 5, 1]
    moved[:, 5, 1] = 0
    p = null.p_values(stability_index(total, moved), 2000)
    assert (adjusted(p)[:, 5] <= lowest).all()


def test_a_limit_is_the_index_that_has_its_p_value_and_a_null_is_kept_as_plain_data() -> None:
    windows = _windows(np.random.default_rng(3), 80, 100, 5, 0.05)
    windows[:, 4] = 0
    windows[:, 4, 0] = 100  # a constant column
    null = Null.fitted(8000, roots_by_size(windows, 100))
    for rows in (30, 100, 777, 100_000):
        for p in (0.4, 0.01, 1e-8):
            assert null.p_values(null.limits(p, rows), rows) == pytest.approx(np.full(5, p), rel=1e-6)
    # One row of a value that was never seen is no alarm of a column that was constant; many are.
    one, many = (np.array([1000 - count, count]) for count in (1, 100))
    before = np.array([8000, 0])
    assert null.p_values(np.repeat(stability_index(before, one), 5), 1000)[4] > 1e-4
    assert null.p_values(np.repeat(stability_index(before, many), 5), 1000)[4] < 1e-9
    again = Null.from_dict(null.rows, null.sizes.tolist(), null.windows.tolist(), null.to_dict())
    assert again.limits(0.01, 500) == pytest.approx(null.limits(0.01, 500), rel=1e-3)
    assert (null.inflation(1e6) >= null.inflation(1e3)).all()
