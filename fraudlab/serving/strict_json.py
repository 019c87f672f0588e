"""Strict JSON: NaN, infinities, duplicate keys and broken text are refused, by name where there is one."""

import json
from collections.abc import Sequence
from typing import Any

import orjson

_BLANKS = (b" :", b"\n:", b"\t:", b"\r:")


class InvalidJSON(ValueError):
    """The body is no strict JSON.

    Attributes:
        field: the key at fault, where the fault has one.
    """

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


def records(body: bytes) -> tuple[list[Any], bool]:
    """The items of a JSON array, or the one object as a list of one; and whether it was an array.

    orjson reads a record of 434 fields in 20 µs, the json module with a hook in 120 µs (measured on one core of the
    server that the numbers in docs/serving.md come from), but orjson takes the last of two equal keys. In text
    without backslashes and without blanks before colons, ``":`` ends each key and stands nowhere else: as many of them
    as keys means that no key came twice. Other texts are read again by the json module.

    Raises:
        InvalidJSON: what :class:`InvalidJSON` says.
    """
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        _explain(body)
        raise InvalidJSON(f"no JSON: {error}") from None
    is_list = type(parsed) is list
    items: list[Any] = parsed if is_list else [parsed]
    if not _plainly_unique(body, items):
        _explain(body)
    return items, is_list


def _plainly_unique(body: bytes, items: Sequence[Any]) -> bool:
    keys = 0
    for item in items:
        if type(item) is dict:
            keys += len(item)
    if body.count(b'":') != keys or b"\\" in body:
        return False
    return body.count(b":") == keys or not any(blank in body for blank in _BLANKS)  # the one look instead of four


def _explain(body: bytes) -> None:
    """Raise for a duplicate key or a number that JSON has not; return where the json module finds neither."""
    try:
        json.loads(body, object_pairs_hook=_unique, parse_constant=_Constant)
    except RecursionError:
        raise InvalidJSON("nested too deeply") from None
    except InvalidJSON:
        raise
    except ValueError:
        return  # orjson has said it, or says what json does not know: an infinity written as 1e999


class _Constant(str):
    """NaN, Infinity or -Infinity."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise InvalidJSON("comes twice", key)
        if isinstance(value, _Constant):
            raise InvalidJSON(f"{value} is not a JSON number; leave the field out or give null if missing", key)
        found[key] = value
    return found
