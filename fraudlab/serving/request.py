"""What a request says: its key, its query, its body; and how it ends where that is no good."""

import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import Any
from urllib.parse import parse_qs

from fraudlab.bundle.contract import Refused
from fraudlab.serving.admission import Admission

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
JSON = b"application/json"
PATHS = frozenset(
    [
        "/predict",
        "/labels",
        "/alerts",
        "/drift",
        "/examples",
        "/performance",
        "/scores",
        "/statistics",
        "/training",
        "/card",
        "/health/live",
        "/health/ready",
        "/info",
        "/metrics",
        "/openapi.json",
        "/docs",
        "/",
    ]
)
NO_REFERENCE = "the bundle has no reference statistics; export its run again"
_POSITION = re.compile(r"[0-9]{1,10}")
_CHALLENGE = b'Bearer realm="fraudlab"'


ABSENT = ""
"""The reason of a :class:`Stop` that refuses nothing: what was asked for is not there, or not yet."""


class Stop(Exception):
    """A request ends here with an answer that is no score."""

    def __init__(
        self, status: int, reason: str, says: str, problems: Sequence[Mapping[str, Any]] | None = None
    ) -> None:
        super().__init__(says)
        self.status, self.reason, self.says, self.problems = status, reason, says, problems


def presented_keys(headers: Mapping[bytes, bytes]) -> list[bytes]:
    """The keys that a request carries, in X-API-Key or as a bearer's token."""
    keys = [headers[b"x-api-key"]] if b"x-api-key" in headers else []
    scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
    return [*keys, token.strip()] if scheme.lower() == b"bearer" else keys


def challenge(presented: list[bytes]) -> tuple[bytes, bytes]:
    """The header of an answer 401 to a request that carried these keys (RFC 6750)."""
    return b"www-authenticate", _CHALLENGE + (b', error="invalid_token"' if presented else b"")


def refused(error: Refused) -> Stop:
    """The answer to a request that breaks the contract."""
    return Stop(422, "contract", str(error), error.problems)


async def read_body(scope: Scope, receive: Receive, most: int, admission: Admission) -> bytes:
    """The body of a request, of ``most`` bytes at most; ``admission`` is told while the client keeps it waiting.

    Raises:
        Stop: it is no JSON by its headers, too large, or the client went away.
    """
    headers = dict(scope["headers"])
    kind = headers.get(b"content-type", JSON).split(b";")[0].strip().lower()
    if kind != JSON or headers.get(b"content-encoding", b"identity") != b"identity":
        raise Stop(415, "media type", "send application/json, not compressed")
    if int(headers.get(b"content-length", 0)) > most:
        raise Stop(413, "body", f"the body has more than {most} bytes")
    body = bytearray()  # grown in place: a list of its pieces, joined at the end, would take its room twice
    while True:
        admission.reading += 1
        try:
            message = await receive()
        finally:
            admission.reading -= 1
        if message["type"] == "http.disconnect":
            raise Stop(400, "disconnect", "the client went away")
        body += message.get("body", b"")
        if len(body) > most:
            raise Stop(413, "body", f"the body has more than {most} bytes")
        if not message.get("more_body"):
            return bytes(body)


def explain_of(query: bytes) -> int:
    """The ``k`` of ``?explain=k``, 0 without one."""
    return _whole("explain", query, 0, 0, 999)


def dry_run_of(query: bytes) -> bool:
    """Whether ``?dry_run=true`` asks for scores that leave no trace."""
    given = parse_qs(query.decode("latin-1"), keep_blank_values=True).get("dry_run", ["false"]) if query else ["false"]
    if given not in (["true"], ["false"]):
        raise Stop(422, "contract", "dry_run must be true or false, given once")
    return given == ["true"]


def hours_of(query: bytes, usual: int, most: int) -> int:
    """The ``n`` of ``?hours=n``, from 1 to ``most``; ``usual`` without one."""
    return _whole("hours", query, usual, 1, most)


def alerts_of(query: bytes, most: int) -> tuple[int, str | None, tuple[str, int] | None]:
    """The ``n`` of ``?limit=n``, from 1 to ``most``, 100 without one; the ``level``; ``request_id`` and ``position``.

    The last two name one alert: both are given, or neither.
    """
    given = parse_qs(query.decode("latin-1"), keep_blank_values=True)
    level = given.get("level", [None])
    if len(level) != 1 or level[0] not in (None, "high", "medium"):
        raise Stop(422, "contract", "level must be high or medium, given once")
    limit = _whole("limit", query, 100, 1, most)
    if "request_id" not in given and "position" not in given:
        return limit, level[0], None
    if len(given.get("request_id", [])) != 1 or not _POSITION.fullmatch(",".join(given.get("position", []))):
        raise Stop(422, "contract", "give request_id and position of one alert, each once")
    return limit, level[0], (given["request_id"][0], int(given["position"][0]))


def _whole(name: str, query: bytes, usual: int, least: int, most: int) -> int:
    if not query:
        return usual
    given = parse_qs(query.decode("latin-1"), keep_blank_values=True).get(name, [str(usual)])
    if len(given) != 1 or not re.fullmatch(r"[0-9]{1,4}", given[0]) or not least <= int(given[0]) <= most:
        raise Stop(422, "contract", f"{name} must be a whole number from {least} to {most}, given once")
    return int(given[0])
