"""Categories as ids: 0 where missing, 1 where unknown or rare, 2, 3, … those of a vocabulary."""

import math
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fraudlab.features.numbers import as_numbers

if TYPE_CHECKING:  # a record is encoded without it
    import polars as pl

MISSING, UNKNOWN, FIRST = 0, 1, 2
_MOST_APART = 1 << 20


class Categories:
    """The ids of one column's values, which are told apart by their text form, :func:`word`.

    Args:
        words: the vocabulary.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self.words = words
        self._ids = {word: FIRST + number for number, word in enumerate(words)}

    def of_value(self, value: Any) -> int:
        """Id of one value."""
        text = word(value)
        return MISSING if text is None else self._ids.get(text, UNKNOWN)

    def of_column(self, column: "pl.Series") -> NDArray[np.int64]:
        """``[rows]``: ids of a column, those that :meth:`of_value` gives."""
        import polars as pl

        if column.dtype == pl.String:
            return pl.select(self.of_text(column)).to_series().to_numpy()
        if column.dtype in (pl.Float64, pl.Float32, pl.Int32, pl.Int16, pl.Int8):  # Float64 holds them exactly
            return self._of_numbers(as_numbers(column))
        values = column.unique().to_list()
        ids = column.replace_strict(values, [self.of_value(value) for value in values], return_dtype=pl.Int64)
        return ids.to_numpy().astype(np.int64)  # no value, no type

    def of_text(self, column: "pl.Expr | pl.Series") -> "pl.Expr":
        """:meth:`of_column` of a column of text, as an expression, so that many are computed together."""
        import polars as pl

        text = pl.lit(column) if isinstance(column, pl.Series) else column
        ids = text.cast(self._enum, strict=False).to_physical().cast(pl.Int64) + FIRST
        return ids.fill_null(UNKNOWN) * text.is_not_null().cast(pl.Int64)  # MISSING is 0

    def _of_numbers(self, value: NDArray[np.float64]) -> NDArray[np.int64]:
        known, ids = self._numbers
        if self._table is None:
            place = known.searchsorted(value)
            found = np.where(known[place] == value, ids[place], UNKNOWN)
        else:
            first, table = self._table
            with np.errstate(invalid="ignore"):  # NaN and what is too large become some other number
                whole = value.astype(np.int64)
            place = whole - first + 1
            found = table[place * ((whole == value) & (place > 0) & (place < len(table)))]
        return found * ~np.isnan(value)  # MISSING is 0

    @cached_property
    def _enum(self) -> "pl.Enum":
        import polars as pl

        return pl.Enum(self.words)

    @cached_property
    def _numbers(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """The words that stand for numbers, rising, and their ids; behind them NaN, which equals nothing."""
        number = {float(text): self._ids[text] for text in self.words if _is_number(text)}
        known = sorted(number)
        return np.array([*known, math.nan]), np.array([*(number[value] for value in known), UNKNOWN])

    @cached_property
    def _table(self) -> tuple[int, NDArray[np.int64]] | None:
        """Whole numbers near each other: the least, and behind UNKNOWN the ids from it on; None for other numbers."""
        known, ids = self._numbers[0][:-1], self._numbers[1][:-1]
        if not len(known) or not np.abs(known).max() < 2**53 or not known[-1] - known[0] < _MOST_APART:
            return None
        if (known != np.floor(known)).any():
            return None
        place = (known - known[0]).astype(np.int64) + 1
        table = np.full(place[-1] + 1, UNKNOWN)
        table[place] = ids
        return int(known[0]), table


def _is_number(text: str) -> bool:
    try:
        return word(float(text)) == text
    except ValueError:
        return False


def word(value: Any) -> str | None:
    """Text form of a category; None where missing. 150 and 150.0 are "150", True is "true", NaN is missing."""
    if value is None:
        return None
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        if math.isnan(value):
            return None
        return str(int(value)) if value.is_integer() else repr(value)
    return str(value)


def vocabulary(column: "pl.Series", min_count: int) -> list[str]:
    """The words of a column that stand in ``min_count`` rows at least, by falling count, then by text."""
    counts: Counter[str] = Counter()
    for value, count in column.value_counts(name="count").iter_rows():
        if (text := word(value)) is not None:
            counts[text] += count
    return sorted((text for text in counts if counts[text] >= min_count), key=lambda text: (-counts[text], text))
