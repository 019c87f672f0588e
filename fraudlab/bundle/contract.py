"""The input contract of a bundle, ``schema.json``: which fields a record has, and what may stand in them."""

import math
from collections.abc import Collection, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any
from unicodedata import normalize

from fraudlab.errors import UserError
from fraudlab.features.contract import Features
from fraudlab.schema import Column, TableSchema

_ROLES = ("id", "time", "card", "amount", "categorical", "numeric")
_OF_THE_PAST = "a feature of the past that every training row had: send it, or start the server with serving.history"
ALWAYS = "every training row had it"
_LEAST_LETTERS = 5  # of a name that may be misspelt: shorter ones differ by a letter on purpose
_MOST_LETTERS = 64


class Refused(UserError):
    """Records that break the contract.

    Attributes:
        problems: what is wrong: ``{"record": position or None, "field": name or None, "problem": text}`` each.
    """

    def __init__(self, problems: Sequence[Mapping[str, Any]]) -> None:
        first = problems[0]
        where = " ".join(f"{name} {first[name]}" for name in ("record", "field") if first[name] is not None)
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        super().__init__(f"{where}: {first['problem']}{more}" if where else f"{first['problem']}{more}")
        self.problems = problems


def problem(record: int | None, field: str | None, text: str) -> dict[str, Any]:
    """One of the ``problems`` of :class:`Refused`."""
    return {"record": record, "field": field, "problem": text}


def raw_columns(schema: TableSchema, features: Features) -> list[Column]:
    """The columns that a record may carry: those with a role in a score and those that the features need.

    Instead of a column that ``data.derive`` makes, what it is made of.
    """
    needs = getattr(features, "needs", ())
    wanted = [c for c in schema.columns if c.role != "label" and (c.role in _ROLES or c.name in needs)]
    if schema.reading is None:
        return wanted
    from fraudlab.data.sources.table.derive import read_by

    reading = schema.reading
    raw = {column.name: column for column in reading.raw}
    table = {column.name: column for column in schema.columns}
    derived = [column.name for column in wanted if column.name in reading.derive]
    roles = {column.name: column.role for column in wanted if column.name not in reading.derive}
    needed = read_by(reading.derive, derived)
    for name in raw:
        if name in needed:
            roles.setdefault(name, "carried")
    found = []
    for name, role in roles.items():
        own = table.get(reading.as_read.get(name, name))
        if name not in raw:  # the number of the row
            found.append(table[name])
            continue
        kind = "datetime" if own is not None and own.type == "datetime" else raw[name].type
        found.append(replace(raw[name], type=kind, role=role, nullable=own is None or own.nullable))
    return found


def computed(features: Features) -> list[str]:
    """Features that a record may carry already computed, as its past alone would tell them."""
    return [name for name in getattr(features, "computed", ()) if name in features.numeric]


def inputs(schema: TableSchema, features: Features) -> list[str]:
    """What a score rests on of the columns that are the record's own, not looked up: those that the model reads."""
    read = {*features.categorical, *features.numeric}
    own = [column.name for column in schema.columns if column.role != "label"]
    return [name for name in dict.fromkeys([*own, *computed(features)]) if name in read]


def contract(
    schema: TableSchema,
    features: Features,
    examples: Sequence[Mapping[str, Any]],
    never_missing: Collection[str] = (),
    least_known: int = 0,
) -> dict[str, Any]:
    """What ``schema.json`` holds: ``{"name", "simulated", "never_missing", "least_known", "fields"}``.

    Args:
        schema: the table's columns.
        features: what is computed from them.
        examples: raw records; a field's example is the first value that one of them has.
        never_missing: of :func:`inputs`, those that every training row had; a record must have them too.
        least_known: how many of :func:`inputs` the emptiest training row had.
    """
    needs = getattr(features, "needs", ())
    as_read: Mapping[str, str] = {}
    of_needed: Container[str] = ()
    if schema.reading is not None:
        from fraudlab.data.sources.table.derive import read_by

        as_read, of_needed = schema.reading.as_read, read_by(schema.reading.derive, never_missing)
    columns = raw_columns(schema, features)
    columns += [Column(name, "number", "numeric", nullable=True) for name in computed(features)]
    fields = []
    for column in columns:
        # What a column that every row had is made of: of several, perhaps one that a row may lack.
        always = as_read.get(column.name, column.name) in never_missing or (
            column.name in of_needed and not column.nullable
        )
        required = always or (not column.nullable and (column.role in ("time", "amount") or column.name in needs))
        fields.append(_field(column, required, always, examples))
    return {
        "name": schema.name,
        "simulated": schema.simulated,
        "never_missing": sorted(never_missing),
        "least_known": least_known,
        "fields": fields,
    }


