"""``data.derive`` and ``data.where``: SQL expressions over the columns, in training and in serving.

``EXTRACT(hour FROM when)`` reads the column ``data.time`` as the time that it is, in whatever form it comes: text, a
date, a number of an epoch. So does ``STRPTIME(when, …)`` in the format in which the time is read anyway.
"""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl
from polars.exceptions import PolarsError

from fraudlab.data.sources.table.names import enclosed
from fraudlab.data.sources.table.time_format import ISO, USUAL, TimeFormat, written
from fraudlab.data.sources.table.times import fitting
from fraudlab.errors import UserError
from fraudlab.features.values import is_text

_STRPTIME = re.compile(r"\bSTRPTIME\s*\(((?:[^()]|\([^()]*\))*),\s*'([^']*)'\s*\)", re.IGNORECASE)
_TIME = "\0time"  # the column that stands for the time in an expression


@dataclass(frozen=True)
class Time:
    """The raw column that ``data.time`` names, and how it is read."""

    column: str
    form: TimeFormat

    def read_in(self, expression: str) -> str:
        """The expression with the time where it asks for parts of ``column``."""
        plain = rf"|{re.escape(self.column)}\b" if re.fullmatch(r"\w+", self.column) else ""
        name = rf'(?:"{re.escape(enclosed(self.column)[1:-1])}"{plain})'
        for before in (r"\bEXTRACT\s*\(\s*\w+\s+FROM\s+", r"\bDATE_PART\s*\(\s*'\w+'\s*,\s*"):
            expression = re.sub(rf"({before}){name}(\s*\))", rf'\1"{_TIME}"\2', expression, flags=re.IGNORECASE)
        return re.sub(rf"\bSTRPTIME\s*\(\s*{name}\s*,\s*'([^']*)'\s*\)", self._own, expression, flags=re.IGNORECASE)

    def is_read_by(self, expression: str | None) -> bool:
        """Whether an expression asks for parts of ``column``."""
        return expression is not None and self.read_in(expression) != expression

    def _own(self, found: "re.Match[str]") -> str:
        usual = self.form.format == ISO and found[1] in USUAL and self.form.zone is None
        return f'"{_TIME}"' if usual or found[1] == self.form.format else found[0]

    def beside(self, frame: pl.LazyFrame) -> pl.LazyFrame | None:
        """The frame with the time, if the column is there and holds moments."""
        dtype = frame.collect_schema().get(self.column)
        value = None if dtype is None else self.form.local(pl.col(self.column), dtype)
        return None if value is None else frame.with_columns(value.alias(_TIME))


def derived(frame: pl.LazyFrame, expressions: Mapping[str, str], time: Time | None = None) -> pl.LazyFrame:
    """The frame with a column for each expression, which may read those before it.

    Raises:
        UserError: an expression does not fit the columns; the message names its key.
    """
    for name, expression in expressions.items():
        try:
            made = _with(frame, name, expression, time)
            made.collect_schema()
        except PolarsError as error:
            raise _wrong(frame, f"data.derive.{name}", expression, error) from error
        frame = made
    return frame


def _with(frame: pl.LazyFrame, name: str, expression: str, time: Time | None) -> pl.LazyFrame:
    return _over(frame, expression, time, lambda over, value: over.with_columns(value.alias(name)))


def _over(
    frame: pl.LazyFrame,
    expression: str,
    time: Time | None,
    make: Callable[[pl.LazyFrame, pl.Expr], pl.LazyFrame],
) -> pl.LazyFrame:
    """What ``make`` gives of the frame and the expression, with the time beside the columns where that is read."""
    text = expression if time is None else time.read_in(expression)
    timed = time.beside(frame) if time is not None and text != expression else None
    return make(frame, pl.sql_expr(expression)) if timed is None else make(timed, pl.sql_expr(text)).drop(_TIME)


def where(frame: pl.LazyFrame, condition: str | None, time: Time | None = None) -> pl.LazyFrame:
    """The rows that ``condition`` keeps."""
    if condition is None:
        return frame
    try:
        kept = _over(frame, condition, time, pl.LazyFrame.filter)
        kept.collect_schema()
    except PolarsError as error:
        raise _wrong(frame, "data.where", condition, error) from error
    return kept


