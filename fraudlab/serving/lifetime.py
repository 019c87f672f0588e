"""No process of a server outlives the one that started it, whatever ends that one."""

import ctypes
import os
import signal
import threading
import time

_PR_SET_PDEATHSIG = 1  # prctl(2)
_LOOK = 0.5  # seconds


def end_with_parent(parent: int) -> None:
    """Let this process end at once when its parent has ended; to be called in the process itself, at its start.

    SIGHUP and SIGINT may reach all processes of a terminal: they are left to the first one.

    Args:
        parent: its process's id.
    """
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    if not _by_the_kernel():
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    if os.getppid() != parent:  # it was faster
        os._exit(1)


def _by_the_kernel() -> bool:
    """Ask Linux to kill this process when its parent has ended; False elsewhere."""
    try:
        return ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) == 0
    except (AttributeError, OSError):
        return False


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK)
    os._exit(1)
