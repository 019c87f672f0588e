"""HTTP/1.1 over real sockets, before an app of the tests' own: order, bounds, refusals, and who is let go when."""

import asyncio
import json
import resource
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
import uvloop
from uvicorn.server import ServerState

from fraudlab.config.serve import ServingConfig
from fraudlab.serving.admission import Admission
from fraudlab.serving.connections import Connections, Reader
from fraudlab.serving.protocol import Protocol

PATIENCE = 0.3  # of the server with its clients
H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
WEBSOCKET = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
LIVE = b"GET /health/live HTTP/1.1\r\nHost: server\r\n\r\n"


def head(path: bytes, length: int, more: bytes = b"") -> bytes:
    return b"POST %b HTTP/1.1\r\nHost: server\r\n%bContent-Length: %d\r\n\r\n" % (path, more, length)


def chunked(*parts: bytes) -> bytes:
    return b"POST /x HTTP/1.1\r\nHost: server\r\nTransfer-Encoding: chunked\r\n\r\n" + b"".join(parts)


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.headers: dict[str, str] = {}

    async def answer(self) -> tuple[int, bytes]:
        start = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        self.headers = {line.split(": ")[0].lower(): line.split(": ")[1] for line in start.split("\r\n")[1:] if line}
        return int(start[9:12]), await self.reader.readexactly(int(self.headers["content-length"]))

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


Connect = Callable[..., Awaitable[Client]]


class Service:
    """The protocol with an app that echoes a body after ``seconds``, or refuses ``/closed`` before it has the body."""

    def __init__(self, seconds: float = 0, most: int = 10, **settings: Any) -> None:
        self.bodies: list[bytes] = []
        self.scopes: list[Any] = []
        self.refusals: Counter[int] = Counter()
        self._seconds = seconds
        kept = {"max_body_bytes": 1024, "max_connections": 10, "keep_alive": 1, "client_timeout": PATIENCE}
        self.settings = ServingConfig(**{**kept, **settings})
        self.connections = Connections(self.settings, Admission(0.2, most), self._refused, lambda: False)
        self.state = ServerState()

    def _refused(self, status: int) -> None:
        self.refusals[status] += 1

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append(scope)
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
    async def opens(self) -> AsyncIterator[Connect]:
        """Give what makes a client."""
        config = uvicorn.Config(self._app, interface="asgi3", log_config=None, ws="none", lifespan="off")
        config.load()

        def protocol() -> Reader:
            return Reader(Protocol(self.connections, config=config, server_state=self.state, app_state={}))

        async with await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]

            async def client(*parts: bytes) -> Client:
                made = Client(*await asyncio.open_connection("127.0.0.1", port))
                for part in parts:
                    made.writer.write(part)
                    await asyncio.sleep(0.05)
                return made

            yield client


def run(story: Callable[[], Awaitable[None]]) -> None:
    uvloop.run(asyncio.wait_for(story(), 20))  # type: ignore[arg-type]


@pytest.mark.parametrize("offer", [H2C, WEBSOCKET], ids=["h2c", "websocket"])
@pytest.mark.parametrize("split", [True, False])
def test_an_offer_of_another_protocol_is_ignored_and_the_body_stays_a_body(offer: bytes, split: bool) -> None:
    body = b"GET /inner HTTP/1.1\r\nHost: server\r\n\r\n"
    request = head(b"/predict", len(body), offer)

    async def story() -> None:
        server = Service()
        async with server.opens() as client:
            parts = [request, body] if split else [request + body + head(b"/predict", 4) + b"next"]
            asks = await client(*parts)
            assert await asks.answer() == (200, body)
            if split:
                asks.writer.write(head(b"/predict", 4) + b"next")
            assert await asks.answer() == (200, b"next")
        assert server.bodies == [body, b"next"]

    run(story)


def test_many_offers_in_one_piece_are_ignored_one_by_one() -> None:
    async def story() -> None:
        async with Service().opens() as client:
            asks = await client((head(b"/predict", 1, H2C) + b"x") * 1500)
            for _ in range(1500):
                assert await asks.answer() == (200, b"x")

    run(story)


def test_a_tunnel_is_refused() -> None:
    async def story() -> None:
        async with Service().opens() as client:
            asks = await client(b"CONNECT elsewhere:1 HTTP/1.1\r\nHost: elsewhere\r\n\r\n")
            assert (await asks.answer())[0] == 400
            await asks.is_shown_out()

    run(story)


