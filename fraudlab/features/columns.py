"""The table's own columns as features."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from fraudlab.schema import TableSchema

if TYPE_CHECKING:
    import polars as pl


class TableColumns:
    """``features=columns``: amount and numeric columns are numeric inputs, categorical ones categorical.

    Args:
        schema: the table's columns.
    """

    version = 1

    def __init__(self, schema: TableSchema) -> None:
        self.categorical = schema.names("categorical")
        self.numeric = schema.names("amount", "numeric")

    def apply(self, frame: "pl.LazyFrame") -> "pl.LazyFrame":
        """The frame itself."""
        return frame

    def look_ups(self, frame: "pl.LazyFrame") -> dict[str, NDArray[Any]]:
        """None: a row stands for itself."""
        return {}

    def of_record(self, record: Mapping[str, Any], look_ups: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
        """The record itself."""
        return dict(record)
