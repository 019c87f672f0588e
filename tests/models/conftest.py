"""One table for every model's tests."""

import pytest

from fraudlab.models.contract import Examples
from tests.support.estimators import draw


@pytest.fixture(scope="session")
def train() -> Examples:
    return draw(0)


@pytest.fixture(scope="session")
def validation() -> Examples:
    return draw(1)
