"""Ready or not: watches the workers, and on SIGTERM lets go of the clients before uvicorn closes the door."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from types import FrameType

from litserve.utils import WorkerSetupStatus

from fraudlab.serving.dispatch import Dispatcher

_PERIOD = 0.1  # seconds between two looks at the workers


class Lifecycle:
    """State of the server, kept in the process that answers HTTP.

    Args:
        statuses: gives LitServe's table of its workers' states, which lies in another process.
        drain: seconds between SIGTERM and the end of accepting: probes say so, and each answer closes its connection.
        on_failure: told when a worker has died.

    Attributes:
        ready: every worker has loaded the bundle and given its golden scores, and nobody has asked to stop.
        workers: state of each.
    """

    def __init__(
        self, statuses: Callable[[], Mapping[str, str]], drain: float, on_failure: Callable[[], None]
    ) -> None:
        self._statuses = statuses
        self._drain = drain
        self._on_failure = on_failure
        self._all_up = False
        self.draining = False
        self.workers: dict[str, str] = {}

    @property
    def ready(self) -> bool:
        return self._all_up and not self.draining

    @asynccontextmanager
    async def running(self, dispatcher: Dispatcher) -> AsyncIterator[None]:
        """Watch the workers and the signals while the app runs."""
        self._delay_signal()
        watch = asyncio.create_task(self._watch(dispatcher))
        try:
            yield
        finally:
            watch.cancel()
            with suppress(asyncio.CancelledError):
                await watch

    def _delay_signal(self) -> None:
        close = signal.getsignal(signal.SIGTERM)  # uvicorn's: stop accepting, finish, leave
        loop = asyncio.get_running_loop()

        def drain(number: int, frame: FrameType | None) -> None:
            if not self.draining:
                self.draining = True
                assert callable(close)
                loop.call_soon_threadsafe(loop.call_later, self._drain, close, number, None)

        signal.signal(signal.SIGTERM, drain)

    async def _watch(self, dispatcher: Dispatcher) -> None:
        while True:
            self.workers = await asyncio.to_thread(lambda: dict(self._statuses()))
            all_up = bool(self.workers) and set(self.workers.values()) == {WorkerSetupStatus.READY}
            if self._all_up and not all_up:
                self._on_failure()
            if all_up and not self._all_up:
                # What the dead worker had is lost, and its last call for work may have taken one batch more with it:
                # only now is it sure that whatever is sent again finds a living worker.
                dispatcher.resend()
            self._all_up = all_up
            await asyncio.sleep(_PERIOD)

