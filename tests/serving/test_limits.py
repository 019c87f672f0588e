"""What a server does when it is asked for too much: 429, 503, 504, 408, 413; and silent clients are let go."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fraudlab import bundle as bundles
from tests.support.server import KEY, Answer, Server

IN_WORK = 3
CONNECTIONS = 12
HEAD = f"POST /predict HTTP/1.1\r\nHost: server\r\nX-API-Key: {KEY}\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
def record(exported: tuple[Path, Path]) -> dict[str, Any]:
    return bundles.load(exported[1]).golden()[0]["record"]


@pytest.fixture(scope="module")
def server(exported: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    limits = ["serving.max_records=1", f"serving.max_queue={IN_WORK}", "serving.timeout=1.5"]
    limits += ["serving.max_body_bytes=100000", f"serving.max_connections={CONNECTIONS}"]
    with Server(exported[1], tmp_path_factory.mktemp("server"), *limits) as started:
        yield started


@pytest.fixture
def frozen(server: Server) -> Iterator[Server]:
    """The server with a worker that does nothing."""
    worker = server.worker()
    worker.suspend()
    yield server
    worker.resume()


def _connect(server: Server, *parts: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=15)
    for part in parts:
        connection.sendall(part)
    return connection


def _status(connection: socket.socket) -> int:
    """The status of the next answer; 0 where the server has closed."""
    start = connection.recv(12)
    return int(start[9:12]) if start else 0


def test_what_finds_no_room_is_refused_and_what_waits_too_long_is_told(frozen: Server, record: dict[str, Any]) -> None:
    waiting: list[Answer] = []
    threads = [threading.Thread(target=lambda: waiting.append(frozen.predict(record))) for _ in range(IN_WORK)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    started = time.perf_counter()
    refused = frozen.predict(record, headers={"X-Request-ID": "mine-2"})
    assert time.perf_counter() - started < 0.5
    assert (refused.status, refused.headers["Retry-After"]) == (429, "1")
    assert refused.said == {"error": "too many requests wait; try again later", "request_id": "mine-2"}
    assert refused.headers["X-Request-ID"] == "mine-2"
    for thread in threads:
        thread.join()
    assert [answer.status for answer in waiting] == [504] * IN_WORK
    counted = frozen.ask("/metrics").text
    assert 'fraudlab_rejections_total{reason="queue"} 1.0' in counted
    assert 'fraudlab_requests_total{path="/predict",status="429"} 1.0' in counted


def test_it_is_as_before_afterwards(server: Server, record: dict[str, Any]) -> None:
    for _ in range(3):
        answer = server.predict(record)
    assert answer.status == 200


def test_a_refusal_is_told_before_the_body_comes_and_keeps_the_connection(frozen: Server, record: dict) -> None:
    body = json.dumps(record).encode()
    request = HEAD.encode() + b"Content-Length: %d\r\n\r\n" % len(body)
    waiting = [_connect(frozen, request, body) for _ in range(IN_WORK)]
    time.sleep(0.3)
    with _connect(frozen, request) as late:
        assert _status(late) == 429
        late.recv(1000)
        assert [_status(connection) for connection in waiting] == [504] * IN_WORK
        late.sendall(body + b"GET /health/live HTTP/1.1\r\nHost: server\r\n\r\n")
        assert _status(late) == 200
    for connection in waiting:
        connection.close()


def test_a_slow_body_times_out_and_takes_no_room(server: Server, record: dict[str, Any]) -> None:
    slow = [_connect(server, HEAD.encode() + b"Content-Length: 100\r\n\r\n{") for _ in range(IN_WORK + 2)]
    time.sleep(0.2)
    assert server.predict(record).status == 200
    assert [_status(connection) for connection in slow] == [408] * len(slow)
    for connection in slow:
        connection.close()


def test_a_body_without_a_length_is_measured_as_it_comes(server: Server) -> None:
    chunk = b"%x\r\n" % 60_000 + b" " * 60_000 + b"\r\n"
    with _connect(server, HEAD.encode() + b"Transfer-Encoding: chunked\r\n\r\n", chunk, chunk) as connection:
        assert _status(connection) == 413


def test_one_connection_too_many_may_only_probe(server: Server, record: dict[str, Any]) -> None:
    held = [_connect(server, b"GET /health/live HTTP/1.1\r\nHost: server\r\n\r\n") for _ in range(CONNECTIONS)]
    assert [_status(connection) for connection in held] == [200] * CONNECTIONS
    for path in ("/health/live", "/health/ready", "/metrics"):
        assert server.ask(path).status == 200
    refused = server.predict(record)
    assert (refused.status, refused.headers["Retry-After"], refused.headers["Connection"]) == (503, "1", "close")
    assert "too many connections" in refused.said["error"]
    held[0].close()
    until = time.monotonic() + 10
    while server.predict(record).status != 200:
        assert time.monotonic() < until
    for connection in held:
        connection.close()


def test_who_says_nothing_or_says_it_slowly_is_let_go(server: Server) -> None:
    silent, slow = _connect(server), _connect(server, b"POST /pre")
    with silent, slow:
        for _ in range(3):
            time.sleep(1.0)
            slow.sendall(b"d")
        assert _status(silent) == 0
        assert _status(slow) == 0
