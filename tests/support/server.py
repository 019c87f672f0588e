"""A real server, as a user starts it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Self

import psutil

KEY = "k" * 32
HASH_KEY = "h" * 32


def free_port() -> int:
    """A port of this machine where nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def until(happened: Callable[[], Any], seconds: float = 30) -> None:
    """Wait for what other processes do."""
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.05)


def refused(bundle: Path, folder: Path, *overrides: str, hash_key: str = HASH_KEY) -> str:
    """What a server says that does not start."""
    done = subprocess.run(
        [sys.executable, "-m", "fraudlab.serve", f"bundle={bundle}", *overrides],
        cwd=folder,
        env={**os.environ, "FRAUDLAB_HASH_KEY": hash_key},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1, done.stdout
    assert "Traceback" not in done.stderr
    return done.stderr


class Answer(NamedTuple):
    status: int
    headers: Any
    text: str

    @property
    def said(self) -> Any:
        return json.loads(self.text)


class Server:
    """``python -m fraudlab.serve`` on a free port, until it is ready."""

    def __init__(
        self,
        bundle: Path,
        folder: Path,
        *overrides: str,
        env: dict[str, str] | None = None,
        wait: bool = True,
        python: str = sys.executable,
    ) -> None:
        self.port = free_port()
        self.log = folder / "server.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [python, "-m", "fraudlab.serve", f"bundle={bundle}", f"serving.port={self.port}", *overrides],
                cwd=folder,
                env={**os.environ, "FRAUDLAB_API_KEY": KEY, "FRAUDLAB_HASH_KEY": HASH_KEY, **(env or {})},
                stdout=log,
                stderr=log,
            )
        for _ in range(600 if wait else 0):
            if self.process.poll() is not None:
                raise AssertionError(self.log.read_text())
            if self.ready():
                return
            time.sleep(0.1)
        if wait:
            raise AssertionError(self.log.read_text())

    def ready(self) -> bool:
        try:
            return self.ask("/health/ready", key=None).status == 200
        except OSError:
            return False

    def ask(
        self, path: str, body: bytes | None = None, *, key: str | None = KEY, headers: dict[str, str] | None = None
    ) -> Answer:
        given = {"Content-Type": "application/json", **({"X-API-Key": key} if key else {}), **(headers or {})}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", body, given)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return Answer(answer.status, answer.headers, answer.read().decode())
        except urllib.error.HTTPError as error:
            return Answer(error.code, error.headers, error.read().decode())

    def predict(self, asked: Any, query: str = "", **options: Any) -> Answer:
        return self.ask(f"/predict{query}", json.dumps(asked).encode(), **options)

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)

    def worker(self) -> psutil.Process:
        """Its process that scores: spawned, as the one that records is, and with the model's runtime mapped."""
        family = psutil.Process(self.process.pid).children(recursive=True)
        return next(
            process
            for process in family
            if process.status() != psutil.STATUS_ZOMBIE  # nobody has asked for its exit status yet
            and "--multiprocessing-fork" in process.cmdline()
            and any("onnxruntime" in each.path for each in process.memory_maps())
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self.process.poll() is None:
            self.end()
