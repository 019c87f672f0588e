"""The input contract of a bundle, ``schema.json``: which fields a record has, and what may stand in them."""

from collections.abc import Mapping, Sequence
from typing import Any

from fraudlab.features.contract import Features
from fraudlab.features.handbook import HandbookFeatures
from fraudlab.schema import Column, TableSchema

_ROLES = ("id", "time", "card", "amount", "categorical", "numeric")


def raw_columns(schema: TableSchema, features: Features) -> list[Column]:
    """The table's columns that a record may carry: those with a role in a score, and what the features need."""
    needs = getattr(features, "needs", ())
    return [c for c in schema.columns if c.role != "label" and (c.role in _ROLES or c.name in needs)]


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
