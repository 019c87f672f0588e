"""Google Cloud and its storage, on loopback, and bundles to deploy."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fraudlab.bundle.cloud import upload
from tests.conftest import Command
from tests.support.google_cloud import GoogleCloud
from tests.support.server import KEY
from tests.support.storage import emulated_bucket

Cloud = Callable[..., Any]
Registered = dict[str, tuple[str, ...]]
IMAGE = "image=europe-west1-docker.pkg.dev/shop/fraud/serve@sha256:" + "a" * 64
BUCKET = "bucket=gs://shop/fraud"
PARENT = "projects/shop/locations/europe-west1"
SERVICE = f"{PARENT}/services/fraud"
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


def told(done: Any) -> str:
    assert done.returncode == 0, done.stderr
    return str(done.stdout)


def refused(done: Any) -> str:
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stderr.count("error:") == 1
    assert "Traceback" not in done.stderr
    return str(done.stderr)


@pytest.fixture
def registered(bucket: Any) -> dict[str, tuple[str, ...]]:
    """What deploys each of two bundles, which lie in the bucket."""
    found = {}
    for name in ("bundle_with_masks", "bundle_without_masks"):
        address = f"gs://shop/fraud/bundles/fraud/{name}"
        upload(BUNDLES / name, address)
        found[name] = ("action=deploy", IMAGE, f"bundle={address}", "service.key_secret=key", "service.hold_minutes=0")
    return found
