"""The HTTP face: an ASGI middleware around LitServe's app that answers every path of ours.

It stands outside of everything that LitServe and FastAPI put around a request, so that a refusal costs next to
nothing. Only the pages of the API's documentation reach LitServe's app.
"""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs
from uuid import uuid4

import orjson

from fraudlab.config.serve import ServingConfig
from fraudlab.serving.admission import Admission
from fraudlab.serving.contract import Checked, Contract, Refused
from fraudlab.serving.dispatch import Dispatcher, Overloaded, WorkerFailed
from fraudlab.serving.keys import Keys
from fraudlab.serving.lifecycle import Lifecycle
from fraudlab.serving.recording import Recorder
from fraudlab.serving.refusals import REQUEST_ID
from fraudlab.serving.telemetry import Telemetry

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

_JSON = b"application/json"
_MOST_PROBLEMS = 20
_RETRY_AFTER = (b"retry-after", b"1")


class _Stop(Exception):
    """A request ends here with an answer that is no score."""

    def __init__(self, status: int, reason: str, says: str, problems: list[dict[str, Any]] | None = None) -> None:
        super().__init__(says)
        self.status, self.reason, self.says, self.problems = status, reason, says, problems


@dataclass(frozen=True)
class Parts:
    """What the face stands on.

    Attributes:
        info: answer of ``/info``.
    """

    settings: ServingConfig
    keys: Keys
    contract: Contract
    admission: Admission
    dispatcher: Dispatcher
    telemetry: Telemetry
    lifecycle: Lifecycle
    recorder: Recorder | None
    version: str
    info: bytes


