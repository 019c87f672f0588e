"""``data.derive`` and ``data.where``: SQL expressions over the columns, in training and in serving."""

from collections.abc import Collection, Mapping
from typing import Any

import polars as pl
from polars.exceptions import PolarsError

from fraudlab.data.sources.table.times import ISO, TimeFormat, fitting
from fraudlab.errors import UserError
from fraudlab.features.values import is_text


def derived(frame: pl.LazyFrame, expressions: Mapping[str, str]) -> pl.LazyFrame:
    """The frame with a column for each expression, which may read those before it.

    Raises:
        UserError: an expression does not fit the columns; the message names its key.
    """
    for name, expression in expressions.items():
        try:
            made = frame.with_columns(pl.sql_expr(expression).alias(name))
            made.collect_schema()
        except PolarsError as error:
            raise _wrong(frame, f"data.derive.{name}", expression, error) from error
        frame = made
    return frame


def where(frame: pl.LazyFrame, condition: str | None) -> pl.LazyFrame:
    """The rows that ``condition`` keeps."""
    if condition is None:
        return frame
    try:
        kept = frame.filter(pl.sql_expr(condition))
        kept.collect_schema()
    except PolarsError as error:
        raise _wrong(frame, "data.where", condition, error) from error
    return kept


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


def failed(frame: pl.LazyFrame, expressions: Mapping[str, str], error: PolarsError) -> UserError | None:
    """The expression that fails on the rows' values, if one does."""
    for number, (name, expression) in enumerate(expressions.items()):
        before = derived(frame, dict(list(expressions.items())[:number]))
        try:
            before.select(pl.sql_expr(expression)).collect(engine="streaming")
        except PolarsError as own:
            return _wrong(before, f"data.derive.{name}", expression, own)
    return None


def _wrong(frame: pl.LazyFrame, key: str, expression: str, error: PolarsError) -> UserError:
    types: dict[str, Any] = dict(frame.collect_schema())
    first = str(error).strip().partition("\n")[0].rstrip(".;")
    try:
        roots = [root for root in pl.sql_expr(expression).meta.root_names() if root in types]
    except PolarsError:
        roots = []
    times = ("TIMESTAMP", "DATE", "STRPTIME", "EXTRACT", "DATETIME")
    if any(word in expression.upper() for word in times):
        for root in roots:
            if is_text(types[root]) and (hint := _as_time(frame, root)):
                return UserError(f"{key}: {first}; {root} is text, which {hint} reads as a time")
    return UserError(f"{key}: {first}; give a SQL expression over the columns {', '.join(types)}")


def _as_time(frame: pl.LazyFrame, name: str) -> str | None:
    values = frame.select(name).drop_nulls().head(1000).collect()[name].cast(pl.String).unique(maintain_order=True)
    if not len(values):
        return None
    if values.to_frame().select(TimeFormat(ISO).values(pl.first(), pl.String).is_not_null().all()).item():
        clock = " %H:%M:%S" if " " in values[0].strip() else "T%H:%M:%S" if "T" in values[0] else ""
        return f"STRPTIME({name}, '%Y-%m-%d{clock}')"
    found = [fmt for fmt, _ in fitting(values)]
    return " or ".join(f"STRPTIME({name}, '{fmt}')" for fmt in found) or None
