"""The input contract at work: a bundle's ``schema.json`` made into a checker of request bodies."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fraudlab.bundle.contract import Names, Refused, problem
from fraudlab.serving import strict_json

_NULL = type(None)
_TYPES: dict[str, tuple[type, ...]] = {
    "integer": (int,),
    "number": (int, float),
    "string": (str,),
    "boolean": (bool,),
    "datetime": (str,),
}
_NAMES = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", _NULL: "null"}
_MOST_INTEGER = 2**63 - 1
_MOST_UNKNOWN = 50  # unknown fields of a record that are looked at: clients choose how many there are
_DATE = r"(?!0000)[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
_CLOCK = r"([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{1,6})?)?"
_ZONE = r"(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"
TIME = f"^{_DATE}([T ]{_CLOCK}{_ZONE}?)?$"
"""What text a date and time is, for the check and for its description in OpenAPI."""


@dataclass(frozen=True)
class Checked:
    """A body that keeps the contract.

    Attributes:
        records: its transactions.
        is_list: whether the body is a list.
        missing: names of fields that are absent or null, one for each time.
    """

    records: list[dict[str, Any]]
    is_list: bool
    missing: list[str]


class Contract:
    """Checks request bodies against ``schema``, what :func:`fraudlab.bundle.contract.served` makes of a bundle's.

    A table of allowed types and one loop over the values take 25 µs for a record of 434 fields; a pydantic model of
    the same record takes many times that, and the record's fields are known only when the bundle is read.
    """

    def __init__(self, schema: Mapping[str, Any], *, max_records: int, refuse_unknown: bool) -> None:
        fields = schema["fields"]
        self._max_records = max_records
        self._refuse_unknown = refuse_unknown
        self._names = frozenset(field["name"] for field in fields)
        self._required = frozenset(field["name"] for field in fields if field["required"])
        self._kind = {field["name"]: field["type"] for field in fields}
        self._allowed = {
            field["name"]: frozenset(_TYPES[field["type"]] + ((_NULL,) if field["nullable"] else ()))
            for field in fields
        }
        self._limits = [
            (field["name"], field["minimum"], field["maximum"])
            for field in fields
            if field["minimum"] is not None or field["maximum"] is not None
        ]
        self._why = {field["name"]: field["why"] for field in fields if field["why"]}
        self._near = Names(self._names)
        self._integers = [name for name, kind in self._kind.items() if kind == "integer"]
        self._times = [name for name, kind in self._kind.items() if kind == "datetime"]

    def check(self, body: bytes) -> Checked:
        """The records of ``body``, one JSON object or a list of them.

        Raises:
            Refused: it is no strict JSON, not of one to ``max_records`` records, or a record breaks the contract.
        """
        records, is_list = self.items(body)
        problems: list[dict[str, Any]] = []
        missing: list[str] = []
        for position, record in enumerate(records):
            if type(record) is not dict:
                problems.append(problem(position, None, f"{_said(record)} where a transaction (object) belongs"))
                continue
            before = len(problems)
            self._types(record, position, missing, problems)
            if len(problems) == before:
                self._values(record, position, problems)
        if problems:
            raise Refused(problems)
        return Checked(records, is_list, missing)

    def items(self, body: bytes) -> tuple[list[Any], bool]:
        """The items of ``body``, and whether it is a list.

        Raises:
            Refused: it is no strict JSON, or not of one to ``max_records`` items.
        """
        try:
            items, is_list = strict_json.records(body)
        except strict_json.InvalidJSON as error:
            raise Refused([problem(None, error.field, str(error))]) from None
        if not items:
            raise Refused([problem(None, None, "an empty list; give at least one")])
        if len(items) > self._max_records:
            raise Refused([problem(None, None, f"{len(items)} records, more than the {self._max_records} allowed")])
        return items, is_list

    def _types(self, record: dict[str, Any], position: int, missing: list[str], problems: list[dict[str, Any]]) -> None:
        allowed = self._allowed
        unknown = []
        for name, value in record.items():
            types = allowed.get(name)
            if types is None:
                unknown.append(name)
                if type(value) in (dict, list):
                    problems.append(problem(position, name, "nested; a transaction is flat"))
            elif type(value) not in types:
                if type(value) is float and value.is_integer() and int in types:
                    continue  # JSON knows one kind of number: 1.0 is an integer
                problems.append(problem(position, name, f"{_said(value)} where {self._belongs(name)} belongs"))
            elif value is None:
                missing.append(name)
        absent = self._names - record.keys() if len(record) - len(unknown) < len(self._names) else frozenset()
        for name in unknown[:_MOST_UNKNOWN] if absent or self._refuse_unknown else ():
            if (near := self._near.near(name)) is not None and (near in absent or self._refuse_unknown):
                problems.append(problem(position, name, f"unknown field; did you mean {near}?"))
            elif self._refuse_unknown:
                problems.append(problem(position, name, "unknown field"))
        missing.extend(absent)
        for name in sorted(absent & self._required):
            why = self._why.get(name)
            problems.append(problem(position, name, f"required: {why}" if why else "required"))

    def _values(self, record: dict[str, Any], position: int, problems: list[dict[str, Any]]) -> None:
        for name in self._integers:
            if (value := record.get(name)) is not None and not -_MOST_INTEGER <= value <= _MOST_INTEGER:
                problems.append(problem(position, name, "beyond 64 bits"))
        for name, least, most in self._limits:
            if (value := record.get(name)) is None:
                continue
            if least is not None and value < least:
                problems.append(problem(position, name, f"{value} is less than {least}"))
            if most is not None and value > most:
                problems.append(problem(position, name, f"{value} is more than {most}"))
        for name in self._times:
            if (value := record.get(name)) is not None and not is_time(value):
                says = f"{value!r:.60} is no ISO 8601 date and time, as 2018-07-25T14:30:00"
                problems.append(problem(position, name, says))

    def _belongs(self, name: str) -> str:
        kind = self._kind[name]
        kind = {"integer": "an integer", "datetime": "an ISO 8601 string"}.get(kind, f"a {kind}")
        return f"{kind} or null" if _NULL in self._allowed[name] else kind


def is_time(text: str) -> bool:
    """Whether ``text`` is a date and time of the forms that the contract takes."""
    if not re.fullmatch(TIME, text):
        return False
    try:
        datetime.fromisoformat(text)
    except ValueError:  # February 30
        return False
    return True


def _said(value: Any) -> str:
    return _NAMES.get(type(value)) or str(value)  # a list could be nested too deeply to be written
