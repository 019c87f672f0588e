"""What answers HTTP: an ASGI middleware around LitServe's app.

It stands outside of everything that LitServe and FastAPI put around a request, so that a refusal costs next to
nothing. No request reaches LitServe's app; it starts and ends the server.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any
from uuid import uuid4

import orjson

from fraudlab.bundle.contract import Refused
from fraudlab.bundle.levels import THRESHOLDS
from fraudlab.monitoring.labels import Label
from fraudlab.serving import collected, labels, logs, views
from fraudlab.serving.contract import Checked
from fraudlab.serving.dispatch import Answer, Overloaded, WorkerFailed
from fraudlab.serving.keys import EVERYONE, SCOPES, Key
from fraudlab.serving.pages import FixedAnswer
from fraudlab.serving.parts import Asked, Parts, Route
from fraudlab.serving.refusals import REQUEST_ID, log_answer
from fraudlab.serving.request import (
    ABSENT,
    JSON,
    Receive,
    Scope,
    Stop,
    challenge,
    dry_run_of,
    explain_of,
    presented_keys,
    read_body,
    refused,
)

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

_MOST_PROBLEMS = 20
_RETRY_AFTER = (b"retry-after", b"1")
_LARGE = 2**16  # bytes of a body, of which one is checked in a turn of the event loop
_LOOK_AGAIN = 0.1  # seconds between two looks at whether the server is ready
_LOCAL = ("127.0.0.1", "localhost", "::1")

_log = logging.getLogger(__name__)


class Middleware:
    """The middleware; see the module's text."""

    def __init__(self, app: ASGIApp, parts: Parts) -> None:
        self._app = app
        self._parts = parts
        self._one_large = asyncio.Lock()
        self._routes = {
            "/predict": Route("POST", frozenset(["score"]), self._predict),
            "/labels": Route("POST", frozenset(["label"]), self._labels),
            "/health/live": Route("GET", frozenset(), partial(_content, b'{"live":true}', JSON)),
            "/health/ready": Route("GET", frozenset(), self._ready),
            "/metrics": Route("GET", frozenset(["metrics"]), self._metrics),
            **{path: Route("GET", scopes, partial(_fixed, answer)) for path, (scopes, answer) in parts.told.items()},
            **views.routes(parts),
        }
        self._addresses = ", ".join([*self._routes, *(path for path in ("/docs", "/") if path in parts.pages)])
        for path, file in parts.pages.items():  # they show nothing of the bundle; the key is typed in there
            self._routes[path] = Route("GET", frozenset(), partial(_fixed, file))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            async with self._parts.lifecycle.running(), self._told_in_the_log():
                await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        path, method = scope["path"], scope["method"]
        headers = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"")
        request_id = given.decode() if REQUEST_ID.fullmatch(given) else uuid4().hex
        route = self._routes.get(path)
        extra: list[tuple[bytes, bytes]] = []
        key: Key | None = None
        try:
            if route is None or route.scopes:
                presented = presented_keys(headers)
                key = self._parts.keys.find(presented)
                if key is None:
                    extra.append(challenge(presented))
                    raise Stop(
                        401, "key", "give a valid key in the header X-API-Key, or in Authorization: Bearer <key>"
                    )
            if route is None:
                raise Stop(404, "path", f"there are: {self._addresses}")
            if key is not None and route.scopes and not route.scopes & key.scopes:
                needs = " or ".join(scope for scope in SCOPES if scope in route.scopes)
                raise Stop(403, "scope", f"the key {key.name} does not have the scope {needs}, which {path} needs")
            if method != route.method and (method, route.method) != ("HEAD", "GET"):
                extra.append((b"allow", route.method.encode()))
                raise Stop(405, "method", f"use {route.method}")
            status, body, content_type = await route.handler(Asked(scope, receive, request_id, key or EVERYONE, extra))
        except Stop as stop:
            if stop.reason != ABSENT:
                self._parts.telemetry.rejected(stop.reason)
            status, content_type = stop.status, JSON
            answer: dict[str, Any] = {"error": stop.says, "request_id": request_id}
            if stop.problems is not None:
                answer["problems"] = stop.problems[:_MOST_PROBLEMS]
            body = orjson.dumps(answer)
            if status in (429, 503):
                extra.append(_RETRY_AFTER)
        if self._parts.lifecycle.draining:
            extra.append((b"connection", b"close"))  # the client's next request finds a server that stays
        seconds = time.perf_counter() - started
        self._count(path, status, key, seconds)
        if self._parts.settings.access_log:
            about = {"request_id": request_id, "method": method, "path": path if route else "other", "status": status}
            name = {"key": key.name} if key is not None and key.name else {}
            log_answer(scope["headers"], **about, **name, milliseconds=round(1000 * seconds, 3))
        await send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [
                    (b"content-type", content_type),
                    *([] if status == 304 else [(b"content-length", str(len(body)).encode())]),
                    (b"x-request-id", request_id.encode()),
                    *extra,
                ],
            }
        )
        await send({"type": "http.response.body", "body": b"" if method == "HEAD" else body})

    def _count(self, path: str, status: int, key: Key | None, seconds: float) -> None:
        telemetry = self._parts.telemetry
        telemetry.answered(path if path in self._routes else "other", status)
        if key is not None and key.name:
            telemetry.asked_by(key.name, status)
        if path == "/predict":
            if status != 429:
                self._parts.admission.answered()
            telemetry.took("total", seconds)

    @asynccontextmanager
    async def _told_in_the_log(self) -> AsyncIterator[None]:
        """Log the start, each time that the server becomes ready or no longer is, and the end."""
        logs.configure()  # once more: uvicorn has made loggers of its own
        settings, parts = self._parts.settings, self._parts
        where = {"bundle": parts.version}
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        address = f"http://{host}:{settings.port}{settings.root_path}"
        _log.info("start: %s (/docs, /health/ready)", address, extra=where)

        async def watch() -> None:
            was = warned = False
            while True:
                if (now := parts.lifecycle.ready) != was:
                    workers = f"{parts.dispatcher.connected} of {parts.dispatcher.wanted}"
                    log = _log.info if now or parts.lifecycle.draining else _log.warning
                    log("ready" if now else "not ready", extra={**where, "workers": workers})
                    was = now
                    if now and not warned:
                        warned = True
                        self._warn_of_openness()
                await asyncio.sleep(_LOOK_AGAIN)

        watching = asyncio.get_running_loop().create_task(watch())
        try:
            yield
        finally:
            watching.cancel()
            if parts.shadow is not None:
                await parts.shadow.close()
            if parts.recorder is not None:
                parts.recorder.flush()
            _log.info("end", extra=where)

    def _warn_of_openness(self) -> None:
        host = self._parts.settings.host
        if host not in _LOCAL and not self._parts.keys.needed:
            _log.warning(
                "serving.host=%s and no key: anyone who can reach this machine can ask for scores; set "
                "FRAUDLAB_API_KEY or serving.api_key_file",
                host,
            )

    async def _predict(self, asked: Asked) -> tuple[int, bytes, bytes]:
        parts = self._parts
        query = asked.scope["query_string"]
        dry_run = dry_run_of(query)
        recorder = None if dry_run or parts.recorder is None or not parts.recorder.wanted() else parts.recorder
        shadow = None if recorder is None else parts.shadow
        what = {
            "explain": explain_of(query),
            "request_id": asked.request_id,
            "record": recorder is not None,
            "past": shadow is not None and parts.settings.history is not None,
            "dry_run": dry_run,
        }
        body, checked, (answers, rows) = await self._by_a_worker(asked, what, parts.contract.check)
        levels = [answer["risk_level"] for answer in answers]
        if not dry_run:
            parts.telemetry.scored(levels, checked.missing)
        parts.telemetry.without_history.inc(sum("without_history" in answer for answer in answers))
        parts.telemetry.without_amount.inc(sum(answer.get("rule") == THRESHOLDS for answer in answers))
        if recorder is not None:
            if shadow is None:
                recorder.journal.put(len(answers), rows)
            else:  # once this request's task has sent its answer
                past = [answer.pop("past") for answer in answers] if what["past"] else None
                asyncio.get_running_loop().call_soon(shadow.offer, body, rows, levels, past)
            if parts.alerts is not None:
                parts.alerts.add(answers, rows)
        about = {"bundle_version": parts.version, "request_id": asked.request_id}
        said = {"predictions": answers, **about} if checked.is_list else {**answers[0], **about}
        return 200, orjson.dumps(said), JSON

    async def _labels(self, asked: Asked) -> tuple[int, bytes, bytes]:
        """Tell the history, which may refuse labels, and then the record, which keeps all."""
        parts = self._parts
        if parts.settings.history is None and parts.recorder is None:
            says = "labels go to the history and to the record, and this server has neither: set serving.record_to"
            raise Stop(404, "path", f"{says} or serving.history")
        source = asked.key.name or "unknown"
        found: list[Label] = []

        def check(body: bytes) -> Checked:
            rows, is_list = parts.contract.items(body)
            found[:] = labels.checked(rows, source)
            return Checked(rows, is_list, [])

        said: dict[str, Any] = {}
        if parts.settings.history is None:
            await self._read(asked, check, self._until())
        else:  # which forgets transactions sooner than the record
            what = {"source": source, "skip_unknown": parts.recorder is not None}
            said = (await self._by_a_worker(asked, what, check))[2].said
        if parts.recorder is not None:
            try:
                await asyncio.to_thread(parts.recorder.keep, found)
            except OSError as error:
                _log.error("labels cannot be kept: %s", error.strerror)
                raise Stop(503, "labels", "the labels cannot be kept; send them again later") from None
            if parts.alerts is not None:
                parts.alerts.told(found)
        now = time.time_ns() // 1000
        if future := sum((label.event_time or 0) > now for label in found):
            said = {**said, "future": future}
        parts.telemetry.labelled([label.fraud for label in found])
        return 200, orjson.dumps({"labels": len(found), **said, "request_id": asked.request_id}), JSON

    async def _read(self, asked: Asked, check: Callable[[bytes], Checked], until: float) -> tuple[bytes, Checked]:
        """The request's body, and its items, checked."""
        parts = self._parts
        body = None
        try:
            async with asyncio.timeout_at(until):
                body = await read_body(asked.scope, asked.receive, parts.settings.max_body_bytes, parts.admission)
                if len(body) <= _LARGE:
                    return body, self._checked(check, body)
                async with self._one_large:  # or else many of them, all there at once, would hold up all others
                    await asyncio.sleep(0)
                    return body, self._checked(check, body)
        except TimeoutError:
            if body is None:
                raise Stop(408, "slow body", "the body did not arrive in time") from None
            raise self._late() from None

    async def _by_a_worker(
        self, asked: Asked, what: Mapping[str, Any], check: Callable[[bytes], Checked]
    ) -> tuple[bytes, Checked, Answer]:
        """The request's body, its items, checked, and a worker's answer to them."""
        parts = self._parts
        until = self._until()
        body, checked = await self._read(asked, check, until)
        sent = time.perf_counter()
        count = len(checked.records)
        checked.records.clear()  # beside the body they would take its room again, or several times
        try:
            async with asyncio.timeout_at(until):
                answer = await parts.dispatcher.score(body, count, what)
        except TimeoutError:
            raise self._late() from None
        except Overloaded:
            raise Stop(429, "queue", "too many requests wait; try again later") from None
        except WorkerFailed:
            raise Stop(503, "worker", "the worker failed; try again later") from None
        parts.telemetry.took("wait", time.perf_counter() - sent)
        if "away" in answer.said:
            raise Stop(
                503,
                "history",
                "the history does not answer, and may or may not have stored the labels; send them again later",
            )
        if "problems" in answer.said:
            raise refused(Refused(answer.said["problems"]))
        return body, checked, answer

    def _until(self) -> float:
        return asyncio.get_running_loop().time() + self._parts.settings.timeout

    def _late(self) -> Stop:
        return Stop(504, "timeout", f"no answer within {self._parts.settings.timeout} s; try again later")

    def _checked(self, check: Callable[[bytes], Checked], body: bytes) -> Checked:
        started = time.perf_counter()
        try:
            return check(body)
        except Refused as error:
            raise refused(error) from None
        finally:
            self._parts.telemetry.took("check", time.perf_counter() - started)

    async def _ready(self, asked: Asked) -> tuple[int, bytes, bytes]:
        lifecycle, dispatcher = self._parts.lifecycle, self._parts.dispatcher
        workers = {"up": dispatcher.connected, "wanted": dispatcher.wanted}
        says = {"ready": lifecycle.ready, "workers": workers, "draining": lifecycle.draining}
        return (200 if lifecycle.ready else 503), orjson.dumps(says), JSON

    async def _metrics(self, asked: Asked) -> tuple[int, bytes, bytes]:
        return 200, await collected.text(self._parts), collected.TEXT


async def _content(content: bytes, kind: bytes, asked: Asked) -> tuple[int, bytes, bytes]:
    """An answer that is always the same."""
    return 200, content, kind


async def _fixed(answer: FixedAnswer, asked: Asked) -> tuple[int, bytes, bytes]:
    """It, compressed where the client takes that, or that the client has it already."""
    status, body, about = answer.answer(dict(asked.scope["headers"]))
    asked.headers.extend(about)
    return status, body, answer.kind
