"""The record of a server, read as one table: what was asked, what was answered, one row a scored transaction.

The folder has ``day=YYYY-MM-DD/<instance>_<hour>.parquet`` by the time of scoring (UTC), which Polars, DuckDB and
pandas read as one data set, and beside it what is not there yet: ``_journal/``, see :mod:`.journal`, and the labels,
see :mod:`.labels`.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, TypeVar

import polars as pl

from fraudlab.errors import UserError
from fraudlab.monitoring import inputs, journal

_log = logging.getLogger(__name__)
_Found = TypeVar("_Found")
_TRIES = 4
_REASON = pl.Struct({"feature": pl.String, "value": pl.String, "share": pl.Float64})
_DTYPES: dict[str, pl.DataType | type[pl.DataType]] = {
    "integer": pl.Int64,
    "number": pl.Float64,
    "string": pl.String,
    "boolean": pl.Boolean,
    "datetime": pl.String,
}
COLUMNS: dict[str, pl.DataType | type[pl.DataType]] = {
    "request_id": pl.String,
    "position": pl.Int32,
    "transaction_id": pl.String,
    "transaction_time": pl.Datetime("us"),
    "scored_at": pl.Datetime("us", "UTC"),
    "bundle_version": pl.String,
    "instance": pl.String,
    "raw_score": pl.Float64,
    "score": pl.Float64,
    "risk_level": pl.String,
    "high_threshold": pl.Float64,
    "medium_threshold": pl.Float64,
    "reasons": pl.List(_REASON),
    "sample_weight": pl.Float64,
    "decision": pl.String,
    "rule": pl.String,
    "spread_low": pl.Float64,
    "spread_high": pl.Float64,
    "challenger_version": pl.String,
    "challenger_raw_score": pl.Float64,
    "challenger_score": pl.Float64,
    "challenger_risk_level": pl.String,
    "challenger_reasons": pl.List(pl.String),
}
"""The columns of a row, before ``input``, the struct of the contract's fields.

``position`` counts from 0 in the request's list. ``transaction_id`` is the field with the role id, as text, and
``transaction_time`` the one with the role time, in UTC where it names a zone; null where the contract has none, or a
time that counts from no known day or is not in the years 1 to 9999 in UTC. ``raw_score`` is the model's, before
calibration. ``reasons`` is null where none were asked for; the value of a hashed field is its hash. ``sample_weight``
is one over the share of requests that was recorded. ``decision`` is what ``serving.decisions`` has for the level.
``rule`` is what set the level where the bundle decides by money, ``money`` or ``thresholds``; ``spread_low`` and
``spread_high`` are between what the members of a bundle with several lie; null with other bundles.
``challenger_…`` is what a bundle gave that scores in the shadow, null where it did not; its reasons are those of
alerts, and names alone.
"""
_FILES = (f"{journal.FOLDER}/*/{journal.PARTS}", "day=*/*.parquet")
_CHALLENGER = [name for name in COLUMNS if name.startswith("challenger_")]
_FURTHER = ["rule", "spread_low", "spread_high"]
_LATER = [*_CHALLENGER, *_FURTHER]  # which earlier versions did not record


def dtypes(types: Mapping[str, str]) -> pl.Schema:
    """The schema of rows whose contract has these fields.

    Args:
        types: of the fields by name, in the contract's words; ``string`` where a keyed hash stands for the value.
            Times stand as they came, as text.
    """
    return pl.Schema({**COLUMNS, "input": pl.Struct({name: _DTYPES[kind] for name, kind in types.items()})})


def scan(folder: str | Path, start: datetime | None = None, stop: datetime | None = None) -> pl.LazyFrame:
    """The rows by :func:`dtypes`, in any order, that were scored from ``start`` to before ``stop``.

    Times without a zone are UTC.

    Rows of the journal, which are not in Parquet yet, are among them. A transaction that was sent again counts once: of
    rows of the same input with one request id and position, or one transaction id, the first stays. Where bundles had
    other fields, ``input`` has those of all; a field that is of another type with another bundle is text, or a number
    where both are.

    Which rows there are is settled here. A server may replace their files before they are collected: :func:`settled`.

    Raises:
        UserError: there is no such folder, or a file in it is no record.
    """
    return _once(rows(folder, start, stop))


def settled(folder: str | Path, read: Callable[[], _Found]) -> _Found:
    """What ``read`` makes of the record at ``folder``, all of it from the same files.

    A server puts an hour's file in the place of its parts, and deletes what is too old, while others read. Where a file
    that was there before ``read`` is gone after it, or is another one, ``read`` is called again.

    Raises:
        UserError: files were replaced each time.
    """
    for _ in range(_TRIES):
        before = _files(folder).items()
        try:
            found = read()
        except (OSError, pl.exceptions.PolarsError):
            if before <= _files(folder).items():
                raise
        else:
            if before <= _files(folder).items():
                return found
    raise UserError(f"files of {folder} were replaced {_TRIES} times while it was read; run this again")


def _files(folder: str | Path) -> dict[Path, tuple[int, int]]:
    """What tells the record's files of Parquet from others in their place."""
    found = {}
    for path in (path for pattern in _FILES for path in Path(folder).glob(pattern)):
        with suppress(FileNotFoundError):
            about = path.stat()
            found[path] = about.st_ino, about.st_mtime_ns
    return found


