"""Addresses for people: ``/alerts``, ``/performance`` and ``/statistics``, and how they are described in OpenAPI."""

import asyncio
import socket
from collections.abc import Mapping
from functools import partial
from typing import Any

import orjson

from fraudlab.serving.parts import Asked, Parts, Route
from fraudlab.serving.people import MOST_ALERTS, statistics
from fraudlab.serving.request import JSON, Stop, alerts_of

_NUMBER = {"type": ["number", "null"]}
_SINCE = {"type": "string", "format": "date-time"}
_HERE = {"instance": {"type": "string", "description": "host and port"}, "bundle_version": {"type": "string"}}
_ALERT: dict[str, Any] = {
    "type": "object",
    "required": ["request_id", "position", "scored_at", "score", "risk_level"],
    "properties": {
        "request_id": {"type": "string"},
        "position": {"type": "integer", "description": "in the list of that request, from 0"},
        "transaction_id": {"type": ["string", "null"]},
        "transaction_time": {"type": ["string", "null"]},
        "scored_at": _SINCE,
        "raw_score": {"type": "number", "description": "before calibration"},
        "score": {"type": "number"},
        "risk_level": {"enum": ["medium", "high"]},
        "reasons": {"type": ["array", "null"], "items": {"type": "object"}, "description": "serving.record_reasons"},
        "decision": {"type": ["string", "null"]},
    },
}
_ALERTS: dict[str, Any] = {
    "type": "object",
    "required": [*_HERE, "since", "kept", "alerts"],
    "properties": {**_HERE, "since": _SINCE, "kept": {"type": "integer"}, "alerts": {"type": "array", "items": _ALERT}},
}
_REPORT: dict[str, Any] = {
    "type": "object",
    "required": ["as_of", "clock", "mature_days", "weeks", "past_estimates"],
    "properties": {
        "as_of": _SINCE,
        "clock": {"enum": ["received", "transaction"]},
        "mature_days": {"type": "integer"},
        "weeks": {"type": "array", "items": {"type": "object"}},
        "past_estimates": {"type": "object"},
    },
}
_COUNTS = {"type": "object", "additionalProperties": {"type": "integer"}}
_STATISTICS: dict[str, Any] = {
    "type": "object",
    "required": [*_HERE, "since", "requests", "refusals", "seconds", "scored", "alerts_per_1000"],
    "properties": {
        **_HERE,
        "since": _SINCE,
        "requests": {"type": "object", "additionalProperties": _COUNTS, "description": "by path and status"},
        "refusals": {**_COUNTS, "description": "by reason"},
        "seconds": {
            "type": "object",
            "additionalProperties": {"type": "object", "additionalProperties": _NUMBER},
            "description": "percentiles by stage, from the histograms of /metrics",
        },
        "scored": {"type": "integer"},
        "alerts_per_1000": {
            "type": "object",
            "additionalProperties": {"type": "object", "properties": {"seen": _NUMBER, "budget": {"type": "number"}}},
            "description": "counted from the top: medium has the high ones too",
        },
    },
}
Described = tuple[str, dict[str, Any], list[dict[str, Any]], dict[str, str]]
"""Of an address: summary, schema of the answer, parameters, and what other statuses say."""
DESCRIBED: dict[str, Described] = {
    "/alerts": (
        "The latest alerts that this instance recorded since its start or reload, the newest first",
        _ALERTS,
        [
            {
                "name": "limit",
                "in": "query",
                "required": False,
                "schema": {"type": "integer", "minimum": 1, "maximum": MOST_ALERTS, "default": 100},
            },
            {"name": "level", "in": "query", "required": False, "schema": {"enum": ["high", "medium"]}},
        ],
        {"404": "there is no record", "422": "limit or level is no such thing"},
    ),
    "/performance": (
        "The newest report that python -m fraudlab.performance kept in this instance's record",
        _REPORT,
        [],
        {"404": "none is kept; the answer says how to make one"},
    ),
    "/statistics": ("What this instance has answered since it started, reloads included", _STATISTICS, [], {}),
}


def routes(parts: Parts) -> dict[str, Route]:
    """What answers, by path."""
    handlers = {"/alerts": _alerts, "/performance": _performance, "/statistics": _statistics}
    return {path: Route("GET", frozenset(["read"]), partial(handler, parts)) for path, handler in handlers.items()}


async def _alerts(parts: Parts, asked: Asked) -> tuple[int, bytes, bytes]:
    if parts.alerts is None:
        raise Stop(404, "path", "alerts are those of the record; start the server with serving.record_to=<folder>")
    limit, level = alerts_of(asked.scope["query_string"], MOST_ALERTS)
    return _said(parts, parts.alerts.answer(limit, level))


async def _performance(parts: Parts, asked: Asked) -> tuple[int, bytes, bytes]:
    report = None if parts.performance is None else await asyncio.to_thread(parts.performance.answer)
    if report is None:
        says = "no report is kept: start the server with serving.record_to=<folder>, and once labels came run "
        says += "python -m fraudlab.performance bundle=<bundle> records=<folder> mature_days=45 out=<folder>"
        raise Stop(404, "path", says)
    return 200, orjson.dumps(report), JSON


async def _statistics(parts: Parts, asked: Asked) -> tuple[int, bytes, bytes]:
    return _said(parts, statistics(parts.telemetry, parts.budget))


def _said(parts: Parts, said: Mapping[str, Any]) -> tuple[int, bytes, bytes]:
    """An answer that says which instance it is of."""
    instance = f"{socket.gethostname()}:{parts.settings.port}"
    return 200, orjson.dumps({"instance": instance, "bundle_version": parts.version, **said}), JSON
