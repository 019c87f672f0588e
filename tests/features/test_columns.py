"""features=columns gives the table's own columns."""

import polars as pl

from fraudlab.features.columns import TableColumns
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
    assert features.apply(frame.lazy()).collect().equals(frame)
