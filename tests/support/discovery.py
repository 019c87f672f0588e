"""Google's own description of its interfaces, and what of a request it does not allow.

The discovery documents come with the package google-api-python-client.
"""

import json
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

Json = dict[str, Any]
VERSIONS = {"aiplatform": "v1", "run": "v2", "cloudscheduler": "v1", "monitoring": "v1", "alerting": "v3",
            "secretmanager": "v1", "iamcredentials": "v1"}  # fmt: skip
_NAMES = {"alerting": "monitoring"}  # of documents, where another interface has the name
_DOCUMENTS: dict[str, Json] = {}
_TYPES = {"string": str, "boolean": bool, "integer": int, "number": (int, float), "object": dict, "array": list}


def document(api: str) -> Json:
    """Google's description of an interface."""
    if api not in _DOCUMENTS:
        spec = find_spec("googleapiclient")
        assert spec is not None
        assert spec.origin is not None
        folder = Path(spec.origin).parent / "discovery_cache" / "documents"
        _DOCUMENTS[api] = json.loads((folder / f"{_NAMES.get(api, api)}.{VERSIONS[api]}.json").read_text())
    return _DOCUMENTS[api]


def problems(api: str, schema: Json, value: Any, at: str = "body") -> list[str]:
    """What of a value a schema does not allow."""
    if "$ref" in schema:
        schema = document(api)["schemas"][schema["$ref"]]
    kind = schema.get("type", "any")
    if kind == "any":
        return []
    if not isinstance(value, _TYPES[kind]) or (kind in ("integer", "number") and isinstance(value, bool)):
        return [f"{at}: {value!r} is no {kind}"]
    if "enum" in schema and value not in schema["enum"]:
        return [f"{at}: {value!r} is none of {schema['enum']}"]
    if schema.get("format") == "int64" and not re.fullmatch(r"-?\d+", value):
        return [f"{at}: {value!r} is no int64"]
    if kind == "array":
        return [each for i, item in enumerate(value) for each in problems(api, schema["items"], item, f"{at}[{i}]")]
    if kind != "object":
        return []
    found = []
    for name, item in value.items():
        field = schema.get("properties", {}).get(name, schema.get("additionalProperties"))
        if field is None:
            found.append(f"{at}: there is no field {name}")
        elif field.get("readOnly"):
            found.append(f"{at}.{name} is output only")
        else:
            found += problems(api, field, item, f"{at}.{name}")
    for name, field in schema.get("properties", {}).items():
        if field.get("description", "").startswith("Required.") and name not in value:
            found.append(f"{at}: {name} is required")
    return found


def method_of(api: str, verb: str, path: str) -> tuple[str, Json] | None:
    """The method of an interface that answers a path, with its name."""

    def search(resources: Json, before: str) -> tuple[str, Json] | None:
        for name, resource in resources.items():
            for each, method in resource.get("methods", {}).items():
                pattern = re.sub(r"\\{\w+\\}", "[^/:]+(?:@[^/:]+)?", re.escape(method["flatPath"]))
                if method["httpMethod"] == verb and re.fullmatch(pattern, path):
                    return f"{before}{name}.{each}", method
            if (found := search(resource.get("resources", {}), f"{before}{name}.")) is not None:
                return found
        return None

    return search(document(api)["resources"], "")
