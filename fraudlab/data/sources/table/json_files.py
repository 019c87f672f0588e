"""JSON, also what Polars does not read: NaN, a mark of UTF-8, values of several types; a cut line has a number."""

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import polars as pl
from polars.exceptions import PolarsError

from fraudlab.errors import UserError

_OF_PANDAS = ({"columns", "index", "data"}, {"columns", "data"}, {"schema", "data"})


def write(file: Path, lines: bool, copy: Path) -> None:
    """The rows of a file with a record a line, or with a list of records, as Arrow, which knows every type.

    Raises:
        UserError: it is not JSON, or a line of it is none; the message has its number.
    """
    try:
        if lines:
            with file.open("rb") as opened:  # not its name, which may have the signs of a glob
                pl.scan_ndjson(opened, infer_schema_length=None).sink_ipc(copy, compression="lz4")
        else:
            pl.read_json(file, infer_schema_length=None).write_ipc(copy, compression="lz4")
    except PolarsError:
        _frame(_lines(file) if lines else _list(file)).write_ipc(copy, compression="lz4")
    _refuse_columns(file, pl.scan_ipc(copy, glob=False))


def _lines(file: Path) -> Iterable[dict[str, Any]]:
    with file.open(encoding="utf-8-sig") as opened:
        for number, line in enumerate(opened, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise UserError(f"{file}, line {number} is not JSON ({error}): {line.strip()[:80]!r}; correct it, or "
                                "make the file again: it may be cut short") from error  # fmt: skip
            if not isinstance(row, dict):
                raise UserError(f"{file}, line {number} is no JSON object: {line.strip()[:80]!r}; give one a line")
            yield row


def _list(file: Path) -> list[dict[str, Any]]:
    try:
        rows = json.loads(file.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise UserError(f"{file} is not JSON ({error}); correct it, or make the file again") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise UserError(f"{file} is no list of JSON objects; give one object a row")
    return rows


def _frame(rows: Iterable[dict[str, Any]]) -> pl.DataFrame:
    rows = list(rows)
    names = dict.fromkeys(name for row in rows for name in row)
    return pl.DataFrame([_column(name, [row.get(name) for row in rows]) for name in names])


def _column(name: str, values: list[Any]) -> pl.Series:
    """Values of one type; of several, as text: true and 0 are words of a label."""
    values = [None if isinstance(value, float) and math.isnan(value) else value for value in values]
    kinds = {type(value) for value in values if value is not None}
    if kinds == {int, float}:
        values = [None if value is None else float(value) for value in values]
    elif len(kinds) > 1:
        values = [value if value is None or isinstance(value, str) else json.dumps(value) for value in values]
    return pl.Series(name, values, strict=False)


def _refuse_columns(file: Path, made: pl.LazyFrame) -> None:
    """Refuse tables by columns, as pandas writes them unless it is told otherwise."""
    types = made.collect_schema()
    nested = [kind for kind in types.dtypes() if isinstance(kind, pl.Struct)]
    by_number = len(nested) == len(types) and all(field.name.isdigit() for kind in nested for field in kind.fields)
    rows = [name for name, kind in types.items() if kind == pl.List and isinstance(kind.inner, pl.Struct)]  # type: ignore[attr-defined]
    whole = by_number or (set(types) in _OF_PANDAS and isinstance(types["data"], pl.List))
    if not (whole or rows) or made.select(pl.len()).collect().item() != 1:
        return
    if whole:
        raise UserError(
            f"{file} is one JSON object that holds a whole table, as pandas' to_json() writes it; write one object a "
            "row: frame.to_json(path, orient='records', lines=True)"
        )
    raise UserError(
        f"{file} is one JSON object with its rows under {rows[0]!r}; write that list alone, or an object a row"
    )
