"""Google Cloud and its storage, on loopback, and bundles to deploy."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Command
from tests.support.google_cloud import GoogleCloud
from tests.support.server import KEY
from tests.support.storage import emulated_bucket

BUNDLES = Path(__file__).parents[1] / "compat" / "fixtures" / "format_1"


@pytest.fixture
def google() -> Iterator[GoogleCloud]:
    """A cloud that refuses what Google's description of its interfaces does not have."""
    with GoogleCloud() as cloud:
        cloud.keys = f"page:read:{'p' * 32}\nops:score,read:{KEY}\n"
        yield cloud
    assert cloud.faults == []


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The bucket ``shop`` of an emulated Google Cloud Storage."""
    with emulated_bucket("shop", monkeypatch, "shop") as bucket:
        yield bucket


@pytest.fixture
def environment(google: GoogleCloud, tmp_path: Path) -> dict[str, str]:
    """Of a command that is to find both."""
    return {"XDG_CACHE_HOME": str(tmp_path / "cache"), **google.environment(tmp_path)}


@pytest.fixture
def cloud(command: Command, environment: dict[str, str], tmp_path: Path) -> Callable[..., Any]:
    """Run ``python -m fraudlab.cloud``."""

    def run(*settings: str) -> Any:
        return command("cloud", *settings, "poll_seconds=0.01", cwd=tmp_path, env={**os.environ, **environment})

    return run
