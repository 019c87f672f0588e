"""A light load generator, in two ways: so many clients (:func:`closed`), or so many requests a second (:func:`opened`).

It shares the machine with what it measures, so it does little: requests are bytes made before, answers are read up to
their length. A request's time runs from the moment it is sent until the last byte of its answer is there.

Clients of a closed loop send again as soon as they are answered, so a server that stalls is asked less meanwhile. An
open loop sends by the clock, whatever the answers: the load that overload means. On a machine with few cores it cannot
send as much as one likes, since it competes with the server for them: :class:`Load` says what was offered.
"""

import asyncio
import itertools
import re
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import uvloop

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_PATIENCE = 30.0  # seconds for an answer
_TICK = 0.001  # seconds between two looks at the clock


def post(path: str, body: bytes, *headers: str) -> bytes:
    """A POST request of JSON as bytes."""
    lines = [f"POST {path} HTTP/1.1", "Host: server", "Content-Type: application/json", *headers]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


@dataclass
class Load:
    """What the clients saw.

    Attributes:
        seconds: from the first request to the last answer.
        answers: ``(status, sent, seconds)`` each; ``sent`` on the clock of ``time.perf_counter``.
        lost: when requests were sent that got no whole answer until their connection ended, or in 30 s.
        refused: number of connections that could not be made.
        sent: number of requests.
    """

    seconds: float = 0.0
    answers: list[tuple[int, float, float]] = field(default_factory=list)
    lost: list[float] = field(default_factory=list)
    refused: int = 0
    sent: int = 0

    @property
    def offered(self) -> float:
        """Requests sent, per second."""
        return self.sent / self.seconds

    @property
    def statuses(self) -> dict[str, int]:
        counts = Counter(str(status) for status, _, _ in self.answers)
        return dict(sorted(counts.items())) | ({"lost": len(self.lost)} if self.lost else {})

    @property
    def errors(self) -> int:
        return sum(status != 200 for status, _, _ in self.answers) + len(self.lost) + self.refused

    @property
    def rate(self) -> float:
        """Requests answered with 200, per second."""
        return sum(status == 200 for status, _, _ in self.answers) / self.seconds

    def milliseconds(self, percent: float, status: int = 200) -> float:
        """Percentile of the times of the answers of a status; NaN where there is none."""
        times = [seconds for said, _, seconds in self.answers if said == status]
        return float(np.percentile(times, percent)) * 1000 if times else float("nan")


def closed(
    address: tuple[str, int],
    requests: Sequence[bytes],
    *,
    clients: int,
    seconds: float = float("inf"),
    number: int | None = None,
    meanwhile: Callable[[float], None] | None = None,
) -> Load:
    """Keep ``clients`` busy with ``requests``, one after the other, over and over.

    Args:
        address: host and port.
        requests: whole HTTP requests.
        clients: connections, each with one request at a time.
        seconds: when to send no more.
        number: of requests, after which to send no more; without it, no limit.
        meanwhile: called about each second with the seconds gone by.
    """
    source = itertools.cycle(requests)
    return uvloop.run(
        _run(address, source if number is None else itertools.islice(source, number), clients, seconds, meanwhile)
    )


def opened(
    address: tuple[str, int],
    requests: Sequence[bytes],
    *,
    rate: float,
    connections: int,
    seconds: float,
    meanwhile: Callable[[float], None] | None = None,
) -> Load:
    """Send ``rate`` requests a second by the clock, whether or not earlier ones have been answered.

    Args:
        address: host and port.
        requests: whole HTTP requests, over and over.
        rate: requests a second.
        connections: that take turns; a request that is due while each of them waits for an answer is left out.
        seconds: when to send no more.
        meanwhile: called about each second with the seconds gone by.
    """
    return uvloop.run(_run_open(address, itertools.cycle(requests), rate, connections, seconds, meanwhile))


