"""features=columns gives the table's own columns."""

import polars as pl
import pytest

from fraudlab.errors import UserError
from fraudlab.features.columns import TableColumns
from fraudlab.features.contract import with_features
from fraudlab.features.registry import make
from fraudlab.schema import Column, TableSchema


def test_columns_by_role() -> None:
    schema = TableSchema(
        "t",
        (
            Column("key", "integer", "id"),
            Column("kind", "string", "categorical"),
            Column("age", "number", "numeric"),
            Column("price", "number", "amount"),
            Column("fraud", "integer", "label"),
        ),
    )
    features = TableColumns(schema)
    assert (features.categorical, features.numeric) == (("kind",), ("age", "price"))
    frame = pl.DataFrame({"kind": ["a"], "age": [1.0]})
    assert with_features(features, frame.lazy()).equals(frame)


def test_a_record_is_rounded_where_its_column_is() -> None:
    schema = TableSchema("t", (Column("age", "number", "numeric"), Column("fraud", "integer", "label")))
    frame = pl.DataFrame({"age": [0.1], "wide": [0.1]}, schema={"age": pl.Float32, "wide": pl.Float64})
    features = TableColumns(schema)
    lookups = features.lookups(frame.lazy())
    assert features.of_record({"age": 0.1, "wide": 0.1}, lookups) == frame.row(0, named=True)
    assert features.of_record({"age": float("nan")}, lookups) == {"age": None}
    with pytest.raises(UserError, match="age is 'old'; give a number"):
        features.of_record({"age": "old"}, lookups)


def test_columns_can_be_left_out() -> None:
    schema = TableSchema(
        "t",
        (Column("age", "number", "numeric"), Column("kind", "string", "categorical"), Column("y", "integer", "label")),
    )
    features = make({"name": "columns", "leave_out": ["age"]}, schema)
    assert (features.categorical, features.numeric) == (("kind",), ())
    with pytest.raises(UserError, match="leave_out names ages"):
        make({"name": "columns", "leave_out": ["ages"]}, schema)
