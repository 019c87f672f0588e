"""Table schemas refuse what cannot be a table and survive JSON."""

import json

import pytest

from fraudlab.errors import UserError
from fraudlab.schema import Column, TableSchema

COLUMNS = (
    Column("key", "integer", "id"),
    Column("when", "datetime", "time"),
    Column("value", "number", "amount", minimum=0.0),
    Column("kind", "string", "categorical", nullable=True),
    Column("fraud", "integer", "label"),
)


def test_roles_give_names() -> None:
    schema = TableSchema("t", COLUMNS)
    assert (schema.id, schema.time, schema.card, schema.amount, schema.label) == ("key", "when", None, "value", "fraud")
    assert schema.names("amount", "categorical") == ("value", "kind")


def test_survives_json() -> None:
    schema = TableSchema("t", COLUMNS, simulated=True)
    assert TableSchema.from_dict(json.loads(json.dumps(schema.to_dict()))) == schema


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ((*COLUMNS, COLUMNS[0]), "more than once: key"),
        ((*COLUMNS, Column("key2", "integer", "id")), "several columns: key, key2"),
        (COLUMNS[:-1], "no column has the role label"),
    ],
)
def test_impossible_schemas_are_refused(columns: tuple[Column, ...], said: str) -> None:
    with pytest.raises(UserError, match=said):
        TableSchema("t", columns)


def test_unknown_roles_are_refused() -> None:
    plain = TableSchema("t", COLUMNS).to_dict()
    plain["columns"][0]["role"] = "boss"
    with pytest.raises(UserError, match="key has unknown type or role"):
        TableSchema.from_dict(plain)


def test_missing_columns_are_named() -> None:
    with pytest.raises(UserError, match=r"file\.csv: column kind missing; the table has: key, when, value, fraud"):
        TableSchema("t", COLUMNS).require(["key", "when", "value", "fraud"], "file.csv")
