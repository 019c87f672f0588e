"""Servers as a user starts them, each a process tree of its own on a free port."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

HOST = "127.0.0.1"
_PATIENCE = 120.0  # seconds until a server must be there


@dataclass
class Server:
    """A running server.

    Attributes:
        process: its first process.
        port: where it listens.
        seconds_to_ready: from its start to the first 200 at its probe.
    """

    process: "subprocess.Popen[bytes]"
    port: int
    seconds_to_ready: float = 0.0

    @property
    def address(self) -> tuple[str, int]:
        return HOST, self.port

    def memory(self) -> dict[int, float]:
        """Resident MB of each of its processes."""
        found = {}
        with contextlib.suppress(psutil.NoSuchProcess):
            first = psutil.Process(self.process.pid)
            for process in (first, *first.children(recursive=True)):
                with contextlib.suppress(psutil.NoSuchProcess):
                    found[process.pid] = process.memory_info().rss / 1e6
        return found

    def get(self, path: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(HOST, self.port, timeout=5)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def ask(self, request: bytes) -> Any:
        """The answer to a whole request, as JSON, on a connection of its own."""
        with socket.create_connection(self.address, timeout=5) as connection:
            connection.sendall(request)
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            return json.loads(answer.read())


@contextlib.contextmanager
def ours(bundle: Path | str, *settings: str) -> Iterator[Server]:
    """``python -m fraudlab.serve`` on a bundle."""
    port = free_port()
    command = [sys.executable, "-m", "fraudlab.serve", f"bundle={bundle}", f"serving.port={port}", *settings]
    with _running(command, port, "/health/ready", Path("outputs/benchmarks/serving/serve.log")) as server:
        yield server


@contextlib.contextmanager
def plain(folder: Path) -> Iterator[Server]:
    """The FastAPI app of :mod:`benchmarks.serving.plain_app`, with two uvicorn workers."""
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "benchmarks.serving.plain_app:app", "--workers", "2"]
    command += ["--host", HOST, "--port", str(port), "--log-level", "warning"]
    environment = {"PLAIN_APP_FOLDER": str(folder.absolute()), "OMP_NUM_THREADS": "1"}
    log = Path("outputs/benchmarks/serving/plain.log")
    with _running(command, port, "/health", log, environment) as server:
        yield server


@contextlib.contextmanager
def _running(
    command: list[str], port: int, probe: str, log: Path, environment: dict[str, str] | None = None
) -> Iterator[Server]:
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        started = time.perf_counter()
        process = subprocess.Popen(
            command, env=os.environ | (environment or {}), stdout=output, stderr=output, start_new_session=True
        )
    server = Server(process, port)
    try:
        while not _answers(server, probe):
            if process.poll() is not None or time.perf_counter() - started > _PATIENCE:
                sys.exit(f"error: {' '.join(command)} did not get ready; see {log}")
            time.sleep(0.02)
        server.seconds_to_ready = time.perf_counter() - started
        yield server
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _answers(server: Server, probe: str) -> bool:
    try:
        return server.get(probe)[0] == 200
    except OSError:
        return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
