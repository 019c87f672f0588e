"""What a signal asks of a search."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


class Stopped(Exception):
    """A signal asked the search to stop; its trials are queued again."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


class Stop:
    """What a signal sets and everything watches."""

    def __init__(self) -> None:
        self.event = threading.Event()
        self.number = 0

    @contextlib.contextmanager
    def on_signals(self) -> Iterator["Stop"]:
        """Set on SIGINT, SIGTERM and SIGHUP, which otherwise do as before again afterwards."""

        def stop(number: int, _: FrameType | None) -> None:
            self.number = number
            self.event.set()

        names = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        # nohup has SIGHUP ignored.
        before = {name: signal.signal(name, stop) for name in names if signal.getsignal(name) != signal.SIG_IGN}
        try:
            yield self
        finally:
            for name, handler in before.items():
                signal.signal(name, handler)
