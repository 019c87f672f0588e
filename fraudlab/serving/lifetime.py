"""What a server's processes ask of the system: to end with the first one, to go last, and to take memory back."""

import ctypes
import os
import signal
import threading
import time
from contextlib import suppress

_PR_SET_PDEATHSIG = 1  # prctl(2)
_M_MMAP_THRESHOLD = -3  # mallopt(3)
_LARGE = 2**16  # bytes
_LOOK = 0.5  # seconds


def give_back_memory() -> None:
    """Let what this process frees of 64 KiB and more go back to the system at once, where the C library is glibc.

    By itself glibc takes to keeping ever larger blocks, up to 32 MiB: after a burst of large bodies, a process would be
    twice as large as the bodies together, for ever.
    """
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE)


def yield_to_others() -> None:
    """Let this process run only while no other wants the processor, as far as the system knows such a thing."""
    os.nice(19)
    with suppress(AttributeError, OSError):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


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
