"""HTTP/1.1 from the socket to the app: bounds on what a client makes the server hold, refusals, and time limits.

A refusal must cost next to nothing, since under overload there are many for each request that is answered: it is
decided when a request's headers are there, before the body is read and before a task or a scope is made for it.
"""

import asyncio
from typing import Any
from urllib.parse import unquote_to_bytes

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from fraudlab.serving.connections import Connections, Flow
from fraudlab.serving.refusals import Headers, Unsound, body_length, log_answer, passed_on, refusal, request_id_of
from fraudlab.serving.request import PATHS

PROBES = (b"/health/live", b"/health/ready", b"/metrics")
_END_OF_HEAD = b"\r\n\r\n"  # of a chunked body too
_UNREAD = 16 * 1024  # bytes of answers that may wait for a client to read them before it is answered no more


class _Dismissed(Exception):
    """Stops the parser: the connection has been refused."""


class Protocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 protocol with bounds.

    The parser is given one request at a time: the next one is begun when the one before is answered, and until then
    reading stops. So answers keep the order of the requests, and refusals too.

    Args:
        connections: what all of them share.
        uvicorn: what uvicorn gives its protocol.
    """

    flow: Flow

    def __init__(self, connections: Connections, **uvicorn: Any) -> None:
        super().__init__(**uvicorn)
        self._shared = connections
        self._settings = connections.settings
        self.timeout_keep_alive = connections.settings.client_timeout  # type: ignore[assignment]
        self._backlog = b""  # read and not yet parsed
        self._tail = b""  # the last bytes that were parsed: the end of a head may have come in two pieces
        self._unfinished = 0  # bytes that were parsed since the last part of a message was whole
        self._in_head = self._in_body = False
        self._left: int | None = None  # bytes of the body still to come; None where it is chunked
        self._inflight = 0  # bytes of this request's body
        self._refusing = self._close_after = self._dismissed = self._probes_only = False
        self._thrown_away = 0
        self._slow: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None

    # The connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Without uvicorn's, which asks the system for addresses that nothing here reads: a crowd connects often.
        self.connections.add(self)
        self.transport = transport  # type: ignore[assignment]
        self.scheme = "http"
        self.transport.set_write_buffer_limits(_UNREAD)
        self.flow = Flow(self.transport, lambda: self.loop.call_soon(self._feed))
        self._wait_for_request()
        settings, shared = self._settings, self._shared
        if len(self.connections) <= settings.max_connections or shared.close_one_idle(
            self.loop.time() - settings.client_timeout
        ):
            return
        self._probes_only = True
        shared.silent_probes[self] = None
        if len(self.connections) > settings.max_connections + settings.probe_connections:
            oldest = next(iter(shared.silent_probes))
            oldest.dismiss(503, "too many connections are open; try again later", linger=False)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        self._came()
        self._release()
        self._shared.idle.pop(self, None)
        self._shared.silent_probes.pop(self, None)
        if self._unread is not None:
            self._unread.cancel()
        self.flow.end()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread = self.loop.call_later(self._settings.client_timeout, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None
        self.flow.resume_reading()

    def timeout_keep_alive_handler(self) -> None:
        self.transport.abort()

    def _wait_for_request(self) -> None:
        """A client that says nothing must not hold its connection for ever."""
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def _wait_for_next(self) -> None:
        self.timeout_keep_alive = self._settings.keep_alive  # type: ignore[assignment]
        self._wait_for_request()
        self._shared.idle[self] = self.loop.time()

    # What comes in

    def data_received(self, data: bytes) -> None:
        if self._dismissed:
            self._thrown_away += len(data)
            if self._thrown_away > self._settings.max_body_bytes:
                self.transport.abort()
            return
        self._backlog += data
        self._feed()

    def _feed(self) -> None:
        """Parse what has come, up to the end of a request that is still to be answered."""
        while self._backlog and not (self._dismissed or self.flow.read_paused or self.transport.is_closing()):
            if self.flow.write_paused or self._unanswered():
                self.flow.pause_reading()
                return
            end = self._end_of_piece()
            piece, self._backlog = self._backlog[:end], self._backlog[end:]
            self._tail = (self._tail + piece[-3:])[-3:]
            self._parse(piece)
        if not (self.flow.read_paused or self.transport.is_closing() or self.transport.is_reading()):
            self.transport.resume_reading()
        if self._in_head or (self._in_body and (self._refusing or self.cycle.response_complete)):
            self._limit_time()

    def _unanswered(self) -> bool:
        between = not (self._in_head or self._in_body)
        return between and self.cycle is not None and not self.cycle.response_complete

    def _end_of_piece(self) -> int:
        """How many bytes of the backlog belong to the same request for sure."""
        if self._in_body and self._left is not None:
            return self._left
        end = (self._tail + self._backlog).find(_END_OF_HEAD)
        return len(self._backlog) if end < 0 else end + len(_END_OF_HEAD) - len(self._tail)

    def _parse(self, piece: bytes) -> None:
        self._unfinished += len(piece)
        try:
            while piece:
                try:
                    self.parser.feed_data(piece)
                    break
                except httptools.HttpParserUpgrade as upgrade:
                    piece = piece[upgrade.args[0] :]
                    self.parser.feed_data(self._head_without_upgrade())
        except httptools.HttpParserError as error:
            if not self._dismissed:
                known = isinstance(error, httptools.HttpParserCallbackError)
                says = "its address cannot be read" if known else str(error)
                other_version = "HTTP version" in says or "PRI" in says
                self.dismiss(505 if other_version else 400, f"this is no HTTP/1.1 request: {says}")
            return
        if self._unfinished > self._settings.max_head_bytes:
            self.dismiss(431, self._too_long)

    @property
    def _too_long(self) -> str:
        return f"a head, a chunk's head or a trailer has at most {self._settings.max_head_bytes} bytes"

    def _head_without_upgrade(self) -> bytes:
        """The request's head again without its offer of another protocol, which HTTP/1.1 lets a server ignore.

        The parser takes what follows an offer for the other protocol, not for a body.
        """
        method = self.parser.get_method()
        if method == b"CONNECT":
            raise httptools.HttpParserError("CONNECT is not supported")
        line = b"%b %b HTTP/%b" % (method, self.url, self.parser.get_http_version().encode())
        kept = (b"%b: %b" % header for header in self.headers if header[0] != b"upgrade")
        return b"\r\n".join([line, *kept, b"", b""])

    def _came(self) -> None:
        """The part of a request that was waited for is whole, or its connection is gone."""
        self._in_head = self._in_body = False
        self._unfinished = 0
        if self._slow is not None:
            self._slow.cancel()
            self._slow = None

    def _limit_time(self) -> None:
        """Neither silent nor done: give it a while, once."""
        if self._slow is None:
            self._slow = self.loop.call_later(self._settings.client_timeout, self.transport.abort)

    # What the parser finds

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._unset_keepalive_if_required()
        self._shared.idle.pop(self, None)
        self._in_head = True

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        if len(self.url) > self._settings.max_url_bytes:
            self._stop(414, f"an address has at most {self._settings.max_url_bytes} bytes")

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_head:
            return  # a trailer: nothing here needs one, and it must not pass for a header
        super().on_header(name, value)
        if len(self.headers) > self._settings.max_headers:
            self._stop(431, f"a request has at most {self._settings.max_headers} headers")

    def on_headers_complete(self) -> None:
        if self._unfinished > self._settings.max_head_bytes:
            self._stop(431, self._too_long)
        if self.parser.should_upgrade():
            self._came()
            return  # it comes again without
        try:
            self._left = body_length(self.parser.get_http_version(), self.headers)
        except Unsound as unsound:
            self._stop(unsound.status, str(unsound))
        self._came()
        path = self._path()
        settings, shared = self._settings, self._shared
        close = shared.closing() or not self.parser.should_keep_alive() or self.expect_100_continue
        shared.silent_probes.pop(self, None)
        if self._probes_only and path not in PROBES:
            self._refuse(503, "too many connections are open; try again later", close=True)
        elif shared.inflight_bytes + min(self._left or 0, settings.max_body_bytes) > settings.max_inflight_bytes:
            self._refuse(429, "too many bytes of requests are in work; try again later", close=close)
        elif (
            path.startswith(b"/predict")
            and self.parser.get_method() == b"POST"
            and not shared.admission.admits(len(self.tasks))
        ):
            self._refuse(429, "too many requests wait; try again later", close=close)
        else:
            super().on_headers_complete()
            # uvicorn ends the connection after an answer that says so; its 0.30 does not see here what a request asks.
            kept = self.cycle.keep_alive and self.parser.should_keep_alive()
            about = self._about_connection(close=self._probes_only or shared.closing() or not kept)
            self.cycle.default_headers = [*self.cycle.default_headers, about, *passed_on(self.headers)]
        self._in_body = True

    def _about_connection(self, *, close: bool) -> tuple[bytes, bytes]:
        return (b"connection", b"close") if close else (b"keep-alive", b"timeout=%d" % self._settings.keep_alive)

    def _path(self) -> bytes:
        """The path that is asked for; what the app will see has neither a host nor ``serving.root_path`` before it."""
        if not self.url.startswith((b"/", b"*")):
            parsed = httptools.parse_url(self.url)
            self.url = (parsed.path or b"/") + (b"?" + parsed.query if parsed.query else b"")
        root = self._settings.root_path.encode()
        if root and self.url.startswith((root + b"/", root + b"?")):
            self.url = self.url.removeprefix(root)
        return unquote_to_bytes(self.url.partition(b"?")[0])

    def on_body(self, body: bytes) -> None:
        self._unfinished = 0
        if self._left is not None:
            self._left -= len(body)
        if self._refusing or self.cycle.response_complete:
            return  # a client may send its body before it reads that nobody wants it
        if self._shared.inflight_bytes + len(body) > self._settings.max_inflight_bytes:
            self._stop(429, "too many bytes of requests are in work; try again later")
        self._inflight += len(body)
        self._shared.inflight_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        self._came()
        if not self._refusing:
            if self.cycle.response_complete:
                self._wait_for_next()
            super().on_message_complete()
            return
        self._refusing = False
        if self._close_after:
            self.transport.close()
        else:
            self._wait_for_next()

    def on_response_complete(self) -> None:
        self._release()
        super().on_response_complete()
        if self._in_body:
            self._limit_time()
        elif not self.transport.is_closing():
            self._wait_for_next()

    def _release(self) -> None:
        self._shared.inflight_bytes -= self._inflight
        self._inflight = 0

    # Refusals

    def _refuse(self, status: int, says: str, *, close: bool) -> None:
        """Answer a request in place of the app, and throw its body away."""
        self._refusing, self._close_after = True, close
        self._answer(status, says, close=close)

    def _stop(self, status: int, says: str) -> None:
        """:meth:`_dismiss` from within the parser."""
        self.dismiss(status, says)
        raise _Dismissed

    def dismiss(self, status: int, says: str, *, linger: bool = True) -> None:
        """Refuse the connection: answer, and parse no more of it.

        Where the client may still send, closing at once would let its kernel throw the answer away unread: so what
        comes is read for a while and thrown away.
        """
        self._dismissed, self._backlog = True, b""
        answered = self._in_body and (self._refusing or self.cycle.response_started)
        if self._in_body and not self._refusing:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self._came()
        self._unset_keepalive_if_required()
        self._release()
        self._shared.silent_probes.pop(self, None)
        if not answered:
            self._answer(status, says, close=True)
        if linger:
            self.flow.resume_reading()
            self.transport.write_eof()
            self._limit_time()
        else:
            self.transport.close()

    def _answer(self, status: int, says: str, *, close: bool) -> None:
        asked: Headers = self.headers or []
        further = [self._about_connection(close=close), *passed_on(asked, self._settings.cors_origins)]
        request_id = request_id_of(asked)
        self.transport.write(refusal(status, says, request_id, further))
        self._shared.on_refusal(status)
        if self._settings.access_log:
            url = self.url if self.headers is not None else b""  # as far as it came
            path = url.partition(b"?")[0].decode("latin-1")
            about = {"method": self.parser.get_method().decode()} if url else {}
            about["path"] = path if path in PATHS else "other"
            log_answer(asked, request_id=request_id, status=status, **about)
