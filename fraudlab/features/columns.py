"""The table's own columns as features."""

import polars as pl

from fraudlab.schema import TableSchema


class TableColumns:
    """``features=columns``: amount and numeric columns are numeric inputs, categorical ones categorical.

    Args:
        schema: the table's columns.
    """

    version = 1

    def __init__(self, schema: TableSchema) -> None:
        self.categorical = schema.names("categorical")
        self.numeric = schema.names("amount", "numeric")

    def apply(self, frame: pl.LazyFrame) -> pl.LazyFrame:
        """The frame itself."""
        return frame
