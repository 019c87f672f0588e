"""What the connections of all clients share, and when one of them is read."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from uvicorn.protocols.http.flow_control import FlowControl

from fraudlab.config.serve import ServingConfig
from fraudlab.serving.admission import Admission

_READ = 16 * 1024  # bytes of a connection that are read at a time, and at most kept unparsed


class Flow(FlowControl):
    """Leaves it to ``then`` to read on: what was read already comes first."""

    def __init__(self, transport: asyncio.Transport, then: Callable[[], object]) -> None:
        super().__init__(transport)
        self._then: Callable[[], object] | None = then

    def resume_reading(self) -> None:
        if self.read_paused:
            self.read_paused = False
            if self._then is not None:
                self._then()

    def end(self) -> None:
        """Let go of the connection, which is gone: else each would wait for the collector of cycles."""
        self._then = None


class Connection(Protocol):
    """What is known of one connection here."""

    transport: asyncio.Transport

    def dismiss(self, status: int, problem: str, *, linger: bool = True) -> None: ...


@dataclass
class Connections:
    """What all connections share.

    Attributes:
        settings: of the server.
        admission: asked before each ``POST /predict``.
        on_refusal: told the status of each refusal.
        closing: whether connections are to end with the next answer.
        inflight_bytes: of bodies whose request is not answered.
        idle: connections that wait for a further request, and since when; the longest idle first.
        silent_probes: connections in the places for probes that have asked nothing, the oldest first.
    """

    settings: ServingConfig
    admission: Admission
    on_refusal: Callable[[int], None]
    closing: Callable[[], bool]
    inflight_bytes: int = 0
    idle: dict[Connection, float] = field(default_factory=dict)
    silent_probes: dict[Connection, None] = field(default_factory=dict)

    def close_one_idle(self, before: float) -> bool:
        """Close the connection that is idle for longest, if it was before this time of the loop's clock."""
        longest = next(iter(self.idle), None)
        if longest is None or self.idle[longest] > before:
            return False
        del self.idle[longest]
        longest.transport.close()
        return True


class Reader(asyncio.BufferedProtocol):
    """A connection as uvloop sees it: reads 16 KiB at a time, whatever the client sends, for its protocol."""

    _buffer = memoryview(bytearray(_READ))  # of all connections: what was read is taken out at once

    def __init__(self, protocol: asyncio.Protocol) -> None:
        self._protocol = protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._protocol.connection_made(transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self._protocol.data_received(bytes(self._buffer[:nbytes]))

    def eof_received(self) -> None:
        self._protocol.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()
