"""A table that trees and lines can learn: one categorical column, three numeric ones, 5 % frauds."""

import numpy as np
import pytest

from fraudlab.models.contract import Examples

CARDINALITIES = [12]


def draw(seed: int, rows: int = 2000) -> Examples:
    random = np.random.default_rng(seed)
    numeric = random.normal(size=(rows, 3)).astype(np.float32)
    categorical = random.integers(2, 12, (rows, 1))
    logit = 1.5 * numeric[:, 0] + numeric[:, 1] * numeric[:, 2] + 2.0 * (categorical[:, 0] % 2) - 5
    return Examples(categorical, numeric, (random.random(rows) < 1 / (1 + np.exp(-logit))).astype(np.int64))


@pytest.fixture(scope="session")
def train() -> Examples:
    return draw(0)


@pytest.fixture(scope="session")
def validation() -> Examples:
    return draw(1)