def of_time(expressions: Mapping[str, str], time: Time) -> set[str]:
    """The expressions that read the time as such, directly or through others."""
    found = {name for name, text in expressions.items() if time.is_read_by(text)}
    return found | {name for name in expressions if found & read_by(expressions, [name])}


def read_by(expressions: Mapping[str, str], names: Collection[str]) -> set[str]:
    """The columns that the expressions of ``names`` read, directly or through other expressions."""
    seen: set[str] = set()
    waiting = [name for name in names if name in expressions]
    while waiting:
        name = waiting.pop()
        for root in pl.sql_expr(expressions[name]).meta.root_names():
            if root not in seen:
                seen.add(root)
                if root in expressions and root != name:
                    waiting.append(root)
    return seen


def failed(frame: pl.LazyFrame, expressions: Mapping[str, str], time: Time | None = None) -> UserError | None:
    """The expression that fails on the rows' values, if one does, with the first such row if there are several."""
    for number, (name, expression) in enumerate(expressions.items()):
        before = derived(frame, dict(list(expressions.items())[:number]), time)
        one = _with(before, name, expression, time).select(name)
        try:
            one.collect(engine="streaming")
        except PolarsError as own:
            said = _wrong(before, f"data.derive.{name}", expression, own)
            row = _first_failing(one, frame)
            return said if row is None else UserError(f"{said} (row {row + 1})")
    return None


def _first_failing(made: pl.LazyFrame, frame: pl.LazyFrame) -> int | None:
    """The first row of which ``made`` cannot be made, by halves; None where there is one row."""
    end = frame.select(pl.len()).collect(engine="streaming").item()
    if end < 2:
        return None
    start = 0
    while end - start > 1:
        middle = (start + end) // 2
        try:
            made.slice(start, middle - start).collect(engine="streaming")
            start = middle
        except PolarsError:
            end = middle
    return int(start)


def _wrong(frame: pl.LazyFrame, key: str, expression: str, error: PolarsError) -> UserError:
    types: dict[str, Any] = dict(frame.collect_schema())
    first = str(error).strip().partition("\n")[0].rstrip(".;")
    try:
        roots = [root for root in pl.sql_expr(expression).meta.root_names() if root in types]
    except PolarsError:
        roots = []
    if (found := _STRPTIME.search(expression)) is not None and (odd := _odd(frame, found[1], found[2])) is not None:
        hint = ""
        if odd[1] > 1 and roots == [found[1].strip().strip('"')]:  # of a table: another format may read the column
            made = _as_time(frame, roots[0])
            hint = f"; {made} reads it" if made else ""
        return UserError(f"{key}: {' and '.join(roots)} is {odd[0]!r}, not a time written {written(found[2])}{hint}")
    times = ("TIMESTAMP", "DATE", "STRPTIME", "EXTRACT", "DATETIME")
    if any(word in expression.upper() for word in times):
        for root in roots:
            if is_text(types[root]) and (made := _as_time(frame, root)):
                return UserError(f"{key}: {first}; {root} is text, which {made} reads as a time")
    return UserError(f"{key}: {first}; give a SQL expression over the columns {', '.join(types)}")


def _odd(frame: pl.LazyFrame, text: str, form: str) -> tuple[str, int] | None:
    """The first words of an expression that are no time in a format, and the number of rows; None if all are."""
    try:
        words = frame.select(pl.sql_expr(text).cast(pl.String).alias("words")).drop_nulls()
        unread = pl.col("words").str.to_datetime(form, time_unit="us", strict=False).is_null()
        odd, rows = words.select(pl.col("words").filter(unread).first(), pl.len().alias("rows")).collect().row(0)
    except PolarsError:
        return None
    return None if odd is None else (odd, rows)


def _as_time(frame: pl.LazyFrame, name: str) -> str | None:
    values = frame.select(name).drop_nulls().head(1000).collect()[name].cast(pl.String).unique(maintain_order=True)
    if not len(values):
        return None
    if values.to_frame().select(TimeFormat(ISO).values(pl.first(), pl.String).is_not_null().all()).item():
        clock = " %H:%M:%S" if " " in values[0].strip() else "T%H:%M:%S" if "T" in values[0] else ""
        return f"STRPTIME({name}, '%Y-%m-%d{clock}')"
    found = [fmt for fmt, _ in fitting(values)]
    return " or ".join(f"STRPTIME({name}, '{fmt}')" for fmt in found) or None
