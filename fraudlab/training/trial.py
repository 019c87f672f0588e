"""How a trial talks to the search that started it: one socket, a line of JSON each way for each point of the curve.

The trial needs neither Optuna nor the address of the study. The search that dies closes the socket, and the trial ends
with it: no trial runs on beside a search that was started again.
"""

import json
import os
import queue
import socket
import threading
from typing import Any

from fraudlab.errors import UserError
from fraudlab.runs.folder import rank

VARIABLE = "FRAUDLAB_TRIAL_SOCKET"
"""Names the file descriptor of the socket; set by the search."""
PRUNED = 20
"""Exit status of a trial that was pruned."""
ORPHANED = 21
"""Exit status of a trial whose search died."""


class Pruned(SystemExit):
    """Ends the trial's process: no error, so nothing on its way catches or explains it."""

    def __init__(self) -> None:
        super().__init__(PRUNED)


class Channel:
    """The trial's end; in a distributed run only the first process holds the socket."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._socket.set_inheritable(False)
        self._answers: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()

    def should_prune(self, step: int, value: float) -> bool:
        """Tell a point of the curve on validation and ask whether to go on.

        Args:
            step: epochs or rounds done.
            value: the metric after them.
        """
        self._socket.sendall(json.dumps({"step": step, "value": value}).encode() + b"\n")
        return bool(self._answers.get()["prune"])

    def _listen(self) -> None:
        try:
            for line in self._socket.makefile("r", encoding="utf-8"):
                self._answers.put(json.loads(line))
        except OSError:
            pass
        os._exit(ORPHANED)


_channel: Channel | None = None


def is_trial() -> bool:
    """Whether this process is a trial of a search."""
    return VARIABLE in os.environ


def connect() -> None:
    """Open the trial's end, if this is a trial: early, so that a search that dies takes it along from then on.

    Raises:
        UserError: the variable is set, but no search holds the other end.
    """
    global _channel
    if not is_trial() or _channel is not None or rank() > 0:
        return
    try:
        _channel = Channel(int(os.environ[VARIABLE]))
    except (OSError, ValueError) as error:
        raise UserError(f"{VARIABLE} is set, but no search started this process; unset it") from error


def should_prune(step: int, value: float) -> bool:
    """As :meth:`Channel.should_prune`; False in a process that holds no channel."""
    return _channel is not None and _channel.should_prune(step, value)
