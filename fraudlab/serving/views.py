"""Addresses for people, such as ``/alerts`` and ``/scores``, and how they and what is told are described in OpenAPI."""

import asyncio
import socket
from collections.abc import Mapping
from functools import partial
from typing import Any

import orjson

from fraudlab.serving.drift import MOST_HOURS, USUAL_HOURS
from fraudlab.serving.parts import READABLE, Asked, Parts, Route
from fraudlab.serving.people import MOST_ALERTS, statistics
from fraudlab.serving.request import ABSENT, JSON, NO_REFERENCE, Stop, alerts_of, hours_of

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
        "label": {
            "type": ["object", "null"],
            "required": ["fraud", "source", "event_time"],
            "properties": {
                "fraud": {"type": ["boolean", "null"], "description": "null: taken back"},
                "source": {"type": "string"},
                "event_time": _SINCE,
            },
            "description": "the latest label sent to POST /labels",
        },
        "inputs": {"type": "object", "description": "as recorded; only where request_id and position are given"},
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
    "required": [
        *_HERE,
        "since",
        "requests",
        "refusals",
        "seconds",
        "latency",
        "scored",
        "alerts_per_1000",
        "challenger",
    ],
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
        "latency": {
            "type": "object",
            "required": ["bounds", "counts"],
            "properties": {
                "bounds": {"type": "array", "items": {"type": "number"}, "description": "seconds, rising"},
                "counts": {"type": "array", "items": {"type": "integer"}, "description": "up to each bound, and above"},
            },
            "description": "requests by their whole time; the difference of two answers is of the time between them",
        },
        "scored": {"type": "integer"},
        "alerts_per_1000": {
            "type": "object",
            "additionalProperties": {"type": "object", "properties": {"seen": _NUMBER, "budget": {"type": "number"}}},
            "description": "counted from the top: medium has the high ones too",
        },
        "challenger": {
            "type": ["object", "null"],
            "properties": {
                "bundle_version": {"type": "string"},
                "scored": {"type": "integer"},
                "dropped": {**_COUNTS, "description": "by reason"},
                "alerts_per_1000": {
                    "type": "object",
                    "additionalProperties": {"type": "object", "additionalProperties": _NUMBER},
                    "description": "of what both have scored, by side and level",
                },
            },
            "description": "serving.challenger",
        },
    },
}
_COUNTED = {"type": "array", "items": {"type": "integer"}}
_SCORES: dict[str, Any] = {
    "type": "object",
    "required": ["bundle_version", "hours", "since", "rows", "edges", "counts", "reference"],
    "properties": {
        "bundle_version": {"type": "string"},
        "hours": {"type": "integer"},
        "since": _SINCE,
        "rows": {"type": "integer"},
        "edges": {
            "type": "array",
            "items": {"type": "number"},
            "description": "rising; a score equal to an edge counts above it",
        },
        "counts": {**_COUNTED, "description": "below the first edge, between them, from the last one on"},
        "reference": {**_COUNTED, "description": "of the rows that the thresholds were chosen on"},
    },
}
_EXAMPLES: dict[str, Any] = {
    "type": "object",
    "required": ["bundle_version", "examples"],
    "properties": {
        "bundle_version": {"type": "string"},
        "examples": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["risk_level", "score", "record"],
                "properties": {
                    "risk_level": {"enum": ["low", "medium", "high"]},
                    "score": {"type": "number"},
                    "record": {"$ref": "#/components/schemas/Transaction"},
                },
            },
        },
    },
}
_CARD: dict[str, Any] = {
    "type": "object",
    "required": ["bundle_version", "card", "markdown"],
    "properties": {
        "bundle_version": {"type": "string"},
        "card": {"type": "object"},
        "markdown": {"type": "string", "description": "the same as a text"},
    },
}
_TRAINING: dict[str, Any] = {
    "type": "object",
    "required": ["bundle_version", "rows", "columns"],
    "properties": {
        "bundle_version": {"type": "string"},
        "rows": {"type": "integer"},
        "columns": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "required": ["kind"],
                "properties": {
                    "kind": {"enum": ["number", "category"]},
                    "edges": {"type": "array", "items": {"type": "number"}},
                    "values": {"type": "array", "items": {"type": "string"}, "description": "the most frequent ones"},
                    "counts": {
                        **_COUNTED,
                        "description": "of a number up to each edge, above all, missing; of a category of each value, "
                        "of all others, missing",
                    },
                    "unseen": {"type": "number", "description": "share of new categories in the last of the rows"},
                    "words": {"type": "array", "items": {"type": "string"}, "description": "categories that it knows"},
                    "all_words": {"type": "boolean", "description": "whether these are all"},
                },
            },
        },
    },
}
HOURS: dict[str, Any] = {
    "name": "hours",
    "in": "query",
    "required": False,
    "description": "clock hours to look back, the present one among them",
    "schema": {"type": "integer", "minimum": 1, "maximum": MOST_HOURS, "default": USUAL_HOURS},
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
            {
                "name": "request_id",
                "in": "query",
                "required": False,
                "schema": {"type": "string"},
                "description": "with position: one alert, and its inputs",
            },
            {"name": "position", "in": "query", "required": False, "schema": {"type": "integer", "minimum": 0}},
        ],
        {
            "404": "there is no record, or no such alert",
            "422": "limit, level, request_id or position is no such thing",
        },
    ),
    "/performance": (
        "The newest report that python -m fraudlab.performance kept in this instance's record",
        _REPORT,
        [],
        {"404": "none is kept; the answer says how to make one"},
    ),
    "/statistics": ("What this instance has answered since it started, reloads included", _STATISTICS, [], {}),
    "/scores": (
        "The distribution of this instance's scores in the last hours, and of those that the thresholds rest on",
        _SCORES,
        [HOURS],
        {"404": "the bundle has no reference statistics", "422": "hours is no such number"},
    ),
    "/card": ("The model card: data, split, metrics, calibration, importance, limits", _CARD, [], {}),
    "/examples": ("Some of the bundle's golden records of each risk level", _EXAMPLES, [], {}),
    "/training": ("By column how the values lie that the model learnt from, and its categories", _TRAINING, [], {}),
}