@pytest.mark.parametrize("drip", [b"", b"x"])
@pytest.mark.parametrize(
    ("path", "most", "settings", "status"),
    [
        (b"/closed", 10, {}, 401),
        (b"/predict", 0, {}, 429),
        (b"/", 10, {"max_connections": 1, "probe_connections": 1}, 503),
    ],
)
def test_a_body_that_nobody_reads_must_end_soon(
    path: bytes, most: int, settings: dict[str, Any], status: int, drip: bytes
) -> None:
    async def story() -> None:
        async with Service(most=most, **settings).opens() as client:
            taken = await client(head(b"/slow", 900), b"{")
            asks = await client(head(path, 900), b"{")
            assert (await asks.answer())[0] == status
            await asks.is_shown_out(drip)
            taken.writer.close()

    run(story)


def test_who_is_idle_after_a_late_body_is_let_go() -> None:
    async def story() -> None:
        async with Service().opens() as client:
            asks = await client(head(b"/closed", 1))
            assert (await asks.answer())[0] == 401
            asks.writer.write(b"x")
            await asks.is_shown_out()

    run(story)


def test_the_request_behind_a_refused_one_has_its_time() -> None:
    async def story() -> None:
        async with Service(seconds=3 * PATIENCE, most=0).opens() as client:
            asks = await client(head(b"/predict", 1) + b"x" + head(b"/other", 4) + b"next")
            assert (await asks.answer())[0] == 429
            assert await asks.answer() == (200, b"next")

    run(story)


