"""From the settings of ``data=table`` to a source: the steps in order, with their notes."""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
from polars.exceptions import InvalidOperationError, PolarsError

from fraudlab.config import TableConfig
from fraudlab.data.sources.contract import Source, contents_of, fingerprint_of
from fraudlab.data.sources.table import derive, labels, moments, roles, times
from fraudlab.data.sources.table.checks import check
from fraudlab.data.sources.table.columns import BEYOND_INT64, is_plain, value_of
from fraudlab.data.sources.table.dialect import Layout
from fraudlab.data.sources.table.doubts import doubts
from fraudlab.data.sources.table.files import Found, find, unreadable
from fraudlab.data.sources.table.kinds import Kinds, column_type
from fraudlab.data.sources.table.roles import ROW_ID
from fraudlab.data.sources.table.scan import Raw, header, require, scan
from fraudlab.data.sources.table.time_format import TimeFormat
from fraudlab.errors import UserError
from fraudlab.features.values import RawColumns, Spelling, is_text
from fraudlab.files import make_once
from fraudlab.schema import Column, Reading, Role, TableSchema

log = logging.getLogger(__name__)

VERSION = 4  # of the data: raised with a change that gives other data from most files; a run that goes on is refused
_LATE = ("weight", "sheet")  # settings that earlier versions did not have
_READING = 6  # of the cached reading: raised with any change of what is read

_told: set[str] = set()


@dataclass(frozen=True)
class Read:
    """A table that was read, notes on the reading, and the reasons for the roles that were not given."""

    source: Source
    notes: list[str]
    why: dict[str, str]


def load(config: TableConfig, cache_dir: Path) -> Source:
    """:func:`read`; notes are logged once."""
    found = read(config, cache_dir)
    if found.source.fingerprint not in _told:
        _told.add(found.source.fingerprint)
        for note in found.notes:
            log.warning(note)
    return found.source


def read(config: TableConfig, cache_dir: Path) -> Read:
    """The table at ``data.path``, in order of time, cached as Parquet in ``cache_dir``.

    All columns are read once here, to find their types and missing values. Columns without a role become ``numeric`` or
    ``categorical`` by their values; dates, row numbers, text with a different word in each row and the sources of a
    derived label, time, amount or id become ``carried``. The time becomes Datetime (microseconds; with a time zone:
    in UTC) or a number of seconds, NaN becomes null, whole numbers beyond 64 bits Float64 or, of an id, a card or a
    category, text. Without ``data.id``, the row's number in the files is the id ``row_id`` (Int64).

    Raises:
        UserError: the files cannot be read without a further setting; the message names it.
    """
    files = files_of(config, cache_dir)
    check_head(config, files, cache_dir)
    stats = [(str(f.path.resolve()), f.path.stat().st_size, f.path.stat().st_mtime_ns, f.partition) for f in files]
    fingerprint = fingerprint_of({**asdict(config), "files": stats, "version": _READING})
    path = cache_dir / f"{config.name}_{fingerprint}.parquet"
    about = path.with_suffix(".json")
    if not path.exists():
        about.unlink(missing_ok=True)

    def write(aside: Path) -> None:
        with TemporaryDirectory(prefix=".table_", dir=cache_dir) as scratch:
            built = _Table.of(config, files, cache_dir, Path(scratch))
            make_once(path, lambda frame: built.frame.sink_parquet(frame, compression="lz4"))
        contents = contents_of(found.path for found in files)
        notes = [*_same(files, json.loads(contents)), *built.notes]
        facts = {"schema": built.schema.to_dict(), "notes": notes, "why": built.why, "files": contents}
        aside.write_text(json.dumps(facts), encoding="utf-8")

    make_once(about, write)
    known = json.loads(about.read_text(encoding="utf-8"))
    partitions = [found.partition for found in files]
    settings = {key: value for key, value in asdict(config).items() if value is not None or key not in _LATE}
    made_of = {**settings, "path": None, "files": known["files"], "partitions": partitions, "version": VERSION}
    source = Source(
        pl.scan_parquet(path, glob=False),
        TableSchema.from_dict(known["schema"]),
        fingerprint,
        data_fingerprint=fingerprint_of(made_of),
    )
    return Read(source, known["notes"], known.get("why", {}))


def files_of(config: TableConfig, cache_dir: Path) -> list[Found]:
    """The files that ``data.path`` and ``data.query`` name."""
    if config.query is not None:
        from fraudlab.data.sources.table.database import fetched

        return [Found(fetched(config.path, config.query, cache_dir), "parquet")]
    return find("data.path", config.path, cache_dir)


def _same(files: Sequence[Found], contents: Sequence[Sequence[Any]]) -> Iterator[str]:
    """Notes on files that hold the same bytes, whose rows are in the table as often."""
    first: dict[str, Found] = {}
    for found, (_, digest) in zip(files, contents, strict=True):
        if (other := first.setdefault(digest, found)) is not found and found.partition == other.partition:
            yield f"{other.path} and {found.path} are the same: their rows count twice; remove one of them"


