"""Where a history is kept, for tests that hold in every store."""

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.redis_server import RedisServer

Place = Callable[[], str]
_NUMBERS = itertools.count()


@pytest.fixture(scope="module", params=["sqlite", "redis"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Gives the address of a history that is not there yet, each time another."""
    if request.param == "sqlite":
        folder: Path = tmp_path_factory.mktemp("store")
        return lambda: str(folder / f"history_{next(_NUMBERS)}.sqlite")
    server: RedisServer = request.getfixturevalue("redis_server")
    return lambda: server.url(f"history_{next(_NUMBERS)}")