# A request that is longer than its bound in one of its parts, and the answer.
TOO_LONG = {
    "many headers": (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 100 + b"\r\n", 431),
    "many headers without end": (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 100_000, 431),
    "one long header": (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"b" * 33_000 + b"\r\n\r\n", 431),
    "one long header without end": (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"b" * 1_000_000, 431),
    "a long name of a header": (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"b" * 1_000_000, 431),
    "a long address": (b"GET /" + b"a" * 8192 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
    "a long address without end": (b"GET /" + b"a" * 1_000_000, 414),
    "a long query": (b"GET /?" + b"a" * 8192 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
    "a long method": (b"G" * 1_000_000, 400),
    "a trailer without end": (chunked(b"0\r\n", b"A: " + b"b" * 1_000_000), 431),
    "trailers without end": (chunked(b"0\r\n", b"A: b\r\n" * 100_000), 431),
    "a chunk's extension without end": (chunked(b"1;a=", b"b" * 1_000_000), 431),
    "blank lines without end": (b"\r\n" * 500_000, 431),
}


@pytest.mark.parametrize(("request_", "status"), TOO_LONG.values(), ids=TOO_LONG)
def test_what_has_no_end_is_refused_and_its_answer_arrives(request_: bytes, status: int) -> None:
    async def story() -> None:
        server = Service(max_body_bytes=2**20)
        async with server.opens() as client:
            asks, other = await client(), await client(LIVE)
            asks.writer.write(request_)  # goes on to be sent while the answer is on its way
            said, body = await asks.answer()
            assert said == status
            assert json.loads(body)["request_id"].startswith("refused-")
            assert await other.answer() == (200, b"")
            await asks.is_shown_out()
            assert server.refusals == {status: 1}
            assert not server.connections.inflight_bytes

    run(story)


def test_a_flood_of_headers_costs_no_memory_and_ends() -> None:
    async def story() -> None:
        async with Service().opens() as client:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            asks = await client(b"GET / HTTP/1.1\r\nHost: x\r\n")
            await asks.is_shown_out(b"A: b\r\n" * 20_000)
            assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000  # kB

    run(story)


def test_a_head_that_fills_its_bounds_is_taken() -> None:
    async def story() -> None:
        start = b"GET /" + b"a" * 8191 + b" HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 98 + b"Z: "
        async with Service().opens() as client:
            asks = await client(start + b"z" * (2**15 - len(start) - 4) + b"\r\n\r\n" + LIVE)
            assert await asks.answer() == (200, b"")
            assert await asks.answer() == (200, b"")

    run(story)


def test_trailers_are_thrown_away_and_pass_for_no_header() -> None:
    async def story() -> None:
        server = Service()
        async with server.opens() as client:
            asks = await client(chunked(b"2\r\nab\r\n", b"0\r\nX-API-Key: k\r\nHost: y\r\n\r\n") + LIVE)
            assert await asks.answer() == (200, b"ab")
            assert await asks.answer() == (200, b"")
        assert dict(server.scopes[0]["headers"]) == {b"host": b"server", b"transfer-encoding": b"chunked"}

    run(story)


# What HTTP/1.1 has another answer for than the app's.
UNSOUND = {
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two hosts": (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
    "two hosts of HTTP/1.0": (b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    "no name of a host": (b"GET / HTTP/1.1\r\nHost: a b/c\r\n\r\n", 400),
    "HTTP/0.9": (b"GET /\r\n\r\n", 505),
    "HTTP/1.2": (b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505),
    "HTTP/2.0": (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
    "HTTP/3.0": (b"GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505),
    "HTTP/2 without an offer": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "a coding before chunked": (
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        501,
    ),
    "an unknown coding": (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501),
    "chunked twice": (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400),
    "chunked in HTTP/1.0": (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "chunked with a length": (chunked().replace(b"Host", b"Content-Length: 1\r\nHost") + b"0\r\n\r\n", 400),
    "two lengths": (head(b"/", 1, b"Content-Length: 2\r\n") + b"xx", 400),
    "a chunk without a length": (chunked(b"x\r\n"), 400),
    "an address of no kind": (b"GET ://// HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "bytes": (bytes(range(256)), 400),
}


@pytest.mark.parametrize(("request_", "status"), UNSOUND.values(), ids=UNSOUND)
def test_an_unsound_request_is_refused_after_the_answers_to_those_before(request_: bytes, status: int) -> None:
    async def story() -> None:
        server = Service(seconds=0.1)
        async with server.opens() as client:
            asks = await client(LIVE + request_ + LIVE)
            assert await asks.answer() == (200, b"")
            assert (await asks.answer())[0] == status
            assert asks.headers["connection"] == "close"
            await asks.is_shown_out()
            assert server.refusals == {status: 1}

    run(story)


@pytest.mark.parametrize("address", [b"http://server/predict?a=b", b"/%70redict?a=b"])
def test_a_path_is_the_same_however_it_is_spelled(address: bytes) -> None:
    async def story() -> None:
        server = Service(most=0)
        async with server.opens() as client:
            assert (await (await client(head(address, 1) + b"x")).answer())[0] == 429
            assert (await (await client(head(b"http://server", 1) + b"x")).answer())[0] == 200
        assert server.scopes[0]["path"] == "/"

    run(story)


def test_reading_stops_while_a_request_is_in_work_and_no_answer_is_lost() -> None:
    async def story() -> None:
        server = Service(seconds=0.01)
        async with server.opens() as client:
            asks = await client()
            asks.writer.transport.set_write_buffer_limits(0)
            request = head(b"/x", 1000) + b"x" * 1000
            sending = asyncio.create_task(_send(asks, request * 20_000))
            for _ in range(20):
                assert await asks.answer() == (200, b"x" * 1000)
            assert not sending.done()  # more than 20 MB, which the sockets do not hold
            assert len(server.scopes) < 30
            asks.writer.transport.abort()
            sending.cancel()

    run(story)


async def _send(client: Client, data: bytes) -> None:
    client.writer.write(data)
    await client.writer.drain()


def test_who_reads_no_answers_is_let_go_and_holds_little() -> None:
    async def story() -> None:
        server = Service()
        async with server.opens() as client:
            asks = await client()
            asks.reader._transport.pause_reading()  # type: ignore[attr-defined]
            sending = asyncio.create_task(_send(asks, (head(b"/x", 1000) + b"x" * 1000) * 20_000))
            while not server.state.connections:
                await asyncio.sleep(0.05)
            while server.state.connections:
                held = [each.transport.get_write_buffer_size() for each in server.state.connections]
                assert max(held) < 20_000
                await asyncio.sleep(0.02)
            sending.cancel()
            assert not server.state.tasks

    run(story)


def test_bodies_in_work_are_bounded_over_all_connections() -> None:
    async def story() -> None:
        server = Service(seconds=0.3, max_body_bytes=10_000, max_inflight_bytes=20_000)
        async with server.opens() as client:
            first = [await client(head(b"/x", 9000) + b"x" * 9000) for _ in range(2)]
            declared = await client(head(b"/x", 9000) + b"x" * 9000 + head(b"/x", 1) + b"x")
            assert (await declared.answer())[0] == 429
            assert declared.headers["retry-after"] == "1"
            measured = await client(chunked(b"2328\r\n" + b"x" * 9000 + b"\r\n0\r\n\r\n"))
            assert (await measured.answer())[0] == 429
            assert [(await each.answer())[0] for each in first] == [200, 200]
            assert await declared.answer() == (200, b"x")
            assert (await (await client(head(b"/x", 9000) + b"x" * 9000)).answer())[0] == 200
            assert not server.connections.inflight_bytes

    run(story)


def test_a_connection_waits_longer_for_a_further_request_than_for_its_first_and_says_so() -> None:
    async def story() -> None:
        async with Service(keep_alive=2).opens() as client:
            asks, silent = await client(LIVE), await client()
            await asks.answer()
            assert asks.headers["keep-alive"] == "timeout=2"
            await silent.is_shown_out()
            await asyncio.sleep(2 * PATIENCE)
            asks.writer.write(LIVE)
            assert (await asks.answer())[0] == 200
            asks.writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            await asks.answer()
            assert (asks.headers.get("keep-alive"), asks.headers["connection"]) == (None, "close")

    run(story)


def test_idle_connections_make_room_the_longest_idle_first() -> None:
    async def story() -> None:
        async with Service(max_connections=3, keep_alive=60).opens() as client:
            idle = []
            for _ in range(3):
                idle.append(await client(LIVE))
                assert (await idle[-1].answer())[0] == 200
            idle[0].writer.write(LIVE)  # now it is the second that is idle for longest
            await idle[0].answer()
            refused = await client(head(b"/predict", 0))
            assert (await refused.answer())[0] == 503  # none of them is idle for long
            await refused.is_shown_out()
            await asyncio.sleep(PATIENCE)
            assert (await (await client(head(b"/predict", 0))).answer())[0] == 200
            await idle[1].is_shown_out()
            for each in idle[0], idle[2]:
                each.writer.write(LIVE)
                assert (await each.answer())[0] == 200

    run(story)


def test_probes_have_places_that_silent_clients_cannot_take() -> None:
    async def story() -> None:
        server = Service(max_connections=2, probe_connections=3, client_timeout=5)
        async with server.opens() as client:
            taken = [await client(head(b"/x", 10)) for _ in range(2)]
            silent = [await client() for _ in range(10)]
            for path in (b"/health/live", b"/health/ready", b"/metrics"):
                probe = await client(LIVE.replace(b"/health/live", path))
                assert (await probe.answer())[0] == 200
                assert probe.headers["connection"] == "close"
            asks = await client(head(b"/predict", 0))
            assert (await asks.answer())[0] == 503
            assert asks.headers["retry-after"] == "1"
            for each in silent[:7]:
                assert (await each.answer())[0] == 503
                await each.is_shown_out()
            assert len(server.state.connections) <= 5
            for each in taken:
                each.writer.write(b"x" * 10)
                assert (await each.answer())[0] == 200

    run(story)


def test_a_trace_is_passed_on_in_a_refusal() -> None:
    async def story() -> None:
        trace = b"00-%032x-%016x-01" % (11, 7)
        async with Service(most=0).opens() as client:
            asks = await client(head(b"/predict", 0, b"traceparent: %b\r\nX-Request-ID: mine\r\n" % trace))
            assert json.loads((await asks.answer())[1])["request_id"] == "mine"
            assert asks.headers["traceparent"] == trace.decode()

    run(story)


@pytest.mark.parametrize(("path", "status"), [(b"/closed", 401), (b"/predict", 429)])
def test_a_large_body_that_nobody_wants_does_not_hide_the_answer(path: bytes, status: int) -> None:
    async def story() -> None:
        async with Service(most=0, client_timeout=5).opens() as client:
            asks = await client()
            await _send(asks, head(path, 10**7) + b"x" * 10**7 + LIVE)
            assert (await asks.answer())[0] == status
            assert (await asks.answer())[0] == 200

    run(story)