OF_THE_RECORD = ("/alerts", "/performance")
"""What there is nothing to answer without a record."""


def routes(parts: Parts) -> dict[str, Route]:
    """What answers, by path."""
    handlers = {"/alerts": _alerts, "/drift": _drift, "/performance": _performance, "/statistics": _statistics}
    found = {path: Route("GET", frozenset(["read"]), partial(handler, parts)) for path, handler in handlers.items()}
    return {**found, "/scores": Route("GET", READABLE, partial(_scores, parts))}


async def _alerts(parts: Parts, asked: Asked) -> tuple[int, bytes, bytes]:
    if parts.alerts is None:
        raise Stop(404, ABSENT, "alerts are those of the record; start the server with serving.record_to=<folder>")
    limit, level, place = alerts_of(asked.scope["query_string"], MOST_ALERTS)
    said = parts.alerts.answer(limit, level)
    if place is not None:
        one = parts.alerts.one(*place)
        if one is None:
            raise Stop(404, ABSENT, f"it is not among the latest {MOST_ALERTS} alerts; the record has it")
        said["alerts"] = [one]
    return _said(parts, said)


async def _performance(parts: Parts, asked: Asked) -> tuple[int, bytes, bytes]:
    report = None if parts.performance is None else await asyncio.to_thread(parts.performance.answer)
    if report is None:
        folder = parts.settings.record_to
        start = "" if folder else "start the server with serving.record_to=<folder>, and "
        says = (
            f"no report is kept: {start}once labels have arrived, run python -m fraudlab.performance bundle=<bundle> "
        )
        raise Stop(404, ABSENT, f"{says}records={folder or '<folder>'} mature_days=45 out=<folder>")
    return 200, orjson.dumps(report), JSON


async def _drift(parts: Parts, asked: Asked) -> tuple[int, bytes, bytes]:
    if parts.drift_of_all is not None:
        if asked.scope["query_string"]:
            raise Stop(422, "contract", "hours are those of the report of all instances; ask for /drift alone")
        if (report := await asyncio.to_thread(parts.drift_of_all.answer)) is None:
            says = f"no report can be read at {parts.settings.drift_from}: python -m fraudlab.drift writes it"
            raise Stop(404, ABSENT, says)
        return 200, report, JSON
    if parts.drift is None:
        raise Stop(404, ABSENT, NO_REFERENCE)
    hours = hours_of(asked.scope["query_string"], USUAL_HOURS, MOST_HOURS)
    return 200, orjson.dumps(parts.drift.answer(hours)), JSON


async def _scores(parts: Parts, asked: Asked) -> tuple[int, bytes, bytes]:
    if parts.drift is None:
        raise Stop(404, ABSENT, NO_REFERENCE)
    return 200, orjson.dumps(parts.drift.scores(hours_of(asked.scope["query_string"], USUAL_HOURS, MOST_HOURS))), JSON


async def _statistics(parts: Parts, asked: Asked) -> tuple[int, bytes, bytes]:
    version = None if parts.shadow is None else parts.shadow.version
    return _said(parts, statistics(parts.telemetry, parts.budget, version))


def _said(parts: Parts, said: Mapping[str, Any]) -> tuple[int, bytes, bytes]:
    """An answer that says which instance it is of."""
    instance = f"{socket.gethostname()}:{parts.settings.port}"
    return 200, orjson.dumps({"instance": instance, "bundle_version": parts.version, **said}), JSON
