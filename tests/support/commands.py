"""Commands as a user types them, each in a process of its own, without paying for the same imports each time.

A first process imports what most commands need and computes nothing. Each command is a fork of it that goes on as
``python -m fraudlab.<name>`` does: with its own folder, environment, arguments, output and exit status.
"""

import gc
import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import psutil

IMPORTED = (
    "fraudlab.cli",
    "fraudlab.data.sources.handbook",
    "fraudlab.data.sources.ieee_cis_simulated",
    "fraudlab.data.sources.table",
    "fraudlab.deployment.actions",
    "fraudlab.exporter.writer",
    "fraudlab.models.mlp",
    "fraudlab.models.tabnet",
    "fraudlab.reporting.report",
    "fraudlab.training.fit",
    "fraudlab.training.scoring",
    "google.auth.transport.requests",
    "google.cloud.storage",
    "google.oauth2.service_account",
    "hydra._internal.hydra",
    "hydra._internal.utils",
    "lightning.pytorch.loggers",
)


class Commands:
    """Runs commands one after the other.

    Args:
        folder: for what they print.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._first = subprocess.Popen(
            [sys.executable, "-P", __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(
        self, words: list[str], cwd: Path, env: dict[str, str], timeout: float = 300
    ) -> subprocess.CompletedProcess[str]:
        """As ``subprocess.run([python, *words], ...)``; ``words`` are ``-m <module> <arguments>`` or ``<file> …``.

        Variables of Python's own in ``env`` come too late.
        """
        printed = {name: str(self._folder / name) for name in ("out", "err")}
        for path in printed.values():  # what an earlier command left running writes on into the old file
            Path(path).unlink(missing_ok=True)
        asked = {"words": words, "cwd": str(cwd), "env": env, "timeout": timeout, **printed}
        assert self._first.stdin is not None
        assert self._first.stdout is not None
        self._first.stdin.write(json.dumps(asked) + "\n")
        self._first.stdin.flush()
        status = json.loads(self._first.stdout.readline())
        out, err = (Path(path).read_text() for path in printed.values())
        if status is None:
            raise subprocess.TimeoutExpired(words, timeout, out, err)
        return subprocess.CompletedProcess([sys.executable, *words], status, out, err)

    def kill(self) -> None:
        """Kill the command that runs."""
        [child] = psutil.Process(self._first.pid).children()
        child.kill()

    def close(self) -> None:
        assert self._first.stdin is not None
        self._first.stdin.close()
        self._first.wait()


def serve() -> None:
    """Be the first process: a line of JSON in for each command, its exit status out."""
    for name in IMPORTED:
        importlib.import_module(name)
    gc.freeze()  # so that no fork looks through all of it, which would copy its pages
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it ends with the tests
    for line in sys.stdin:
        asked = json.loads(line)
        child = os.fork()
        if child == 0:
            become(asked)
        print(json.dumps(ended(child, asked["timeout"])), flush=True)


def ended(child: int, timeout: float) -> int | None:
    """The exit status, as ``subprocess`` has it; None where time was up."""
    late = False

    def kill(*_: object) -> None:
        nonlocal late
        late = True
        os.kill(child, signal.SIGKILL)

    before = signal.signal(signal.SIGALRM, kill)
    signal.alarm(int(timeout))
    try:
        _, status = os.waitpid(child, 0)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    return None if late else os.waitstatus_to_exitcode(status)


def become(asked: dict) -> NoReturn:
    """Go on as the command."""
    for number, path in enumerate((os.devnull, asked["out"], asked["err"])):
        flags = os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        file = os.open(path, flags, 0o600)
        os.dup2(file, number)
        os.close(file)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"])
    words = asked["words"]
    sys.orig_argv = [sys.executable, *words]
    if words[0] == "-m":
        sys.path.insert(0, asked["cwd"])
        sys.argv = words[1:]
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.path.insert(0, str(Path(words[0]).parent))
        sys.argv = words
        runpy.run_path(words[0], run_name="__main__")
    sys.exit()


if __name__ == "__main__":
    serve()