def rows(folder: str | Path, start: datetime | None = None, stop: datetime | None = None) -> pl.LazyFrame:
    """:func:`scan`, with what was sent again as often as it was scored."""
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"no records at {folder}; give the folder that serving.record_to names")
    first, end = (None if moment is None else in_utc(moment) for moment in (start, stop))
    # In this order, in which a server moves rows: read twice, which counts once, rather than never.
    frames = [frame.lazy() for frame in _of_journal(folder)]
    parts, files = (sorted(folder.glob(pattern)) for pattern in _FILES)
    files = [path for path in files if _within(path, first, end)]
    frames += [pl.scan_parquet(path, hive_partitioning=False, glob=False) for path in [*parts, *files]]
    found = together(frames)
    if first is not None:
        found = found.filter(pl.col("scored_at") >= first)
    return found if end is None else found.filter(pl.col("scored_at") < end)


def _of_journal(folder: Path) -> Iterator[pl.DataFrame]:
    for segment in journal.segments(folder):
        try:
            yield of_segment(segment)
        except UserError as error:
            _log.warning("%s; its %d rows are left out", error, len(segment.lines))


def of_segment(segment: journal.Segment, rest: Callable[[], None] | None = None) -> pl.DataFrame:
    """The rows of a part of the journal, by :func:`dtypes`, without the lines that are no rows.

    Args:
        segment: the part.
        rest: called after some hundred rows each.

    Raises:
        UserError: they have values that are none of a record.
    """
    frames = []
    try:
        for rows in segment.blocks():
            frames.append(_frame(segment.facts, rows))
            if rest is not None:
                rest()
        found = pl.concat(frames) if frames else _frame(segment.facts, [])
        if broken := len(segment.lines) - found.height:
            _log.warning("%s has %d broken lines; they are left out", segment.path, broken)
        return found
    except (ArithmeticError, LookupError, TypeError, ValueError, pl.exceptions.PolarsError) as error:
        raise UserError(f"{segment.path} has values that no record can have") from error


def _frame(facts: Mapping[str, Any], of: Sequence[journal.Row]) -> pl.DataFrame:
    schema = dtypes(facts["types"])
    names = ("request_id", "position", "transaction_id", "transaction_time", "scored_at", "raw_score", "score")
    own = (*names, "risk_level", "reasons", "decision")
    fields = schema["input"]
    assert isinstance(fields, pl.Struct)
    of, given = inputs.read(of, fields)
    rows = [row for row, _ in of]
    columns = list(zip(*rows, strict=True)) or [()] * len(own)
    made: dict[str, Sequence[Any]] = dict(zip(own, columns, strict=False))
    made["transaction_time"] = [None if text is None else _moment(text) for text in made["transaction_time"]]
    frame = pl.DataFrame(
        [pl.Series(name, made[name], pl.Int64 if name == "scored_at" else COLUMNS[name], strict=False) for name in own]
    ).with_columns(
        pl.from_epoch("scored_at", time_unit="us").dt.replace_time_zone("UTC"),
        *(pl.lit(facts[name], COLUMNS[name]).alias(name) for name in journal.FACTS),
        *_further(facts, rows),
        *_shadow(facts, rows),
        input=given,
    )
    return frame.select(list(schema))


def _further(facts: Mapping[str, Any], rows: Sequence[Sequence[Any]]) -> list[pl.Series | pl.Expr]:
    """The columns that some bundles alone have."""
    names = facts.get(journal.FURTHER, [])
    columns = list(zip(*(row[journal.WIDTH] for row in rows), strict=True)) if names else []
    given = dict(zip(names, columns or [()] * len(names), strict=True))
    return [
        pl.Series(name, given[name], COLUMNS[name]) if name in given else pl.lit(None, COLUMNS[name]).alias(name)
        for name in _FURTHER
    ]


