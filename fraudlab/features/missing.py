"""Values that stand for a missing one, ``data.missing_values``: the same in training and in use."""

import math
from collections.abc import Collection, Mapping
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:  # a record is read without it
    import polars as pl

    Frame = TypeVar("Frame", pl.DataFrame, pl.LazyFrame)


class MissingValues:
    """Which values of some columns stand for a missing one.

    A word that is a number stands for that number however it is written: ``-999`` for -999.0 too. Text is compared as
    it stands, so that the code 00 is no 0, but in columns of numbers.

    Args:
        words: the values, as text.
        columns: the columns whose values they are.
        numeric: those columns that are meant as numbers, though they may come as text.
    """

    def __init__(self, words: Collection[str], columns: Collection[str], numeric: Collection[str] = ()) -> None:
        self.words = frozenset(words)
        self.columns = frozenset(columns)
        self._numeric = frozenset(numeric)
        self._numbers = frozenset(number for word in words if (number := _number(word)) is not None)

    def out_of_record(self, record: Mapping[str, Any]) -> Mapping[str, Any]:
        """The record with None for such values."""
        if not self.words:
            return record
        return {
            name: None if name in self.columns and self._stands_for_missing(value) else value
            for name, value in record.items()
        }

    def _stands_for_missing(self, value: Any) -> bool:
        if isinstance(value, str):
            return value in self.words
        return isinstance(value, int | float) and not isinstance(value, bool) and value in self._numbers

    def out_of_rows(self, rows: "Frame") -> "Frame":
        """The rows with null for such values."""
        import polars as pl

        types = {name: dtype for name, dtype in rows.lazy().collect_schema().items() if name in self.columns}
        text = [name for name, dtype in types.items() if dtype in (pl.String, pl.Categorical, pl.Enum)]
        if self.words and text:
            rows = _null_where(rows, text, pl.col(text).cast(pl.String).is_in(sorted(self.words)))
        if not self._numbers:
            return rows
        if numbers := [name for name, dtype in types.items() if dtype.is_numeric()]:
            rows = _null_where(rows, numbers, self._equal(pl.col(numbers)))
        if meant := [name for name in text if name in self._numeric]:
            parsed = pl.col(meant).cast(pl.String).str.strip_chars().cast(pl.Float64, strict=False)
            rows = _null_where(rows, meant, self._equal(parsed).fill_null(False))
        return rows

    def _equal(self, value: "pl.Expr") -> "pl.Expr":
        return reduce(or_, (value == number for number in sorted(self._numbers)))


def _null_where(rows: "Frame", names: list[str], missing: "pl.Expr") -> "Frame":
    import polars as pl

    return rows.with_columns(pl.when(~missing).then(pl.col(names)))


def _number(word: str) -> float | None:
    try:
        number = float(word)
    except ValueError:
        return None
    return None if math.isnan(number) else number
