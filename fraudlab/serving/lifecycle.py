"""Ready or not; and on SIGTERM lets go of the clients before uvicorn closes the door."""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from types import FrameType, MethodType
from typing import Any

import uvicorn

from fraudlab.serving.dispatch import Dispatcher

_LAST_REQUEST = 0.2  # seconds for a client that has connected to say what it wants


class Lifecycle:
    """State of the server, kept in the process that answers HTTP.

    Args:
        dispatcher: knows the workers that are ready to score.
        drain: seconds between SIGTERM and the end of accepting: probes say so, and each answer closes its connection.

    Attributes:
        draining: whether somebody has asked to stop.
    """

    def __init__(self, dispatcher: Dispatcher, drain: float) -> None:
        self._dispatcher = dispatcher
        self._drain = drain
        self.draining = False
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def ready(self) -> bool:
        """Every worker has loaded the bundle and given its golden scores, and nobody has asked to stop."""
        return self._dispatcher.connected >= self._dispatcher.wanted and not self.draining

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Take the workers' connections and the signals while the app runs."""
        self._delay_signal()
        listening = await self._dispatcher.listen()
        try:
            yield
        finally:
            listening.close()

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
