"""Requests that have no end or no sound form are refused, and their answer arrives."""

import json
import resource

import pytest

from tests.support.protocol import LIVE, Service, chunked, head, run

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
