"""Ready or not: watches the workers, and on SIGTERM lets go of the clients before uvicorn closes the door."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from types import FrameType, MethodType
from typing import Any

import uvicorn
from litserve.utils import WorkerSetupStatus

from fraudlab.serving.dispatch import Dispatcher

_SWITCH = 0.0002  # seconds
_LAST_REQUEST = 0.2  # seconds for a client that has connected to say what it wants
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

    def __init__(self, statuses: Callable[[], Mapping[str, str]], drain: float, on_failure: Callable[[], None]) -> None:
        self._statuses = statuses
        self._drain = drain
        self._on_failure = on_failure
        self._all_up = False
        self.draining = False
        self.workers: dict[str, str] = {}
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def ready(self) -> bool:
        return self._all_up and not self.draining

    @asynccontextmanager
    async def running(self, dispatcher: Dispatcher) -> AsyncIterator[None]:
        """Watch the workers and the signals while the app runs."""
        # LitServe's answers come through threads, which under load would wait 5 ms for each turn beside the event loop.
        sys.setswitchinterval(_SWITCH)
        self._delay_signal()
        watch = asyncio.create_task(self._watch(dispatcher))
        try:
            yield
        finally:
            watch.cancel()
            with suppress(asyncio.CancelledError):
                await watch

    def _delay_signal(self) -> None:
        close = signal.getsignal(signal.SIGTERM)  # uvicorn's: close idle connections, finish, leave
        assert isinstance(close, MethodType)
        server = close.__self__
        assert isinstance(server, uvicorn.Server)
        loop = asyncio.get_running_loop()

        async def drain() -> None:
            await asyncio.sleep(self._drain)
            await _stop_listening(server)
            await asyncio.sleep(_LAST_REQUEST)
            close(signal.SIGTERM, None)

        def begin(number: int, frame: FrameType | None) -> None:
            if not self.draining:
                self.draining = True
                loop.call_soon_threadsafe(lambda: self._tasks.append(loop.create_task(drain())))

        signal.signal(signal.SIGTERM, begin)

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


async def _stop_listening(server: uvicorn.Server) -> None:
    """Refuse new connections, and lose none of those that the kernel has accepted already.

    LitServe's first process holds the listening sockets too: where uvicorn closes its own, clients go on connecting to
    a door behind which nobody is. Shutting a socket down holds for all processes, and resets what waits to be accepted:
    so that is accepted first.
    """
    config = server.config
    protocol: Any = config.http_protocol_class
    waiting = []
    for listening in [one for each in server.servers for one in each.sockets]:
        with socket.socket(fileno=os.dup(listening.fileno())) as shared:
            with suppress(BlockingIOError):
                while True:
                    waiting.append(shared.accept()[0])
            shared.shutdown(socket.SHUT_RDWR)
    for connection in waiting:
        await asyncio.get_running_loop().connect_accepted_socket(
            lambda: protocol(  # as uvicorn's own sockets have it
                config=config, server_state=server.server_state, app_state=server.lifespan.state
            ),
            connection,
        )
