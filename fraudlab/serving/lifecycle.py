"""Whether the server is ready; and on SIGTERM its clients are let go before uvicorn closes the connections."""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from types import FrameType, MethodType
from typing import Any

import uvicorn

from fraudlab.serving.dispatch import Dispatcher
from fraudlab.serving.lifetime import give_back_memory

_LOOK = 1.0  # seconds between two looks at the workers
_LAST_REQUEST = 0.2  # seconds for a client that has connected to say what it wants


class Lifecycle:
    """State of the server, kept in the process that answers HTTP.

    Args:
        listen: take the connections of the processes that score, from now on.
        dispatcher: knows the workers that are ready to score.
        drain: seconds between SIGTERM and the end of accepting: probes say so, and each answer closes its connection.
        failed_starts: shared with the first process, which counts the workers that could not start.
        retired: shared with the first process, which says by 1 that a successor accepts on the same sockets.
        on_failure: told of each worker that could not start.
        hand_over: called where there is a successor: at once, each second, and at the end.

    Attributes:
        draining: whether somebody has asked to stop.
    """

    def __init__(
        self,
        listen: Sequence[Callable[[], Awaitable[asyncio.Server]]],
        dispatcher: Dispatcher,
        drain: float,
        failed_starts: Any,
        retired: Any,
        on_failure: Callable[[], None],
        hand_over: Callable[[], None],
    ) -> None:
        self._listen = listen
        self._dispatcher = dispatcher
        self._drain = drain
        self._failed_starts = failed_starts
        self._retired = retired
        self._on_failure = on_failure
        self._hand_over = hand_over
        self.draining = False
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def ready(self) -> bool:
        """Every worker answers, and nobody has asked to stop; a server with a successor is as ready as that one."""
        stops = self.draining and not self.has_successor
        return self._dispatcher.connected >= self._dispatcher.wanted and not stops

    @property
    def has_successor(self) -> bool:
        """Whether another process answers on the same sockets, and this one ends."""
        return self.draining and bool(self._retired.value)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Take the workers' connections and the signals while the app runs."""
        give_back_memory()
        self._delay_signal()
        listening = [await listen() for listen in self._listen]
        watch = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            watch.cancel()
            for each in listening:
                each.close()
            if self.has_successor:
                self._hand_over()

    async def _watch(self) -> None:
        told = 0
        while True:
            await asyncio.sleep(_LOOK)
            self._dispatcher.look_after_workers()
            while told < self._failed_starts.value:
                told += 1
                self._on_failure()
            if self.has_successor:
                self._hand_over()

    def _delay_signal(self) -> None:
        close = signal.getsignal(signal.SIGTERM)  # uvicorn's: close idle connections, finish, leave
        assert isinstance(close, MethodType)
        server = close.__self__
        assert isinstance(server, uvicorn.Server)
        loop = asyncio.get_running_loop()

        async def drain() -> None:
            if self._retired.value:
                self._hand_over()
                for each in server.servers:
                    each.close()  # what waits to be accepted is the successor's
            await asyncio.sleep(self._drain)
            if not self._retired.value:
                await _stop_listening(server)
            await asyncio.sleep(_LAST_REQUEST)
            close(signal.SIGTERM, None)

        def begin(number: int, frame: FrameType | None) -> None:
            if not self.draining:
                self.draining = True
                loop.call_soon_threadsafe(lambda: self._tasks.append(loop.create_task(drain())))

        signal.signal(signal.SIGTERM, begin)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})  # which the first process has blocked
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the first process ends this one


async def _stop_listening(server: uvicorn.Server) -> None:
    """Refuse new connections, and lose none of those that the kernel has accepted already.

    The first process has the listening sockets too: where uvicorn closes its own, clients go on connecting to sockets
    that nobody accepts from. Shutting a socket down holds for all processes, and resets what waits to be accepted: so
    that is accepted first.
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
