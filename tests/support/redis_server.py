"""A real Redis or Valkey on a free port, in a folder of its own."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Self

import redis

from tests.support.server import free_port

PROGRAM = shutil.which("redis-server") or shutil.which("valkey-server")


class RedisServer:
    """Started anew on the same port and folder by :meth:`start`; all that it acknowledged is on disk."""

    def __init__(self, folder: Path, *options: str) -> None:
        assert PROGRAM is not None
        self.port = free_port()
        self.folder, self.options = folder, ("--appendonly", "yes", "--appendfsync", "always", *options)
        self.start()

    def start(self) -> None:
        command = [PROGRAM, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder), "--save", ""]
        with (self.folder / "log").open("a") as log:
            self.process = subprocess.Popen([*command, *self.options], stdout=log, stderr=log)  # type: ignore[list-item]
        for _ in range(400):
            assert self.process.poll() is None, (self.folder / "log").read_text()
            try:
                if redis.Redis(port=self.port).ping():
                    return
            except (redis.ConnectionError, redis.AuthenticationError) as error:
                if isinstance(error, redis.AuthenticationError):
                    return
                time.sleep(0.02)
        raise AssertionError((self.folder / "log").read_text())

    def url(self, name: str = "fraudlab") -> str:
        return f"redis://127.0.0.1:{self.port}/0?name={name}"

    def kill(self) -> None:
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self.process.poll() is None:
            self.kill()
