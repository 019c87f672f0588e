"""An emulated Google Cloud Storage."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest


@contextmanager
def emulated_bucket(name: str, monkeypatch: pytest.MonkeyPatch, project: str = "test") -> Iterator[Any]:
    """A bucket on loopback, which this process and those that it starts find."""
    from gcp_storage_emulator.server import create_server
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import storage

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = create_server("127.0.0.1", port, in_memory=True)
    server.start()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", project)
    try:
        yield storage.Client(project=project, credentials=AnonymousCredentials()).create_bucket(name)
    finally:
        server.stop()
