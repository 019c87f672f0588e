"""The API's description (OpenAPI 3.1), with the request made from a bundle's ``schema.json``."""

from collections.abc import Mapping
from typing import Any

from fraudlab.bundle.contract import fewest_known
from fraudlab.config.serve import ServingConfig
from fraudlab.monitoring.labels import MOST_PLACES
from fraudlab.serving.contract import TIME
from fraudlab.serving.views import DESCRIBED, HOURS, OF_THE_RECORD, Described

_TYPES = {"integer": "integer", "number": "number", "string": "string", "boolean": "boolean", "datetime": "string"}
_NO_KEY = "no valid key in X-API-Key or Authorization"
_NO_SCOPE = "the key does not have the scope for this"
_PROBLEM = {"$ref": "#/components/schemas/Error"}


def document(schema: Mapping[str, Any], settings: ServingConfig, version: str, *, keyed: bool) -> dict[str, Any]:
    """The description as plain data.

    Args:
        schema: what the server takes, :func:`fraudlab.bundle.contract.served`.
        settings: its limits.
        version: of the bundle.
        keyed: whether requests must carry a key.
    """
    security: list[dict[str, Any]] = [{"key": []}, {"bearer": []}] if keyed else []
    transaction = _transaction(schema, settings.unknown_fields)
    one = {"$ref": "#/components/schemas/Transaction"}
    many = {"type": "array", "minItems": 1, "maxItems": settings.max_records, "items": one}
    errors = {
        400: "the client went away",
        401: _NO_KEY,
        403: _NO_SCOPE,
        408: "the body came too slowly",
        413: f"body of more than {settings.max_body_bytes} bytes",
        415: "no application/json",
        422: "broken contract; the answer names the fields",
        429: "too many requests wait; see Retry-After",
        503: "a worker failed, or the history does not answer; see Retry-After",
        504: f"no score within {settings.timeout} s",
    }
    predict = {
        "summary": "Score one transaction or a list of them",
        "security": security,
        "parameters": [
            {
                "name": "explain",
                "in": "query",
                "required": False,
                "description": "how many reason codes (fields that the score rests on) to give",
                "schema": {"type": "integer", "minimum": 0, "maximum": 999, "default": 0},
            },
            {
                "name": "dry_run",
                "in": "query",
                "required": False,
                "description": "true: leave no trace in record, history, drift and counts of alerts",
                "schema": {"type": "boolean", "default": False},
            },
        ],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"oneOf": [one, many]}, "example": transaction["example"]}},
        },
        "responses": {
            "200": _json("scores", {"oneOf": [{"$ref": "#/components/schemas/Answer"}, _LIST]}),
            **{str(status): _json(says, _PROBLEM) for status, says in errors.items()},
        },
    }
    label = {"$ref": "#/components/schemas/Label"}
    labels = {
        "summary": "Label transactions as fraud or genuine: all of a list or none",
        "security": security,
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"oneOf": [label, {**many, "items": label}]},
                    "example": [{"id": 1, "fraud": True, "source": "chargeback", "event_time": "2018-08-07T09:00:00Z"}],
                }
            },
        },
        "responses": {
            "200": _json("labels, and how many of them were not known before", _LABELLED),
            **{str(status): _json(says, _PROBLEM) for status, says in errors.items()},
        },
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"fraudlab: {schema['name']}{' (simulated data)' if schema['simulated'] else ''}",
            "version": version,
            "description": "Scores transactions for fraud.",
        },
        "servers": [{"url": "./"}],  # relative to this document, whatever path prefix a proxy puts before it
        "paths": {
            "/predict": {"post": predict},
            **({"/labels": {"post": labels}} if settings.history or settings.record_to else {}),
            "/health/live": {"get": _plain("Whether the server runs", {"200": "it does"})},
            "/health/ready": {
                "get": _plain("Whether it takes requests", {"200": "it does", "503": "not yet, or not now"})
            },
            "/info": {"get": _keyed("The bundle: version, schema, metrics, thresholds", "application/json", security)},
            "/drift": {"get": _described(_DRIFT if settings.drift_from is None else _DRIFT_OF_ALL, security)},
            **{
                path: {"get": _described(about, security)}
                for path, about in DESCRIBED.items()
                if path not in OF_THE_RECORD or settings.record_to
            },
            "/metrics": {"get": _keyed("Metrics for Prometheus", "text/plain", security)},
        },
        "components": {
            "schemas": {
                "Transaction": transaction,
                "Answer": _ANSWER,
                "Scored": _SCORED,
                "Error": _ERROR,
                **({"Label": _LABEL} if settings.history is not None else {}),
            },
            "securitySchemes": {
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
                "bearer": {"type": "http", "scheme": "bearer"},
            },
        },
    }


