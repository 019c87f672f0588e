"""The doorkeeper: how many it lets in, and who is shown out. Over real sockets, before an app of the test's own."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from fraudlab.serving.admission import Admission, Protocol

KEEP_ALIVE = 0.3
H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
WEBSOCKET = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"


def head(path: bytes, length: int, more: bytes = b"") -> bytes:
    return b"POST %b HTTP/1.1\r\nHost: server\r\n%bContent-Length: %d\r\n\r\n" % (path, more, length)


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def answer(self) -> tuple[int, bytes]:
        start = await self.reader.readuntil(b"\r\n\r\n")
        length = next(line for line in start.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        return int(start[9:12]), await self.reader.readexactly(int(length.split(b":")[1]))

    async def is_shown_out(self, drip: bytes = b"") -> None:
        """Wait for the end of the connection, sending ``drip`` all the while."""
        while not self.reader.at_eof():
            self.writer.write(drip)
            try:
                await asyncio.wait_for(self.reader.read(1000), 0.1)
            except TimeoutError:
                continue
            except ConnectionError:
                return


class Door:
    """The protocol with an app that echoes a body after ``seconds``, or refuses ``/closed`` before it has the body."""

    def __init__(self, seconds: float = 0) -> None:
        self.bodies: list[bytes] = []
        self._seconds = seconds

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", scope["path"] != "/closed"
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        self.bodies.append(body)
        await asyncio.sleep(self._seconds)
        status = 401 if scope["path"] == "/closed" else 200
        length = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": status, "headers": length})
        await send({"type": "http.response.body", "body": body})

    @asynccontextmanager
    async def opens(self, most: int = 10, connections: int = 10) -> AsyncIterator[Any]:
        """Give what makes a client."""
        config = uvicorn.Config(self._app, interface="asgi3", log_config=None, ws="none", lifespan="off")
        config.timeout_keep_alive = KEEP_ALIVE  # type: ignore[assignment]
        config.load()
        state, admission = ServerState(), Admission(0.2, most)

        def protocol() -> Protocol:
            options = {"config": config, "server_state": state, "app_state": {}}
            return Protocol(admission, connections, 1000, lambda status: None, lambda: False, **options)

        async with await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]

            async def client(*parts: bytes) -> Client:
                made = Client(*await asyncio.open_connection("127.0.0.1", port))
                for part in parts:
                    made.writer.write(part)
                    await asyncio.sleep(0.05)
                return made

            yield client


def test_a_rate_is_not_taken_from_the_time_between_bursts() -> None:
    admission = Admission(wait=0.2, most=256)
    for _ in range(4):
        in_work = 0
        for _ in range(300):
            in_work += admission.admits(in_work)
        for _ in range(in_work):
            admission.answered()
        time.sleep(0.26)
    assert in_work == 256


def test_the_limit_follows_the_rate_under_more_than_can_be_answered() -> None:
    admission = Admission(wait=0.2, most=10_000)
    until = time.monotonic() + 20
    while admission.limit > 1000 and time.monotonic() < until:  # at most 1,000 answers a second: 200 in the time
        assert not admission.admits(admission.limit)
        time.sleep(0.001)
        admission.answered()
    assert 8 <= admission.limit <= 1000


@pytest.mark.parametrize("offer", [H2C, WEBSOCKET], ids=["h2c", "websocket"])
@pytest.mark.parametrize("split", [True, False])
def test_an_offer_of_another_protocol_is_ignored_and_the_body_stays_a_body(offer: bytes, split: bool) -> None:
    body = b"GET /inner HTTP/1.1\r\nHost: server\r\n\r\n"
    request = head(b"/predict", len(body), offer)

    async def story() -> None:
        door = Door()
        async with door.opens() as client:
            parts = [request, body] if split else [request + body + head(b"/predict", 4) + b"next"]
            asks = await client(*parts)
            assert await asks.answer() == (200, body)
            if split:
                asks.writer.write(head(b"/predict", 4) + b"next")
            assert await asks.answer() == (200, b"next")
        assert door.bodies == [body, b"next"]

    asyncio.run(asyncio.wait_for(story(), 20))


def test_many_offers_in_one_piece_are_ignored_one_by_one() -> None:
    async def story() -> None:
        async with Door().opens() as client:
            asks = await client((head(b"/predict", 1, H2C) + b"x") * 1500)
            for _ in range(1500):
                assert await asks.answer() == (200, b"x")

    asyncio.run(asyncio.wait_for(story(), 20))


def test_a_tunnel_is_refused() -> None:
    async def story() -> None:
        async with Door().opens() as client:
            asks = await client(b"CONNECT elsewhere:1 HTTP/1.1\r\nHost: elsewhere\r\n\r\n")
            assert (await asks.answer())[0] == 400
            await asks.is_shown_out()

    asyncio.run(asyncio.wait_for(story(), 20))


@pytest.mark.parametrize("drip", [b"", b"x"])
@pytest.mark.parametrize(
    ("path", "most", "connections", "status"),
    [(b"/closed", 10, 10, 401), (b"/predict", 0, 10, 429), (b"/", 10, 0, 503)],
)
def test_a_body_that_nobody_reads_must_end_soon(
    path: bytes, most: int, connections: int, status: int, drip: bytes
) -> None:
    async def story() -> None:
        async with Door().opens(most, connections) as client:
            asks = await client(head(path, 900), b"{")
            assert (await asks.answer())[0] == status
            await asks.is_shown_out(drip)

    asyncio.run(asyncio.wait_for(story(), 20))


def test_who_is_idle_after_a_late_body_is_let_go() -> None:
    async def story() -> None:
        async with Door().opens() as client:
            asks = await client(head(b"/closed", 1))
            assert (await asks.answer())[0] == 401
            asks.writer.write(b"x")
            await asks.is_shown_out()

    asyncio.run(asyncio.wait_for(story(), 20))


def test_the_request_behind_a_refused_one_has_its_time() -> None:
    async def story() -> None:
        async with Door(seconds=3 * KEEP_ALIVE).opens(most=0) as client:
            asks = await client(head(b"/predict", 1) + b"x" + head(b"/other", 4) + b"next")
            assert (await asks.answer())[0] == 429
            assert await asks.answer() == (200, b"next")

    asyncio.run(asyncio.wait_for(story(), 20))
