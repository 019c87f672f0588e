"""One trial as a process of its own: ``python -m fraudlab.train``, its curve listened to, its end told."""

import json
import math
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fraudlab.config.overrides import literal
from fraudlab.errors import DIVERGED
from fraudlab.training.trial import PRUNED, VARIABLE

METRICS = "metrics.json"
"""What a trial writes last, in its folder."""
OUTPUT = "output.txt"
"""What a trial printed, in its folder."""
_ASKED_TO_END = 20  # seconds that a trial gets to end by itself
_LAUNCHERS = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_NTASKS")
"""What a launcher told the search of its place among others: a trial is no part of them."""
_SIGNALS = {number.value: number.name for number in signal.Signals}

OnPoint = Callable[[int, float], bool]
"""Called with each point of the curve; True to prune."""


@dataclass(frozen=True)
class Ended:
    """How a trial ended.

    Attributes:
        how: ``finished``, ``pruned``, ``failed`` (by itself) or ``died`` (by a signal, or its search's death).
        reason: of a failure, in one line.
    """

    how: str
    reason: str = ""

    @property
    def diverged(self) -> bool:
        return self.reason.startswith(DIVERGED)


class TrialProcess:
    """A running trial.

    Args:
        overrides: the settings of ``python -m fraudlab.train``.
        folder: becomes its run folder; exists.
        threads: that its libraries may use.
    """

    def __init__(self, overrides: Sequence[str], folder: Path, threads: int) -> None:
        self._folder = folder
        self._ours, theirs = socket.socketpair()
        names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS")
        environment = {name: value for name, value in os.environ.items() if name not in _LAUNCHERS}
        environment |= {**{name: str(threads) for name in names}, VARIABLE: str(theirs.fileno())}
        command = [sys.executable, "-m", "fraudlab.train", *overrides, literal("hydra.run.dir", folder)]
        with theirs, (folder / OUTPUT).open("wb") as output:
            self._process = subprocess.Popen(  # noqa: S603
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C reaches the search alone, which then ends its trials
            )

    def follow(self, on_point: OnPoint) -> Ended:
        """Answer the trial until it ends."""
        pruned = False
        with self._ours, suppress(ConnectionError), self._ours.makefile("r", encoding="utf-8") as lines:
            for line in lines:
                point = json.loads(line)
                pruned = on_point(point["step"], point["value"])
                self._ours.sendall(json.dumps({"prune": pruned}).encode() + b"\n")
        status = self._process.wait()
        if status == 0 and not pruned:
            return Ended("finished")
        if pruned or status == PRUNED:
            return Ended("pruned")
        killed_by = -status if status < 0 else status - 128  # by itself, or as a shell would say it
        if killed_by in _SIGNALS:
            return Ended("died", f"killed by {_SIGNALS[killed_by]}")
        return Ended("failed", self._reason(status))

    def end(self) -> None:
        """Ask the trial and all that it started to end."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the trial after the time it was given, where it did not end by itself."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_ASKED_TO_END)
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def _reason(self, status: int) -> str:
        lines = (self._folder / OUTPUT).read_text(encoding="utf-8", errors="replace").strip().splitlines()
        errors = [line for line in lines if line.startswith("error: ")]
        said = errors[-1].removeprefix("error: ") if errors else next(iter(lines[-1:]), "without any output")
        return said if errors else f"exit status {status}: {said}"


def values_of(folder: Path, names: Sequence[str]) -> list[float] | None:
    """The named metrics of a finished run; None where it did not finish.

    Raises:
        KeyError: it has no such metric; the message names those it has.
    """
    path = folder / METRICS
    if not path.is_file():
        return None
    metrics = json.loads(path.read_text(encoding="utf-8"))
    values = []
    for name in names:
        part, _, metric = name.partition(".")
        there: Mapping[str, Any] = metrics.get(part) or {}
        value = there.get(metric)
        if value is None or not math.isfinite(value):
            known = ", ".join(f"{part}.{key}" for key, found in there.items() if found is not None)
            amounts = " Savings need every amount: data.amount=<column>." if metric == "cost_savings" else ""
            raise KeyError(f"metrics.json has no {name}; it has: {known}.{amounts}")
        values.append(float(value))
    return values
