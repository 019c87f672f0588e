"""How a process in the background leaves the processors to the others."""

import time
from collections.abc import Callable


class Rest:
    """Sleeps after some work, in proportion to its time, and the longer the more others wanted the processor meanwhile.

    The lowest priority alone is not enough: not every system takes the processor from a process at once when another
    wants it, and two processors may share one core.

    Args:
        wait: what sleeps.
        worked: times as long as it worked.
        waited: times as long as the system let it wait for a processor.
        most: seconds of a sleep.
    """

    def __init__(self, wait: Callable[[float], object], *, worked: float, waited: float, most: float) -> None:
        self._wait = wait
        self._times = worked, waited
        self._most = most
        self._begin()

    def __call__(self) -> None:
        """Sleep for what was done since the last sleep, or since this object was made."""
        wall, own = (now - then for now, then in zip(_clocks(), self._since, strict=True))
        self._wait(min(self._times[0] * own + self._times[1] * max(0.0, wall - own), self._most))
        self._begin()

    def _begin(self) -> None:
        self._since = _clocks()


def _clocks() -> tuple[float, float]:
    return time.monotonic(), time.process_time()