class Face:
    """The middleware; see the module's text."""

    def __init__(self, app: ASGIApp, parts: Parts) -> None:
        self._app = app
        self._parts = parts
        self._paths: dict[str, tuple[str, Callable[[Scope, Receive, str], Awaitable[tuple[int, bytes, bytes]]]]] = {
            "/predict": ("POST", self._predict),
            "/health/live": ("GET", self._live),
            "/health/ready": ("GET", self._ready),
            "/info": ("GET", self._info),
            "/metrics": ("GET", self._metrics),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            try:
                async with self._parts.lifecycle.running():
                    await self._app(scope, receive, send)
            finally:
                if self._parts.recorder is not None:
                    self._parts.recorder.flush()
            return
        started = time.perf_counter()
        path = scope["path"]
        headers = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"")
        request_id = given.decode() if REQUEST_ID.fullmatch(given) else uuid4().hex
        extra: list[tuple[bytes, bytes]] = []
        try:
            if not path.startswith("/health/") and not self._parts.keys.open(headers.get(b"x-api-key")):
                raise _Stop(401, "key", "give a valid key in the header X-API-Key")
            if path in ("/docs", "/openapi.json", "/docs/oauth2-redirect"):
                await self._app(scope, receive, send)
                return
            if path not in self._paths:
                raise _Stop(404, "path", f"there are: {', '.join(self._paths)}, /docs")
            method, handler = self._paths[path]
            if scope["method"] not in (method, "HEAD" if method == "GET" else method):
                extra.append((b"allow", method.encode()))
                raise _Stop(405, "method", f"use {method}")
            status, body, content_type = await handler(scope, receive, request_id)
        except _Stop as stop:
            self._parts.telemetry.rejected(stop.reason)
            status, content_type = stop.status, _JSON
            answer: dict[str, Any] = {"error": stop.says, "request_id": request_id}
            if stop.problems is not None:
                answer["problems"] = stop.problems
            body = orjson.dumps(answer)
            if status in (429, 503):
                extra.append(_RETRY_AFTER)
        if self._parts.lifecycle.draining:
            extra.append((b"connection", b"close"))  # the client's next request finds a server that stays
        self._parts.telemetry.answered(path if path in self._paths else "other", status)
        if path == "/predict":
            if status != 429:
                self._parts.admission.answered()
            self._parts.telemetry.took("total", time.perf_counter() - started)
        await send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [
                    (b"content-type", content_type),
                    (b"content-length", str(len(body)).encode()),
                    (b"x-request-id", request_id.encode()),
                    *extra,
                ],
            }
        )
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    async def _predict(self, scope: Scope, receive: Receive, request_id: str) -> tuple[int, bytes, bytes]:
        parts = self._parts
        explain = _explain(scope["query_string"])
        stage = "body"
        try:
            async with asyncio.timeout(parts.settings.timeout):
                body = await self._body(scope, receive)
                stage = "score"
                checked = self._check(body)
                asked = time.perf_counter()
                answers = await parts.dispatcher.score(body, len(checked.records), explain)
        except TimeoutError:
            if stage == "body":
                raise _Stop(408, "slow body", "the body did not come in time") from None
            raise _Stop(504, "timeout", f"no score within {parts.settings.timeout} s; try again later") from None
        except Overloaded:
            raise _Stop(429, "queue", "too many requests wait; try again later") from None
        except WorkerFailed:
            raise _Stop(503, "worker", "the worker failed; try again later") from None
        parts.telemetry.took("wait", time.perf_counter() - asked)
        if isinstance(answers, str):
            raise _Stop(422, "contract", answers)
        parts.telemetry.scored([answer["risk_level"] for answer in answers], checked.missing)
        if parts.recorder is not None and not parts.recorder.put(request_id, checked.records, answers):
            parts.telemetry.unrecorded.inc(len(answers))
        about = {"bundle_version": parts.version, "request_id": request_id}
        said = {"predictions": answers, **about} if checked.is_list else {**answers[0], **about}
        return 200, orjson.dumps(said), _JSON

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        headers = dict(scope["headers"])
        kind = headers.get(b"content-type", _JSON).split(b";")[0].strip().lower()
        if kind != _JSON or headers.get(b"content-encoding", b"identity") != b"identity":
            raise _Stop(415, "media type", "send application/json, not compressed")
        most = self._parts.settings.max_body_bytes
        if int(headers.get(b"content-length", 0)) > most:
            raise _Stop(413, "body", f"the body has more than {most} bytes")
        chunks, size = [], 0
        while True:
            self._parts.admission.reading += 1
            try:
                message = await receive()
            finally:
                self._parts.admission.reading -= 1
            if message["type"] == "http.disconnect":
                raise _Stop(400, "disconnect", "the client went away")
            chunks.append(message.get("body", b""))
            size += len(chunks[-1])
            if size > most:
                raise _Stop(413, "body", f"the body has more than {most} bytes")
            if not message.get("more_body"):
                return b"".join(chunks)

    def _check(self, body: bytes) -> Checked:
        started = time.perf_counter()
        try:
            return self._parts.contract.check(body)
        except Refused as refused:
            problems = refused.problems
            first = problems[0]
            where = " ".join(f"{name} {first[name]}" for name in ("record", "field") if first[name] is not None)
            says = f"{where}: {first['problem']}" if where else first["problem"]
            raise _Stop(422, "contract", says, problems[:_MOST_PROBLEMS]) from None
        finally:
            self._parts.telemetry.took("check", time.perf_counter() - started)

    async def _live(self, scope: Scope, receive: Receive, request_id: str) -> tuple[int, bytes, bytes]:
        return 200, b'{"live":true}', _JSON

    async def _ready(self, scope: Scope, receive: Receive, request_id: str) -> tuple[int, bytes, bytes]:
        lifecycle, dispatcher = self._parts.lifecycle, self._parts.dispatcher
        workers = {"up": dispatcher.connected, "wanted": dispatcher.wanted}
        says = {"ready": lifecycle.ready, "workers": workers, "draining": lifecycle.draining}
        return (200 if lifecycle.ready else 503), orjson.dumps(says), _JSON

    async def _info(self, scope: Scope, receive: Receive, request_id: str) -> tuple[int, bytes, bytes]:
        return 200, self._parts.info, _JSON

    async def _metrics(self, scope: Scope, receive: Receive, request_id: str) -> tuple[int, bytes, bytes]:
        telemetry = self._parts.telemetry
        telemetry.queue.set(self._parts.dispatcher.waiting_records)
        telemetry.limit.set(self._parts.admission.limit)
        telemetry.ready.set(self._parts.lifecycle.ready)
        if self._parts.recorder is not None:
            telemetry.unrecorded.inc(self._parts.recorder.newly_lost())
        return 200, telemetry.page(), b"text/plain; version=0.0.4; charset=utf-8"


def _explain(query: bytes) -> int:
    """The ``k`` of ``?explain=k``, 0 without one."""
    if not query:
        return 0
    given = parse_qs(query.decode("latin-1"), keep_blank_values=True).get("explain", ["0"])
    if len(given) != 1 or not re.fullmatch(r"[0-9]{1,3}", given[0]):
        raise _Stop(422, "contract", "explain must be a whole number from 0 to 999, given once")
    return int(given[0])
