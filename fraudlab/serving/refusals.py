"""What the protocol refuses in place of the app, and how; and a line of the access log, whoever answers."""

import itertools
import logging
import re
import time
from collections.abc import Sequence
from typing import Any

import orjson
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from fraudlab.serving import logs

REQUEST_ID = re.compile(rb"[\w.-]{1,64}")  # what a client may call its request
_TRACEPARENT = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")  # W3C Trace Context
_HOST = re.compile(rb"[\w.~!$&'()*+,;=%:\[\]-]*")
_NUMBERS = itertools.count(1)  # of refusals: a random id for each would take a call of the system
_START = b"%x" % time.time_ns()

Headers = list[tuple[bytes, bytes]]
_access = logging.getLogger(logs.ACCESS)


class Unsound(Exception):
    """A head that HTTP/1.1 has an answer of its own for."""

    def __init__(self, status: int, says: str) -> None:
        super().__init__(says)
        self.status = status


def body_length(version: str, headers: Headers) -> int | None:
    """Declared bytes of a request's body; None where it comes in chunks.

    Raises:
        Unsound: the version is another than HTTP/1.0 and 1.1, the host is not named once, or the body's coding is
            not known.
    """
    if version not in ("1.0", "1.1"):
        raise Unsound(505, "this server speaks HTTP/1.1")
    hosts: list[bytes] = []
    length: int | None = 0
    for name, value in headers:
        if name == b"host":
            hosts.append(value)
        elif name == b"content-length":
            length = int(value)  # the parser has read it as a number
        elif name == b"transfer-encoding":
            length = None
            if value.lower() != b"chunked":
                raise Unsound(501, "the only transfer coding that the server supports is chunked")
    if len(hosts) > 1 or (not hosts and version == "1.1") or not all(map(_HOST.fullmatch, hosts)):
        raise Unsound(400, "a request needs exactly one header Host")
    if length is None and version == "1.0":
        raise Unsound(400, "HTTP/1.0 has no chunked bodies")
    return length


def request_id_of(asked: Headers) -> str:
    """What a request that is refused is called: by its client, or by a number.

    Args:
        asked: headers of the request, as far as they came.
    """
    given = next((value for name, value in asked if name == b"x-request-id"), b"")
    return (given if REQUEST_ID.fullmatch(given) else b"refused-%b-%x" % (_START, next(_NUMBERS))).decode()


def refusal(status: int, says: str, request_id: str, further: Headers) -> bytes:
    """An answer of JSON that says why there is no other.

    Args:
        status: 429 and 503 ask the client to try again after a second.
        says: goes into the body.
        request_id: goes into the body and a header.
        further: headers of the answer.
    """
    body = orjson.dumps({"error": says, "request_id": request_id})
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"x-request-id", request_id.encode()),
        *([(b"retry-after", b"1")] if status in (429, 503) else []),
        *further,
    ]
    return STATUS_LINE[status] + b"".join(b"%b: %b\r\n" % header for header in headers) + b"\r\n" + body


def passed_on(asked: Headers, origins: Sequence[str] = ()) -> Headers:
    """Headers of an answer for what the request carries: its trace, and leave for a web page to read it.

    Args:
        asked: headers of the request.
        origins: whose pages may; the app has a middleware for it.
    """
    headers: Headers = []
    for name, value in asked:
        if name == b"traceparent" and _TRACEPARENT.fullmatch(value):
            headers.append((name, value))
        elif name == b"origin" and ("*" in origins or value.decode("latin-1") in origins):
            headers += [(b"access-control-allow-origin", value), (b"vary", b"Origin")]
    return headers


def log_answer(asked: Headers, **about: Any) -> None:
    """Write a line of the access log.

    Args:
        asked: headers of the request, of which the trace is kept.
        about: of :data:`fraudlab.serving.logs.FIELDS`.
    """
    _access.info("answer", extra={**about, **{name.decode(): value.decode() for name, value in passed_on(asked)}})
