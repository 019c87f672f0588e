"""The stability index: 0 for one distribution, the value of its definition where the shares are known."""

import numpy as np
import pytest

from fraudlab.metrics.drift import category_stability_index, population_stability_index


def test_of_known_shares() -> None:
    before, now = np.repeat([0, 1], [50, 50]), np.repeat([0, 1], [80, 20])
    expected = 0.3 * np.log(0.8 / 0.5) - 0.3 * np.log(0.2 / 0.5)
    assert category_stability_index(before, now) == pytest.approx(expected)
    assert population_stability_index(before * 1.0, now * 1.0, bins=2) == pytest.approx(expected)


def test_of_one_distribution_and_of_a_shifted_one() -> None:
    draw = np.random.default_rng(0)
    before, same, moved = draw.normal(size=20_000), draw.normal(size=20_000), draw.normal(1.0, size=20_000)
    assert population_stability_index(before, same) < 0.005
    # Twice the Kullback-Leibler divergence of two unit normals a deviation apart is 1; deciles lose a little of it.
    assert population_stability_index(before, moved) == pytest.approx(0.95, abs=0.05)


def test_a_new_category_and_a_constant_column() -> None:
    assert category_stability_index(np.zeros(100, int), np.full(100, 7)) > 1
    assert population_stability_index(np.ones(10), np.ones(5)) == 0
