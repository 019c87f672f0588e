"""Notes on readings that are plausible but that a user may not intend."""

from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from fraudlab.config.overrides import literal_text
from fraudlab.data.sources.table.names import is_after, is_code, is_measure, quoted, to_type
from fraudlab.features.values import is_text
from fraudlab.schema import Role

_LONG = 10**12  # identifiers, not amounts
_LOST = 10**6
_EARLIEST = pl.datetime(1971, 1, 1)
_SHOWN = 5


def doubts(
    frame: pl.LazyFrame, kept: Mapping[str, Role], fixed: Collection[str], time: tuple[str, pl.Expr] | None
) -> list[str]:
    """The notes, each with the setting that decides it.

    Args:
        frame: the table before roles change its columns.
        kept: the role of each column.
        fixed: the columns whose roles the settings give.
        time: the column of the time and its values, where these are dates.
    """
    types = frame.collect_schema()
    inputs = [name for name, role in kept.items() if role in ("numeric", "categorical") and name not in fixed]
    whole = [n for n in inputs if types[n].is_integer() or (types[n].is_float() and is_code(n))]
    ids = [name for name, role in kept.items() if role in ("id", "card", "terminal")]
    long = [n for n in kept if (types[n].is_numeric() and n in inputs) or (n in ids and _is_long(types[n]))]
    facts = _facts(frame, whole, long)
    said = list(_of_names(inputs, whole, facts))
    if lost := [name for name in long if facts[f"{name}\0lost"]]:
        said.append(
            f"{_columns(lost)}: all values are multiples of {_LOST:,}: the last digits were lost, e.g. in "
            "Excel, and different cards or ids have become equal: export them again from the original, as text"
        )
    if time is not None:
        said += _far(frame, *time)
    return said


def _is_long(dtype: pl.DataType) -> bool:
    return dtype.is_numeric() or is_text(dtype)


def _facts(frame: pl.LazyFrame, whole: Collection[str], long: Collection[str]) -> dict[str, Any]:
    parts = []
    for name in whole:
        value = pl.col(name)
        flag, fraction = (value.min() >= 0) & (value.max() <= 1), (value != value.floor()).any()
        parts.append((flag | fraction).alias(f"{name}\0flag"))
        parts.append(((value.n_unique() <= 20) & (value.min() >= 10) & (pl.len() >= 100)).alias(f"{name}\0few"))
        parts.append((value.min() >= _LONG).alias(f"{name}\0long"))
    for name in long:
        value = pl.col(name).cast(pl.Float64, strict=False)
        as_written = pl.col(name).cast(pl.String).str.contains(r"^\d+0{6}(\.0*)?$|\d[eE]\+?\d+$").all()
        numbers = (value.count() == pl.col(name).count()) & (value.count() > 1) & as_written
        lost = ((value % _LOST) == 0).all() & (value.min() >= _LONG) & numbers
        parts.append(lost.alias(f"{name}\0lost"))
    return frame.select(parts).collect(engine="streaming").row(0, named=True) if parts else {}


def _columns(names: Collection[str]) -> str:
    return f"column{'s' if len(names) > 1 else ''} {', '.join(names)}"


def _of_names(inputs: Collection[str], whole: Collection[str], facts: Mapping[str, Any]) -> Iterator[str]:
    if after := [name for name in inputs if is_after(name)]:
        names = ", ".join(map(literal_text, after))
        yield (
            f"{_columns(after)}, by name known only after a fraud: data.carried=[{names}] takes out of the inputs what "
            f"is, a role such as data.numeric=[{literal_text(after[0])}] says what is known before"
        )
    by_name = [name for name in whole if is_code(name) and not facts[f"{name}\0flag"]]
    by_values = [n for n in whole if (facts[f"{n}\0few"] and not is_measure(n)) or facts[f"{n}\0long"]]
    codes = [name for name in whole if name not in after and name in (*by_name, *by_values)]
    if codes:
        names = ", ".join(map(literal_text, codes))
        yield (
            f"{_columns(codes)}: whole numbers that look like codes; data.categorical=[{names}] tells them "
            f"apart instead of measuring them, data.numeric=[{names}] says that they are amounts or counts"
        )


def _far(frame: pl.LazyFrame, name: str, values: pl.Expr) -> Iterator[str]:
    tomorrow = datetime.now(UTC).replace(tzinfo=None) + timedelta(days=1)
    far = (values < _EARLIEST) | (values > tomorrow)
    found = frame.filter(far).select(pl.col(name).cast(pl.String), values.alias("\0moment")).collect()
    if not len(found):
        return
    words = found[name].unique().sort().to_list()
    shown = ", ".join("'" + word.replace("'", "''") + "'" for word in words[:_SHOWN])
    said = f"{len(found):,} rows have implausible dates in {name}, before 1971 or in the future ({shown}"
    if len(words) <= _SHOWN:
        column = quoted(name) if is_text(frame.collect_schema()[name]) else f"CAST({quoted(name)} AS VARCHAR)"
        where = f"{column} NOT IN ({shown})"
    else:
        said += ", …"
        where = f"EXTRACT(year FROM {quoted(name)}) BETWEEN 1971 AND {tomorrow.year}"
    yield f"{said}), which may mean a missing time; {to_type('data.where', where)} leaves them out"