def _field(column: Column, required: bool, always: bool, examples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    known = (record[column.name] for record in examples if record.get(column.name) is not None)
    return {
        "name": column.name,
        "type": column.type,
        "required": required,
        "nullable": not required,
        "never_missing": always,
        "minimum": column.minimum,
        "maximum": column.maximum,
        "missing_values": list(column.missing_values),
        "role": column.role,
        "example": next(known, None),
    }


def completed(schema: dict[str, Any], numbers: Collection[str]) -> dict[str, Any]:
    """``schema.json`` with what those of earlier versions do not say of missing values.

    Args:
        schema: its content.
        numbers: of :func:`inputs`, the numeric ones that were never missing where the encoder was fitted.
    """
    if "never_missing" in schema:
        return schema
    fields = [{**field, "never_missing": field["name"] in numbers} for field in schema["fields"]]
    for field in fields:
        field["required"] = field["required"] or field["never_missing"]
        field["nullable"] = not field["required"]
    return {**schema, "never_missing": sorted(numbers), "least_known": 1, "fields": fields}


def fewest_known(schema: Mapping[str, Any]) -> int:
    """How many of :func:`inputs` a record must have: half of what the emptiest training row had, rounded up."""
    return (int(schema["least_known"]) + 1) // 2


def served(schema: Mapping[str, Any], features: Features, *, history: bool) -> dict[str, Any]:
    """The contract of a server's clients: that of the bundle, with ``why`` a field is required.

    With a history the features of the past are looked up, so a record need not carry them, and its raw fields must be
    such as the history takes, which the features say.
    """
    past = set(computed(features))
    live = getattr(features, "live_fields", {})
    fields = []
    for field in schema["fields"]:
        field = {"why": ALWAYS if field["never_missing"] else None, **field}
        if field["name"] in past:
            if history:
                field |= {"required": False, "nullable": True, "why": None}
            elif field["required"]:
                field["why"] = _OF_THE_PAST
        elif history:
            field |= live.get(field["name"], {})
        fields.append(field)
    return {**schema, "fields": fields}


def known_of(record: Mapping[str, Any], names: Iterable[str]) -> Iterator[str]:
    """Those of ``names`` that have a value in ``record``; NaN and infinities are none."""
    for name in names:
        if (value := record.get(name)) is not None and not (isinstance(value, float) and not math.isfinite(value)):
            yield name


def missing_needed(record: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """Those of ``names`` that have no value in ``record``."""
    known = set(known_of(record, names))
    return [name for name in names if name not in known] if len(known) < len(names) else []


def needed(position: int, record: Mapping[str, Any], lacking: Mapping[str, Sequence[str]]) -> Iterator[dict[str, Any]]:
    """The problems of a record that lacks columns which every training row had.

    Args:
        position: of the record.
        record: its values, those that are sent and those that are made of them.
        lacking: the columns without a value, each with the fields that it is made of, or its own name.
    """
    told: dict[str, str] = {}
    for name, sources in lacking.items():
        for field in missing_needed(record, sources) or sources[:1]:
            made = record.get(field) is not None
            told.setdefault(field, f"no {name} can be made of {record[field]!r}" if made else ALWAYS)
    return (problem(position, field, f"required: {why}") for field, why in told.items())


class Names:
    """Finds the field that a wrong name may stand for.

    Names are alike where they differ in case, blanks, hyphens, underscores or dots alone, and, from five letters on,
    where one letter is missing, added or another. Digits count: V1 is not V2. A look-up takes microseconds, whatever
    the number of fields, since clients choose the names.

    Args:
        names: of the fields.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._near: dict[str, str] = {}
        for name in names:
            for form in _forms(name):
                self._near.setdefault(form, name)

    def near(self, name: str) -> str | None:
        """The field that ``name`` may stand for."""
        return next((found for form in _forms(name) if (found := self._near.get(form)) is not None), None)


def _forms(name: str) -> list[str]:
    """What names that are alike have in common: the plain name, then it without one of its letters."""
    if len(name) > _MOST_LETTERS:
        return []
    plain = "".join(character for character in normalize("NFC", name).casefold() if character not in " -_.\t")
    if sum(character.isalpha() for character in plain) < _LEAST_LETTERS:
        return [plain]
    return [plain, *(plain[:i] + plain[i + 1 :] for i, letter in enumerate(plain) if not letter.isdigit())]
