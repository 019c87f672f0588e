"""The table's own columns as features."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from fraudlab.features.contract import Lookups
from fraudlab.features.narrow import NARROW, narrow_columns, narrowed, narrowed_rows
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

    def parts(self, frame: "pl.LazyFrame") -> "Iterator[pl.DataFrame]":
        """None: the table has all columns."""
        return iter(())

    def lookups(self, frame: "pl.LazyFrame") -> dict[str, NDArray[Any]]:
        """Which columns are narrow."""
        return {NARROW: narrow_columns(frame)}

    def of_record(self, record: Mapping[str, Any], lookups: Lookups) -> dict[str, Any]:
        """The record itself."""
        return narrowed(record, lookups)

    def of_records(self, records: "pl.DataFrame", lookups: Lookups) -> "pl.DataFrame":
        """The records themselves."""
        return narrowed_rows(records, lookups)


def make(settings: Mapping[str, Any], schema: TableSchema) -> TableColumns:
    """``features=columns``."""
    return TableColumns(schema)
