"""Who is let in: no more than can be answered in time, decided when a request's headers are there.

A refusal must cost next to nothing, since under overload there are many for each request that is answered: here it is
one comparison and a few bytes, before the body is read and before a task, a scope or a count by label is made for it.
"""

import asyncio
import itertools
import re
import time
from collections.abc import Callable
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

REQUEST_ID = re.compile(rb"[\w.-]{1,64}")  # what a client may call its request
_NUMBERS = itertools.count(1)  # of refusals: a random id for each would take a call of the system
_START = b"%x" % time.time_ns()
_WINDOW = 0.25  # seconds over which the rate of answers is counted
_LEAST = 8  # requests that may be in work however slow the machine seems: a rate measured on less says little
_REFUSAL = (
    b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\nx-request-id: %b\r\n"
    b"retry-after: 1\r\n%b\r\n%b"
)
_BUSY = b'{"error":"too many requests wait; try again later","request_id":"%b"}'
_CROWDED = b'{"error":"too many connections are open; try again later","request_id":"%b"}'


class Admission:
    """How many requests may be in work so that the last of them is answered within ``wait`` seconds.

    By Little's law that is the rate of answers times ``wait``. The rate tells what the server can do only while it has
    more to do than it can: so the limit follows the rate while requests are refused, and rises again otherwise. A
    window that ends with nothing in work has counted time in which there was nothing to do: it counts for nothing.

    Args:
        wait: seconds that an accepted request should take at most.
        most: limit to start from, and never to go beyond.

    Attributes:
        limit: of requests in work.
        reading: requests whose body has not come whole: they wait for their client, not for the server.
    """

    def __init__(self, wait: float, most: int) -> None:
        self._wait = wait
        self._most = most
        self.limit = most
        self.reading = 0
        self._answers = 0
        self._refused = False
        self._since = time.monotonic()

    def admits(self, in_work: int) -> bool:
        """Whether one more may join ``in_work`` requests, of which some may still be read."""
        if in_work <= self.reading and time.monotonic() - self._since >= _WINDOW:
            self._rise()
        if in_work - self.reading < self.limit:
            return True
        self._refused = True
        return False

    def answered(self) -> None:
        """Count a request that was let in and is done with."""
        self._answers += 1
        seconds = time.monotonic() - self._since
        if seconds < _WINDOW:
            return
        if self._refused:
            fitting = self._answers / seconds * self._wait
            self.limit = max(min(_LEAST, self._most), min(self._most, round((self.limit + fitting) / 2)))
            self._begin_window()
        else:
            self._rise()

    def _rise(self) -> None:
        self.limit = min(self._most, 2 * self.limit)
        self._begin_window()

    def _begin_window(self) -> None:
        self._answers, self._refused, self._since = 0, False, time.monotonic()


class Protocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 protocol with a doorkeeper.

    Args:
        admission: asked before each ``POST /predict``.
        max_connections: further ones are answered with 503 and closed.
        max_body: bytes of a refused request that are read and thrown away before its connection is closed.
        on_refusal: told the status of each refusal.
        closing: whether connections are to end with the next answer.
        uvicorn: what uvicorn gives its protocol.
    """

    def __init__(
        self,
        admission: Admission,
        max_connections: int,
        max_body: int,
        on_refusal: Callable[[int], None],
        closing: Callable[[], bool],
        **uvicorn: Any,
    ) -> None:
        super().__init__(**uvicorn)
        self._admission = admission
        self._max_connections = max_connections
        self._max_body = max_body
        self._on_refusal = on_refusal
        self._closing = closing
        self._crowded = False
        self._in_head = False
        self._in_body = False
        self._refusing = False
        self._close_after = False
        self._thrown_away = 0
        self._slow: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        self._crowded = len(self.connections) > self._max_connections
        self._wait_for_request()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        self._came()

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        rest = memoryview(data)
        try:
            while rest:
                try:
                    self.parser.feed_data(rest)
                    break
                except httptools.HttpParserUpgrade as upgrade:
                    rest = rest[upgrade.args[0] :]
                    self.parser.feed_data(self._head_without_upgrade())
        except httptools.HttpParserError:
            says = "Invalid HTTP request received."
            self.logger.warning(says)
            self.send_400_response(says)
        if (self._in_head or self._in_unread_body()) and self._slow is None:
            # Neither silent nor done: give it a while, once.
            self._slow = self.loop.call_later(self.timeout_keep_alive, self.transport.close)

    def _head_without_upgrade(self) -> bytes:
        """The request's head again without its offer of another protocol, which HTTP/1.1 lets a server ignore.

        The parser takes what follows an offer for the other protocol, not for a body.
        """
        method = self.parser.get_method()
        if method == b"CONNECT":
            raise httptools.HttpParserError("a tunnel is demanded, not offered")
        line = b"%b %b HTTP/%b" % (method, self.url, self.parser.get_http_version().encode())
        kept = (b"%b: %b" % header for header in self.headers if header[0] != b"upgrade")
        return b"\r\n".join([line, *kept, b"", b""])

    def _in_unread_body(self) -> bool:
        return self._in_body and (self._refusing or self.cycle.response_complete)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._unset_keepalive_if_required()
        self._in_head = True

    def _came(self) -> None:
        """The part of a request that was waited for is whole, or its connection is gone."""
        self._in_head = self._in_body = False
        if self._slow is not None:
            self._slow.cancel()
            self._slow = None

    def _wait_for_request(self) -> None:
        """A client that says nothing must not hold its connection for ever."""
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def on_headers_complete(self) -> None:
        self._came()
        if self.parser.should_upgrade():
            return  # it comes again without
        pipelined = self.cycle is not None and not self.cycle.response_complete
        if pipelined:  # answers must keep the order of the requests
            super().on_headers_complete()
        elif self._crowded:
            self._refuse(503, b"503 Service Unavailable", _CROWDED, close=True)
        elif (
            self.url.startswith(b"/predict")
            and self.parser.get_method() == b"POST"
            and not self._admission.admits(len(self.tasks))
        ):
            close = self._closing() or not self.parser.should_keep_alive() or self.expect_100_continue
            self._refuse(429, b"429 Too Many Requests", _BUSY, close=close)
        else:
            super().on_headers_complete()
        self._in_body = True

    def _refuse(self, status: int, line: bytes, says: bytes, *, close: bool) -> None:
        self._refusing, self._close_after, self._thrown_away = True, close, 0
        given = next((value for name, value in self.headers if name == b"x-request-id"), b"")
        request_id = given if REQUEST_ID.fullmatch(given) else b"refused-%b-%x" % (_START, next(_NUMBERS))
        body = says % request_id
        closes = b"connection: close\r\n" if close else b""
        self.transport.write(_REFUSAL % (line, len(body), request_id, closes, body))
        self._on_refusal(status)

    def on_body(self, body: bytes) -> None:
        if not self._refusing:
            super().on_body(body)
            return
        self._thrown_away += len(body)
        if self._thrown_away > self._max_body:
            self.transport.close()

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        self._came()
        if not self._refusing:
            if self.cycle.response_complete:
                self._wait_for_request()
            super().on_message_complete()
            return
        self._refusing = False
        if self._close_after:
            self.transport.close()
        else:
            self._wait_for_request()
