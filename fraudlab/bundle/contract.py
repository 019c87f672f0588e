"""The input contract of a bundle, ``schema.json``: which fields a record has, and what may stand in them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from fraudlab.features.contract import Features
from fraudlab.features.handbook import HandbookFeatures
from fraudlab.schema import Column, TableSchema

_ROLES = ("id", "time", "card", "amount", "categorical", "numeric")


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
    for name in raw:
        if name in read_by(reading.derive, derived):
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
    if not isinstance(features, HandbookFeatures):
        return []
    return [name for name in features.numeric if name not in features.needs]


def contract(schema: TableSchema, features: Features, examples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What ``schema.json`` holds: ``{"name", "simulated", "fields": [{"name", "type", "required", ...}]}``.

    Args:
        schema: the table's columns.
        features: what is computed from them.
        examples: raw records; a field's example is the first value that one of them has.
    """
    needs = getattr(features, "needs", ())
    fields = []
    for column in raw_columns(schema, features):
        required = not column.nullable and (column.role in ("time", "amount") or column.name in needs)
        fields.append(_field(column, required, examples))
    fields += [_field(Column(name, "number", "numeric", nullable=True), False, examples) for name in computed(features)]
    return {"name": schema.name, "simulated": schema.simulated, "fields": fields}


def _field(column: Column, required: bool, examples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    known = (record[column.name] for record in examples if record.get(column.name) is not None)
    return {
        "name": column.name,
        "type": column.type,
        "required": required,
        "nullable": not required,
        "minimum": column.minimum,
        "maximum": column.maximum,
        "missing_values": list(column.missing_values),
        "role": column.role,
        "example": next(known, None),
    }
