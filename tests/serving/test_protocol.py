"""HTTP/1.1 over real sockets, before an app of the tests' own: order, bounds, refusals, and who is let go when."""

import asyncio
import json
from typing import Any

import pytest

from tests.support.protocol import LIVE, PATIENCE, Client, Service, chunked, head, run

H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
WEBSOCKET = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"


async def _send(client: Client, data: bytes) -> None:
    client.writer.write(data)
    await client.writer.drain()


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
