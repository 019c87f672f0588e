"""Numbers that are written in another way than the settings say: what would read them, and which they are."""

from collections.abc import Collection
from itertools import product

import polars as pl

from fraudlab.features.values import CURRENCY, Spelling

MOST_ODD = 0.01
"""Largest share of cells in a column of numbers that are not numbers; they count as missing."""

_FORMATS = [(".", ""), (",", ""), *product(".,", (",", ".", " ", "'"))]
_FEW = 20  # different whole numbers: codes rather than amounts
_DIGITS = r"(?:\d+(?:[.,]\d+)?|\d{1,3}(?:[.,' ]\d{3})+(?:[.,]\d+)?)"
# What no setting reads: 1.50- and 1.50 CR of accounts, the minus of typesetters, 1_234, 1.5K.
_UNKNOWN = (
    rf"^[+-]?{_DIGITS}\s?(?:[-\u2212\u2013]|CR|DR|Cr|Dr|[KkMm])$|^[\u2212\u2013]\s?{_DIGITS}$|"
    r"^[+-]?\d{1,3}(?:_\d{3})+(?:\.\d+)?$"
)


def spellings(sample: Collection[str]) -> list[Spelling]:
    """The number formats that read nearly all values, if :class:`Spelling`'s default reads few of them.

    There are several if they give different numbers: 1,234 may be 1234 or 1.234.
    """
    values = _frame(sample)
    joined = values["value"]
    if not len(joined) or joined.str.contains(r"\d").mean() < 1 - MOST_ODD:  # type: ignore[operator]
        return []
    marks = {
        "currency": bool(joined.str.contains(rf"^[+-]?\(?\s*(?:{CURRENCY})|(?:{CURRENCY})\)?$").any()),
        "percent": bool(joined.str.contains(r"%\)?$").any()),
        "brackets": bool(joined.str.contains(r"^\(.*\)$").any()),
    }
    found: dict[tuple[float | None, ...], Spelling] = {}
    for decimal, thousands in _FORMATS:
        spelling = Spelling(decimal, thousands, **marks)
        if decimal == thousands or spelling == Spelling():
            continue
        read = values.select(spelling.number(pl.col("value")))["value"]
        if read.null_count() <= MOST_ODD * len(read):
            found.setdefault(tuple(read.to_list()), spelling)
    return list(found.values())


def settings(spelling: Spelling) -> str:
    flags = [f"data.{name}=true" for name in ("currency", "percent", "brackets") if getattr(spelling, name)]
    decimal = [] if spelling.decimal == "." else ["data.decimal=','"]
    thousands = [f'data.thousands="{spelling.thousands}"'] if spelling.thousands else []
    return " ".join([*decimal, *thousands, *flags])


def numbers_of(words: Collection[str], spelling: Spelling) -> list[str]:
    """Those of ``words`` that are numbers as ``spelling`` says."""
    return _frame(words).filter(spelling.number(pl.col("value")).is_not_null())["value"].to_list()


def odd_numbers(words: Collection[str]) -> list[str]:
    """Those of ``words`` that are numbers, however they are written."""
    text = pl.col("value")
    values = _frame(words).filter(text.str.contains(r"\d"))
    if values.is_empty():  # most columns of words
        return []
    ways = [Spelling(decimal, thousands, True, True, True) for decimal, thousands in _FORMATS if decimal != thousands]
    reads = [way.number(text).is_not_null() for way in ways]
    return values.filter(pl.any_horizontal(reads) | text.str.contains(_UNKNOWN))["value"].to_list()


def advice(numbers: Collection[str], odd: Collection[str]) -> list[str]:
    """The settings that read all of ``odd`` and nearly all ``numbers``; none if no setting does."""
    return [settings(way) for way in spellings([*numbers, *odd]) if len(numbers_of(odd, way)) == len(odd)]


def are_measured(numbers: Collection[str], decimal: str) -> bool:
    """Whether numbers are amounts or counts and not a few codes."""
    return len(numbers) > _FEW or any(decimal in number for number in numbers)


def _frame(words: Collection[str]) -> pl.DataFrame:
    return pl.DataFrame({"value": list(words)}, schema={"value": pl.String})