async def _run(
    address: tuple[str, int],
    requests: Iterator[bytes],
    clients: int,
    seconds: float,
    meanwhile: Callable[[float], None] | None,
) -> Load:
    load = Load()
    started = time.perf_counter()
    run = _Run(address, requests, started + seconds, load)
    tasks = [asyncio.create_task(run.client()) for _ in range(clients)]
    done = asyncio.gather(*tasks)
    while not done.done():
        if meanwhile is not None:
            meanwhile(time.perf_counter() - started)
        for connection in tuple(run.connections):
            connection.give_up(time.perf_counter())
        await asyncio.wait([done], timeout=1.0)
    await done
    load.seconds = time.perf_counter() - started
    return load


async def _run_open(
    address: tuple[str, int],
    requests: Iterator[bytes],
    rate: float,
    connections: int,
    seconds: float,
    meanwhile: Callable[[float], None] | None,
) -> Load:
    load = Load()
    run = _Run(address, requests, float("inf"), load, idle=deque())
    assert run.idle is not None
    tasks = [asyncio.create_task(run.client()) for _ in range(connections)]
    while len(run.connections) + load.refused < connections:
        await asyncio.sleep(0.01)
    started, told = time.perf_counter(), 0.0
    due = 0
    while (now := time.perf_counter() - started) < seconds:
        number, due = int(now * rate) - due, int(now * rate)
        for _ in range(min(number, len(run.idle))):
            run.idle.popleft().send()
        if meanwhile is not None and now - told >= 1.0:
            meanwhile(now)
            told = now
        await asyncio.sleep(_TICK)
    load.seconds = time.perf_counter() - started
    run.end = 0.0  # a connection that sends now closes instead
    while run.connections:
        while run.idle:
            run.idle.popleft().send()
        for connection in tuple(run.connections):
            connection.give_up(time.perf_counter())
        await asyncio.sleep(0.05)
    await asyncio.gather(*tasks)
    return load


class _Run:
    def __init__(
        self,
        address: tuple[str, int],
        requests: Iterator[bytes],
        end: float,
        load: Load,
        idle: "deque[_Connection] | None" = None,
    ) -> None:
        self.address, self.requests, self.end, self.load = address, requests, end, load
        self.idle = idle  # connections that wait to be told; None where each sends by itself
        self.connections: set[_Connection] = set()

    async def client(self) -> None:
        """One client; it connects anew whenever the server has closed, and gives up when there is no server."""
        loop = asyncio.get_running_loop()
        while time.perf_counter() < self.end:
            try:
                _, connection = await loop.create_connection(lambda: _Connection(self), *self.address)
            except OSError:
                self.load.refused += 1
                return
            if await connection.finished:
                return


class _Connection(asyncio.Protocol):
    """Sends and measures on one connection; ``finished`` is False where the server has closed it."""

    def __init__(self, run: _Run) -> None:
        self._run = run
        self.finished: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._buffer = b""
        self._sent = 0.0
        self._waits = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        self._run.connections.add(self)
        self._next()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        length = _LENGTH.search(head)
        if length is None or len(body) < int(length.group(1)):
            return
        now = time.perf_counter()
        self._run.load.answers.append((int(head[9:12]), self._sent, now - self._sent))
        self._buffer, self._waits = b"", False
        if b"connection: close" in head.lower():
            self._transport.close()
        else:
            self._next()

    def _next(self) -> None:
        if self._run.idle is None:
            self.send()
        else:
            self._run.idle.append(self)

    def give_up(self, now: float) -> None:
        """Close where an answer is overdue; the request counts as lost."""
        if self._waits and now - self._sent > _PATIENCE:
            self._transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self._run.connections.discard(self)
        if self._run.idle is not None and not self._waits and self in self._run.idle:
            self._run.idle.remove(self)
        if self._waits:
            self._run.load.lost.append(self._sent)
        if not self.finished.done():
            self.finished.set_result(False)

    def send(self) -> None:
        request = next(self._run.requests, None) if time.perf_counter() < self._run.end else None
        if request is None:
            self.finished.set_result(True)
            self._transport.close()
            return
        self._sent, self._waits = time.perf_counter(), True
        self._run.load.sent += 1
        self._transport.write(request)