_DRIFT: Described = (
    "Whether what this instance has scored differs from the training: the report and its counts",
    {"type": "object"},
    [HOURS],
    {"404": "the bundle has no reference statistics", "422": "hours is no such number"},
)
_DRIFT_OF_ALL: Described = (
    "Whether what all instances have scored differs from the training: the newest report of python -m fraudlab.drift",
    {"type": "object"},
    [],
    {"404": "there is none yet", "422": "hours are those of the report"},
)
_SCORED: dict[str, Any] = {
    "type": "object",
    "required": ["score", "risk_level"],
    "properties": {
        "score": {"type": "number", "minimum": 0, "maximum": 1, "description": "probability of fraud"},
        "risk_level": {"enum": ["low", "medium", "high"]},
        "rule": {
            "enum": ["money", "thresholds"],
            "description": "if the bundle decides by money: what set the level; thresholds if the amount "
            "is missing or negative",
        },
        "spread": {
            "type": "object",
            "required": ["low", "high"],
            "properties": {name: {"type": "number", "minimum": 0, "maximum": 1} for name in ("low", "high")},
            "description": "if the model has several members: the lowest and highest of their probabilities, those "
            "with the lowest and the highest 5 % of the weight left out",
        },
        "without_history": {
            "const": True,
            "description": "if the history did not answer: scored as the first transaction of all its keys",
        },
        "reasons": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "value", "share", "contribution"],
                "properties": {
                    "field": {"type": "string"},
                    "value": {},
                    "share": {"type": "number", "description": "of all that the score rests on"},
                    "contribution": {
                        "type": ["number", "null"],
                        "description": "to the log-odds of the score, above 0 for fraud; null of a model without sign",
                    },
                    "unseen": {"const": True, "description": "if the training rows have no such category"},
                },
            },
        },
    },
}
_ABOUT = {"bundle_version": {"type": "string"}, "request_id": {"type": "string"}}
_ANSWER: dict[str, Any] = {
    "type": "object",
    "required": ["score", "risk_level", *_ABOUT],
    "properties": {**_SCORED["properties"], **_ABOUT},
}
_LIST: dict[str, Any] = {
    "type": "object",
    "required": ["predictions", *_ABOUT],
    "properties": {"predictions": {"type": "array", "items": {"$ref": "#/components/schemas/Scored"}}, **_ABOUT},
}
_LABEL: dict[str, Any] = {
    "type": "object",
    "properties": {
        "id": {
            "anyOf": [
                {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1},
                {"type": "string", "minLength": 1, "maxLength": 64},
            ],
            "description": "of the transaction",
        },
        "request_id": {"type": "string", "pattern": "^[\\w.-]{1,64}$", "description": "of the answer, in place of id"},
        "position": {
            "type": "integer",
            "minimum": 0,
            "maximum": MOST_PLACES - 1,
            "description": "in the list of that request, from 0",
        },
        "fraud": {"anyOf": [{"type": "boolean"}, {"enum": [0, 1]}]},
        "source": {"type": "string", "minLength": 1, "maxLength": 64, "description": "who reported it"},
        "event_time": {"type": "string", "pattern": TIME, "description": "when it was reported; UTC if it has no zone"},
        "reversal": {
            "anyOf": [{"type": "boolean"}, {"enum": [0, 1]}],
            "description": "takes back the previous label; then without fraud",
        },
    },
    "allOf": [
        {
            "oneOf": [
                {"required": ["id"], "not": {"anyOf": [{"required": ["request_id"]}, {"required": ["position"]}]}},
                {"required": ["request_id", "position"], "not": {"required": ["id"]}},
            ]
        },
        {
            "oneOf": [
                {"required": ["fraud"], "properties": {"reversal": {"enum": [False, 0]}}},
                {
                    "required": ["reversal"],
                    "properties": {"reversal": {"enum": [True, 1]}},
                    "not": {"required": ["fraud"]},
                },
            ]
        },
    ],
    "additionalProperties": False,
}
_LABELLED: dict[str, Any] = {
    "type": "object",
    "required": ["labels", "request_id"],
    "properties": {
        "labels": {"type": "integer", "description": "labels accepted"},
        "new": {"type": "integer", "description": "with a history: those that changed a label"},
        "unknown": {"type": "integer", "description": "with a history: of transactions that it does not have"},
        "future": {
            "type": "integer",
            "description": "labels with a future time, from which they count; absent if there are none",
        },
        "request_id": {"type": "string"},
    },
}
_ERROR: dict[str, Any] = {
    "type": "object",
    "required": ["error", "request_id"],
    "properties": {
        "error": {"type": "string"},
        "request_id": {"type": "string"},
        "problems": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "record": {"type": ["integer", "null"]},
                    "field": {"type": ["string", "null"]},
                    "problem": {"type": "string"},
                },
            },
        },
    },
}


