"""How many requests are let in: no more than can be answered in time."""

import time

_WINDOW = 0.25  # seconds over which the rate of answers is counted
_LEAST = 8  # requests that may be in work however slow the machine seems: a rate measured on less says little


class Admission:
    """How many requests may be in work so that the last of them is answered within ``wait`` seconds.

    By Little's law that is the rate of answers times ``wait``. The rate tells what the server can do only while it has
    more to do than it can: so the limit follows the rate while requests are refused, and rises again otherwise. A
    window that ends with nothing in work has counted time in which there was nothing to do: it counts for nothing.

    Args:
        wait: seconds that an accepted request should take at most.
        most: limit to start from, and never to go beyond.

    Attributes:
        limit: of requests in work.
        reading: requests whose body has not come whole: they wait for their client, not for the server.
    """

    def __init__(self, wait: float, most: int) -> None:
        self._wait = wait
        self._most = most
        self.limit = most
        self.reading = 0
        self._answers = 0
        self._refused = False
        self._since = time.monotonic()

    def admits(self, in_work: int) -> bool:
        """Whether one more may join ``in_work`` requests, of which some may still be read."""
        if in_work <= self.reading and time.monotonic() - self._since >= _WINDOW:
            self._rise()
        if in_work - self.reading < self.limit:
            return True
        self._refused = True
        return False

    def answered(self) -> None:
        """Count a request that was let in and is done with."""
        self._answers += 1
        seconds = time.monotonic() - self._since
        if seconds < _WINDOW:
            return
        if self._refused:
            fitting = self._answers / seconds * self._wait
            self.limit = max(min(_LEAST, self._most), min(self._most, round((self.limit + fitting) / 2)))
            self._begin_window()
        else:
            self._rise()

    def _rise(self) -> None:
        self.limit = min(self._most, 2 * self.limit)
        self._begin_window()

    def _begin_window(self) -> None:
        self._answers, self._refused, self._since = 0, False, time.monotonic()