def _shadow(facts: Mapping[str, Any], rows: Sequence[Sequence[Any]]) -> list[pl.Series] | list[pl.Expr]:
    """The columns of a challenger."""
    version = facts.get(journal.CHALLENGER)
    if version is None:
        return [pl.lit(None, COLUMNS[name]).alias(name) for name in _CHALLENGER]
    its = [[None] * len(_CHALLENGER) if row[-1] is None else [version, *row[-1]] for row in rows]
    columns = list(zip(*its, strict=True)) or [()] * len(_CHALLENGER)
    return [pl.Series(name, values, COLUMNS[name]) for name, values in zip(_CHALLENGER, columns, strict=True)]


def _moment(text: str) -> datetime | None:
    moment = datetime.fromisoformat(text)
    try:
        return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)
    except OverflowError:  # at the ends of the calendar
        return None


def together(frames: Sequence[pl.LazyFrame]) -> pl.LazyFrame:
    """The rows of all, ``input`` with the fields of each."""
    kinds: dict[str, pl.DataType] = {}
    structs = []
    frames = [_completed(frame) for frame in frames]
    for frame in frames:
        found = frame.collect_schema()
        if missing := [name for name in (*COLUMNS, "input") if name not in found]:
            raise UserError(f"the record has a file without {', '.join(missing)}; take it out of its folder")
        fields = found["input"]
        assert isinstance(fields, pl.Struct)
        structs.append({field.name: field.dtype for field in fields.fields})
        for name, kind in structs[-1].items():
            kinds[name] = _common(kinds.get(name, kind), kind)
    if not frames:
        return pl.LazyFrame(schema=dtypes({}))
    same = [
        frame if own == kinds else frame.with_columns(input=pl.struct(_fields(own, kinds)))
        for frame, own in zip(frames, structs, strict=True)
    ]
    return pl.concat([frame.select(*COLUMNS, "input") for frame in same], how="vertical")


def _completed(frame: pl.LazyFrame) -> pl.LazyFrame:
    """With the columns that files of earlier versions have not."""
    found = frame.collect_schema()
    return frame.with_columns(pl.lit(None, COLUMNS[name]).alias(name) for name in _LATER if name not in found)


def _fields(own: Mapping[str, Any], kinds: Mapping[str, Any]) -> list[pl.Expr]:
    return [
        (pl.col("input").struct.field(name) if name in own else pl.lit(None)).cast(kind).alias(name)
        for name, kind in kinds.items()
    ]


def _common(one: Any, other: Any) -> Any:
    if one == other:
        return one
    return pl.Float64() if {one, other} <= {pl.Int64(), pl.Float64()} else pl.String()


def _once(rows: pl.LazyFrame) -> pl.LazyFrame:
    """The rows without those that were sent again, the first of each kept."""
    own = ["request_id", "position", "transaction_id", "scored_at"]
    keys = rows.select(own).collect()
    by_request = pl.struct("request_id", "position").is_duplicated()
    by_id = pl.col("transaction_id").is_duplicated() & pl.col("transaction_id").is_not_null()
    likely = keys.filter(by_request | by_id).unique()
    if likely.is_empty():
        return rows
    seen = rows.join(likely.lazy(), on=own, how="semi", nulls_equal=True, maintain_order="left").select(
        *own, content=pl.col("input").hash()
    )
    several = seen.collect().sort("scored_at", maintain_order=True)
    place = pl.struct("request_id", "position", "content")
    number = pl.struct("transaction_id", "content")
    named = pl.col("transaction_id").is_not_null()
    again = several.filter(~place.is_first_distinct() | (named & ~number.is_first_distinct()))
    # By what they are, not by where they stand: a server may put files in the place of others meanwhile.
    first = several.filter(place.is_first_distinct() & (~named | number.is_first_distinct()))
    copied = again.join(first, on=own, how="semi", nulls_equal=True).select(own).unique()
    one_each = rows.join(copied.lazy(), on=own, how="semi", nulls_equal=True).collect().unique(own, keep="first")
    others = rows.join(again.select(own).unique().lazy(), on=own, how="anti", nulls_equal=True)
    return pl.concat([others, one_each.lazy()])


def _within(path: Path, start: datetime | None, stop: datetime | None) -> bool:
    try:
        day = date.fromisoformat(path.parent.name.removeprefix("day="))
    except ValueError:
        raise UserError(f"{path.parent} is not a day of a record; remove it from the folder") from None
    return (start is None or day >= start.date()) and (stop is None or day <= stop.date())


def in_utc(moment: datetime) -> datetime:
    """The moment in UTC, as which one without a zone counts."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