def _transaction(schema: Mapping[str, Any], unknown_fields: str) -> dict[str, Any]:
    properties, example = {}, {}
    for field in schema["fields"]:
        kind: Any = _TYPES[field["type"]]
        about: dict[str, Any] = {"type": [kind, "null"] if field["nullable"] else kind}
        if field["type"] == "datetime":
            about["pattern"] = TIME
        if field["type"] == "integer":
            about["minimum"], about["maximum"] = -(2**63) + 1, 2**63 - 1
        for limit in ("minimum", "maximum"):
            if field[limit] is not None:
                about[limit] = field[limit]
        about["description"] = "; ".join(text for text in (field["role"], field["why"]) if text)
        properties[field["name"]] = about
        example[field["name"]] = field["example"]
    enough = fewest_known(schema)
    return {
        "type": "object",
        "required": [field["name"] for field in schema["fields"] if field["required"]],
        "properties": properties,
        "minProperties": enough,  # a schema cannot say that so many must have a value
        "description": f"At least {enough} of the fields that the model reads have a value.",
        "additionalProperties": unknown_fields == "ignore" and {"type": ["string", "number", "boolean", "null"]},
        "example": example,
    }


def _json(says: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"description": says, "content": {"application/json": {"schema": schema}}}


def _plain(summary: str, answers: Mapping[str, str]) -> dict[str, Any]:
    responses = {status: _json(says, {"type": "object"}) for status, says in answers.items()}
    return {"summary": summary, "security": [], "responses": responses}


def _described(about: Described, security: list[dict[str, Any]]) -> dict[str, Any]:
    summary, schema, parameters, refusals = about
    found = _keyed(summary, "application/json", security)
    responses = {
        **found["responses"],
        "200": _json(summary, schema),
        **{status: _json(says, _PROBLEM) for status, says in refusals.items()},
    }
    return {**found, "parameters": parameters, "responses": responses}


def _keyed(summary: str, content_type: str, security: list[dict[str, Any]]) -> dict[str, Any]:
    kind = {"type": "object"} if content_type == "application/json" else {"type": "string"}
    responses = {
        "200": {"description": "it", "content": {content_type: {"schema": kind}}},
        "401": _json(_NO_KEY, _PROBLEM),
        "403": _json(_NO_SCOPE, _PROBLEM),
    }
    return {"summary": summary, "security": security, "responses": responses}
