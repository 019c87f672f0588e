"""How the values of raw columns are written: the same reading for training, for files to be scored and for records.

A cell of text is stripped of blanks and single quotes around it; an empty one is missing. A column of numbers takes
``5.0`` as 5 and :data:`NA_WORDS` as missing; how its numbers are written besides is a :class:`Spelling`.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from fraudlab.errors import UserError
from fraudlab.features.categories import word
from fraudlab.schema import Column

if TYPE_CHECKING:  # a record is read without it
    import polars as pl

    Frame = TypeVar("Frame", pl.DataFrame, pl.LazyFrame)

NA_WORDS = (
    *("NA", "N/A", "n/a", "na", "#N/A", "#NA", "<NA>", "NULL", "Null", "null", "NaN", "nan", "None", "none"),
    *("-", "--", "?", ".", "NaT", "nil", "missing", "#VALUE!", "#DIV/0!", "#REF!", "#NUM!", "#NAME?", "#NULL!", "\\N"),
)
"""What programs write for a missing number."""

_BLANKS = " \t\r\n\v\f\0\u00a0\u2007\u202f\u3000\ufeff"
_AROUND = _BLANKS + "'"
_CODES = (
    "USD|EUR|GBP|JPY|CHF|CAD|AUD|NZD|CNY|INR|SEK|NOK|DKK|PLN|CZK|HUF|RON|RUB|TRY|BRL|MXN|ZAR|KRW|SGD|HKD|THB|IDR|MYR|"
    r"PHP|ILS|AED|SAR|NGN|KES|R\$|kr\.?|Fr\.?|Rs\.?|zł|Kč|Ft"
)
CURRENCY = rf"\p{{Sc}}|{_CODES}"
_SPACES = "[ \u00a0\u2007\u202f]"


@dataclass(frozen=True)
class Spelling:
    """How a table writes its numbers."""

    decimal: str = "."
    thousands: str = ""  # between groups of digits; empty: nothing
    currency: bool = False  # signs and codes of currencies around a number are left out
    percent: bool = False  # 12.5 % is 0.125
    brackets: bool = False  # (12.50) is -12.50

    def number(self, text: "pl.Expr") -> "pl.Expr":
        """Float64 of clean text; null for what is no number, and for NaN."""
        import polars as pl

        plain, factor = self._plain(text)
        value = plain.cast(pl.Float64, strict=False).fill_nan(None)
        return value if factor is None else value * factor

    def integer(self, text: "pl.Expr") -> "pl.Expr":
        """Int64 of clean text, also of 5.0; null for what is no whole number of 64 bits."""
        import polars as pl

        plain, factor = self._plain(text)
        value = plain.str.replace(r"\.0*$", "").cast(pl.Int64, strict=False)
        return value if factor is None else (value * factor).cast(pl.Int64, strict=False)

    def _plain(self, text: "pl.Expr") -> "tuple[pl.Expr, pl.Expr | None]":
        """The number as a program writes it, and what it is to be multiplied by."""
        import polars as pl

        if self == Spelling():
            return text, None
        factor = pl.lit(1)
        if self.brackets and self.currency:
            text = text.str.replace(rf"^((?:{CURRENCY})\s*)\((.*)\)$", "($1$2)")  # $(5.00)
        if self.brackets:
            inside = text.str.extract(r"^\((.*)\)$").str.strip_chars(_BLANKS)
            factor = pl.when(inside.is_not_null()).then(-1).otherwise(1)
            text = pl.coalesce(inside, text)
        if self.percent:
            share = text.str.ends_with("%")
            factor = factor / pl.when(share).then(100).otherwise(1)
            text = text.str.replace(r"\s*%$", "")
        if self.currency:
            text = text.str.replace(rf"^([+-]?)\s*(?:{CURRENCY})\s*([+-]?)", "$1$2")
            text = text.str.replace(rf"\s*(?:{CURRENCY})$", "")
        if self.thousands:
            mark = {" ": _SPACES, "'": "['’]"}.get(self.thousands, re.escape(self.thousands))
            grouped = rf"^[+-]?\d{{1,3}}(?:{mark}\d{{2,3}})*{mark}\d{{3}}(?:{re.escape(self.decimal)}\d*)?$"
            text = pl.when(text.str.contains(grouped)).then(text.str.replace_all(mark, "")).otherwise(text)
        if self.decimal != ".":
            text = pl.when(~text.str.contains(".", literal=True)).then(
                text.str.replace_all(self.decimal, ".", literal=True)
            )
        return text, factor


def clean(text: "pl.Expr", words: Iterable[str] = (), stripped: bool = True) -> "pl.Expr":
    """Text without blanks and single quotes around it; null where nothing is left, and for ``words``."""
    import polars as pl

    bare = text.cast(pl.String)
    if stripped:
        bare = bare.str.strip_chars(_AROUND)
    known = pl.when(bare != "").then(bare)
    return pl.when(~known.is_in(sorted(words))).then(known) if (words := set(words)) else known


def clean_value(text: str) -> str | None:
    """:func:`clean` of one value."""
    return text.strip(_AROUND) or None


def as_text(value: "pl.Expr", dtype: "pl.DataType") -> "pl.Expr":
    """A column of any type as text: 150.0 is 150, True is true, NaN is null."""
    import polars as pl

    if not dtype.is_float():
        return value.cast(pl.String)
    known = value.fill_nan(None)
    whole = known.cast(pl.Int128, strict=False)
    return pl.when(known == whole.cast(pl.Float64)).then(whole.cast(pl.String)).otherwise(known.cast(pl.String))


class RawColumns:
    """Reads raw columns as their types say.

    Args:
        columns: the columns as they stand in a file, each with the words that stand for a missing value in it. A word
            that is a number stands for that number however it is written: ``-999`` for -999.0 too. In columns of text
            it is compared as it stands, so that the code 00 is no 0.
        spelling: how numbers are written where they come as text.
        stripped: whether text is stripped of what stands around it.
    """

    def __init__(self, columns: Iterable[Column], spelling: Spelling | None = None, stripped: bool = True) -> None:
        self.spelling = spelling or Spelling()
        self._stripped = stripped
        self._columns = {column.name: column for column in columns}
        self._words = {
            name: frozenset(filter(None, map(clean_value, column.missing_values)))
            for name, column in self._columns.items()
        }
        self._numbers = {name: _numbers(words) for name, words in self._words.items()}

    def of_rows(self, rows: "Frame") -> "Frame":
        """The rows with every known column in its type; what cannot be read is null."""
        types = rows.lazy().collect_schema()
        return rows.with_columns(self.values(name, types[name]).alias(name) for name in types if name in self._columns)

    def values(self, name: str, dtype: "pl.DataType") -> "pl.Expr":
        """One column, which has type ``dtype`` in a file."""
        import polars as pl

        value, kind = pl.col(name), self._columns[name].type
        if kind == "datetime":
            return clean(value, self._words[name]) if is_text(dtype) else value
        if kind == "string":
            return clean(as_text(value, dtype), self._words[name], self._stripped)
        if is_text(dtype):
            text = self.text(name)
            if kind == "boolean":
                return _boolean(text)
            value = self.spelling.integer(text) if kind == "integer" else self.spelling.number(text)
        elif kind == "boolean":
            return value.cast(pl.Boolean)
        elif dtype.is_float():
            value = value.fill_nan(None)
        elif kind == "number" or not dtype.is_integer():
            value = value.cast(pl.Float64)
        for number in sorted(self._numbers[name]):
            value = pl.when(value != number).then(value)
        return value

    def text(self, name: str) -> "pl.Expr":
        """What is to be read of a column of text: null for what is missing."""
        import polars as pl

        words = self._words[name]
        numeric = self._columns[name].type in ("integer", "number", "boolean")
        return clean(pl.col(name), {*words, *NA_WORDS} if numeric else words)

    def unread(self, types: "Mapping[str, pl.DataType]") -> "dict[str, pl.Expr]":
        """Of every column that comes as text and is none: whether a value of it cannot be read, by row."""
        names = [n for n, c in self._columns.items() if c.type in ("integer", "number", "boolean")]
        found = {}
        for name in names:
            if name in types and is_text(types[name]):
                number = self.spelling.number(self.text(name))
                read = self.values(name, types[name]) if self._columns[name].type != "number" else number
                missing = number.is_in(sorted(self._numbers[name])).fill_null(False)
                found[name] = self.text(name).is_not_null() & read.is_null() & ~missing
        return found

    def of_record(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """A record with its values read as :meth:`of_rows` reads them; fields that are not known stay as they are.

        Raises:
            UserError: a value is no number where one belongs; the message names the field.
        """
        return {name: self._value(name, value) if name in self._columns else value for name, value in record.items()}

    def _value(self, name: str, value: Any) -> Any:
        if value is None:
            return None
        kind = self._columns[name].type
        if isinstance(value, str):
            text = clean_value(value) if self._stripped or kind != "string" else value
            if not text or text in self._words[name]:
                return None
            return text if kind in ("string", "datetime") else self._parsed(name, text)
        if kind == "string" and isinstance(value, int | float):
            text = word(value)
            return None if text in self._words[name] else text
        if isinstance(value, float) and math.isnan(value):
            return None
        if kind in ("integer", "number", "boolean") and isinstance(value, bool) != (kind == "boolean"):
            if kind == "boolean" and value in (0, 1):
                return bool(value)
            if isinstance(value, bool | int | float):
                belongs = "neither true nor false" if kind == "boolean" else "no number"
                raise UserError(f"column {name}: {value!r} is {belongs}; correct it, or leave it out if missing")
        if isinstance(value, bool) or not isinstance(value, int | float):
            return value
        return None if value in self._numbers[name] else value

    def _parsed(self, name: str, text: str) -> Any:
        """A number or a boolean that a record has as text; rare, so a frame of one row will do."""
        import polars as pl

        rows = pl.DataFrame({name: [text]})
        if rows.select(self.unread(rows.schema)[name]).item():
            raise UserError(f"column {name}: {text!r} is no number; give a number, or leave it out if missing")
        return self.of_rows(rows).item()


def is_text(dtype: "pl.DataType") -> bool:
    """Whether a column holds text, in whatever form."""
    import polars as pl

    return dtype in (pl.String, pl.Categorical, pl.Enum)


def _boolean(text: "pl.Expr") -> "pl.Expr":
    import polars as pl

    lower = text.str.to_lowercase()
    return pl.when(lower.is_in(["true", "false"])).then(lower == "true")


def _numbers(words: Iterable[str]) -> frozenset[float]:
    found = set()
    for text in words:
        try:
            found.add(float(text))
        except ValueError:
            continue
    return frozenset(number for number in found if not math.isnan(number))