def check_head(config: TableConfig, files: Sequence[Found], cache_dir: Path) -> None:
    """Refuse mistakes that the first bytes of the files show.

    Raises:
        UserError: a setting names a column that the table lacks, or files do not belong to one table.
    """
    layout = layout_of(config)
    headers = [(found.path, header(found, layout, named(config), cache_dir)) for found in files]
    have = dict.fromkeys(name for _, names in headers for name in names)
    if patterns := [name for name in have if name == "*" or (name[:1] == "^" and name[-1:] == "$")]:
        raise UserError(
            f"the table has a column named {patterns[0]}, which Polars takes for a pattern over names; rename it"
        )
    fixed = roles.given(config, [*have, *config.derive, *([ROW_ID] if config.id is None else [])])
    if config.id is None and ROW_ID in [*have, *config.derive]:
        raise UserError(f"the table has a column {ROW_ID} already: say data.id={ROW_ID}, or name the id column")
    require(headers, [name for name in fixed if name in have], "data.path")


def named(config: TableConfig) -> set[str]:
    """The columns that the settings name."""
    who = (config.id, config.time, config.card, config.terminal, config.amount)
    one = (config.label, config.label_time, config.weight, *who)
    return {
        *(name for name in one if name),
        *config.categorical,
        *config.numeric,
        *config.carried,
        *config.ignored,
    }


def layout_of(config: TableConfig) -> Layout:
    return Layout(config.separator, config.encoding, config.quote, config.header, tuple(config.columns), config.sheet)


def spelling_of(config: TableConfig) -> Spelling:
    return Spelling(config.decimal, config.thousands, config.currency, config.percent, config.brackets)


@dataclass(frozen=True)
class _Table:
    """The table as it is cached, and the notes on it."""

    frame: pl.LazyFrame
    schema: TableSchema
    notes: list[str]
    why: dict[str, str]

    @classmethod
    def of(cls, config: TableConfig, files: Sequence[Found], cache_dir: Path, scratch: Path) -> "_Table":
        try:
            return _made(config, files, cache_dir, scratch)
        except (PolarsError, OSError) as error:
            raise unreadable(config.path, error) from error


def _made(config: TableConfig, files: Sequence[Found], cache_dir: Path, scratch: Path) -> _Table:
    raw = scan(files, layout_of(config), named(config), cache_dir)
    frame = raw.frame
    fixed = roles.given(config, [*frame.collect_schema(), *config.derive, *([ROW_ID] if config.id is None else [])])
    columns, notes = _raw_columns(raw, fixed, config)
    frame = _typed(frame, columns, config)
    if config.id is None:
        frame = frame.with_row_index(ROW_ID).with_columns(pl.col(ROW_ID).cast(pl.Int64))
    if raw.untyped:  # text is parsed once for all later passes
        frame.sink_ipc(scratch / "typed.arrow")
        frame = pl.scan_ipc(scratch / "typed.arrow", glob=False)
    try:
        return _settled(frame, fixed, columns, raw, config, notes)
    except InvalidOperationError as error:
        if (own := derive.failed(frame, config.derive, moments.of(config))) is not None:
            raise own from error
        raise


