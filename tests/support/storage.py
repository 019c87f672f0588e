"""An emulated Google Cloud Storage."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.support.server import free_port


@contextmanager
def emulated_bucket(name: str, monkeypatch: pytest.MonkeyPatch, project: str = "test") -> Iterator[Any]:
    """A bucket on loopback, which this process and those that it starts find."""
    from gcp_storage_emulator.server import create_server
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import storage

    port = free_port()
    server = create_server("127.0.0.1", port, in_memory=True)
    server.start()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", project)
    try:
        yield storage.Client(project=project, credentials=AnonymousCredentials()).create_bucket(name)
    finally:
        server.stop()