def _settled(
    read: pl.LazyFrame,
    fixed: Mapping[str, Role],
    columns: Sequence[Column],
    raw: Raw,
    config: TableConfig,
    notes: list[str],
) -> _Table:
    """The steps after the raw columns are typed: derived columns, roles, label, time, checks."""
    read, said = _without_copies(read, columns, config)
    notes += said
    # A derived column replaces the raw one of its name: the raw values are kept beside it.
    replaced = {c.name: _kept_as(c.name) for c in columns if c.name in config.derive and c.name != config.label}
    held = read.with_columns(pl.col(name).alias(copy) for name, copy in replaced.items())
    clock = moments.of(config)
    settled = None if clock is None else moments.read_in(held, clock, config)
    clock = clock if settled is None else settled[0]
    frame = derive.where(derive.derived(held, config.derive, clock), config.where, clock)
    kept, why = roles.settle(frame.drop(replaced.values()), fixed, config, raw.unnamed)
    notes += roles.no_inputs(why)
    frame, label, words_of_label, said = labels.labelled(frame, config)
    notes += said
    time = moments.form_of(config)
    if config.time is not None:
        time, said = times.settle(frame, config.time, time) if settled is None else (settled[0].form, settled[1])
        notes += said

    label_form, frame, said = labels.known_when(frame, config.label_time, time, config.immature)
    notes += said
    types = frame.collect_schema()
    spelling = spelling_of(config)
    values = {name: value_of(name, types[name], role, spelling, time) for name, role in kept.items()}
    values[config.label] = label
    if config.label_time is not None:
        values[config.label_time] = label_form.values(pl.col(config.label_time), types[config.label_time])
        if config.immature == "genuine":
            known = pl.col(config.label_time).is_not_null()
            values[config.label] = pl.when(known).then(values[config.label]).otherwise(0).cast(pl.Int8)
    as_read = _as_read(columns, kept, types, config)
    nulls = check(frame, kept, values, config)
    dates = config.time is not None and not frame.select(values[config.time]).collect_schema().dtypes()[0].is_numeric()
    notes += doubts(frame, kept, fixed, (config.time, values[config.time]) if config.time and dates else None)
    roles_of: dict[str, Role] = {**kept, **dict.fromkeys(as_read.values(), "carried")}
    copies = {copy: pl.col(copy if name in replaced else name) for name, copy in as_read.items()}
    made = frame.select(value.alias(name) for name, value in {**values, **copies}.items())
    order = [name for role in ("time", "id") for name, has in kept.items() if has == role]
    if order != [ROW_ID]:
        made = made.sort(order)
    words = {c.name: c.missing_values for c in columns if c.name not in config.derive}
    read_of = {copy: name for name, copy in as_read.items() if name not in replaced}  # is missing where it is
    table = tuple(
        Column(
            name,
            column_type(dtype),
            roles_of[name],
            nullable=nulls.get(read_of.get(name, name), 1) > 0,
            missing_values=words.get(name, ()),
        )
        for name, dtype in made.collect_schema().items()
    )
    # Whole numbers beyond 64 bits have another type in the table; files and records must use it too.
    own = {c.name: c.type for c in table if c.role not in ("time", "label_time") and c.name not in config.derive}
    raw_columns = [
        replace(c, type=own.get(c.name, c.type)) for c in columns if c.name != config.label or c.name in config.derive
    ]
    reading = Reading(
        tuple(raw_columns),
        as_read,
        dict(config.derive),
        asdict(spelling_of(config)),
        asdict(time),
        {key: value for key, value in asdict(layout_of(config)).items() if value is not None or key not in _LATE},
        {} if label_form == TimeFormat(zone=time.zone) else asdict(label_form),
        {} if words_of_label.plain else asdict(words_of_label),
    )
    return _Table(made, TableSchema(config.name, table, reading=reading), notes, why)


def _without_copies(
    read: pl.LazyFrame, columns: Sequence[Column], config: TableConfig
) -> tuple[pl.LazyFrame, list[str]]:
    if config.copies == "keep":
        return read, []
    once = read.unique([c.name for c in columns if c.name != config.id], keep="first", maintain_order=True)
    rows, kept = (frame.select(pl.len()).collect(engine="streaming").item() for frame in (read, once))
    return once, [f"{rows - kept:,} of {rows:,} rows are copies of others and left out: data.copies=leave_out"]


def _as_read(
    columns: Sequence[Column], kept: Mapping[str, Role], types: Mapping[str, pl.DataType], config: TableConfig
) -> dict[str, str]:
    """Columns that a record must have in raw form, though the table has them in another form."""
    names = [c.name for c in columns if c.name in config.derive and c.name != config.label]
    read = derive.read_by(config.derive, list(config.derive))
    if config.time is not None and config.time not in config.derive:
        text = is_text(types[config.time])
        if (text and config.time in read) or (not text and not types[config.time].is_temporal()):
            names.append(config.time)
    return {name: _kept_as(name) for name in dict.fromkeys(names)}


def _kept_as(name: str) -> str:
    """The column with the raw values, if the table's column of that name was replaced."""
    return f"{name}_as_read"


def _raw_columns(raw: Raw, fixed: Mapping[str, Role], config: TableConfig) -> tuple[list[Column], list[str]]:
    """The columns of the files, each with its type and its words for a missing value."""
    # The role of a derived column does not apply to the raw column that it replaces.
    own: dict[str, Role] = {name: role for name, role in fixed.items() if name not in config.derive}
    own |= {name: "carried" for name in config.derive if name in raw.frame.collect_schema()}
    frame = raw.frame.drop(config.ignored, strict=False)
    kinds = Kinds(frame, raw.untyped, own, config.missing_values, spelling_of(config))
    columns = [
        Column(c.name, c.type, "carried", missing_values=() if own.get(c.name) == "label" else c.missing_values)
        for c in kinds.columns()
    ]
    return columns, [*raw.notes, *kinds.notes, *kinds.na_words()]


def _typed(frame: pl.LazyFrame, columns: Sequence[Column], config: TableConfig) -> pl.LazyFrame:
    types = frame.collect_schema()
    read = RawColumns([c for c in columns if is_plain(types[c.name])], spelling_of(config))
    frame = read.of_rows(frame.drop(config.ignored, strict=False))
    wide = [name for name, dtype in frame.collect_schema().items() if dtype in BEYOND_INT64]
    if not wide:
        return frame
    value = pl.col(wide)
    fits = frame.select((value.cast(pl.Int64, strict=False).is_not_null() | value.is_null()).all())
    row = fits.collect(engine="streaming").row(0, named=True)
    return frame.with_columns(pl.col(name).cast(pl.Int64) for name, fit in row.items() if fit)
