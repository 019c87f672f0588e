"""Files of any kind as one frame of raw columns: what training and prediction both read."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import polars as pl
from polars.exceptions import NoDataError, PolarsError

from fraudlab.data.sources.contract import fingerprint_of
from fraudlab.data.sources.table import dialect, excel, json_files, text
from fraudlab.data.sources.table.dialect import Layout
from fraudlab.data.sources.table.files import Found, empty, head, unreadable
from fraudlab.data.sources.table.names import composed
from fraudlab.errors import UserError
from fraudlab.features.values import as_text, is_text
from fraudlab.files import make_once


@dataclass(frozen=True)
class Raw:
    """Raw columns of all files, one after the other.

    Attributes:
        frame: the rows; columns of text files are text.
        untyped: names of the columns whose types are inferred from text: those of CSV, Excel and folder names.
        notes: findings about the files to tell the user, once each.
        unnamed: columns that no header names.
    """

    frame: pl.LazyFrame
    untyped: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()
    unnamed: frozenset[str] = field(default_factory=frozenset)


def header(found: Found, layout: Layout, expected: Collection[str], cache_dir: Path) -> list[str]:
    """The names of a file's columns; for text, from its first bytes."""
    if found.kind == "text":
        known = dialect.find(found.path, head(found.path), layout, expected)
        return [*known.names, *found.partition]
    return [*_frame(found, layout, expected, cache_dir).collect_schema().names(), *found.partition]


def scan(files: Sequence[Found], layout: Layout, expected: Collection[str], cache_dir: Path) -> Raw:
    """The rows of all files.

    A column that some files lack is null in their rows, and a note says so; the caller checks which columns every file
    must have (:func:`require`).

    Raises:
        UserError: a file cannot be read, or has a layout that no setting describes.
    """
    frames: list[pl.LazyFrame] = []
    notes: dict[str, None] = {}
    untyped: set[str] = set()
    unnamed: set[str] = set()
    for found in files:
        if layout.sheet is not None and found.kind != "excel":
            raise UserError(f"data.sheet={layout.sheet}: {found.path} is no Excel file; leave the setting out")
        if found.kind == "text":
            known = dialect.find(found.path, head(found.path), layout, expected)
            frame, said = text.scan(found.path, known, cache_dir)
            notes.update(dict.fromkeys(f"{found.path.name}: {note}" for note in (*known.notes, *said)))
            untyped.update(known.names)
            unnamed.update(known.unnamed)
        else:
            frame = _frame(found, layout, expected, cache_dir)
        types = frame.collect_schema()
        if found.kind == "excel":
            untyped.update(name for name, dtype in types.items() if dtype == pl.String)
            unnamed.update(name for name in types if name.startswith(excel.UNNAMED))
        if taken := sorted(set(found.partition) & set(types)):
            raise UserError(f"{found.path}: {taken[0]} is both a column and the name of a folder; rename one of them")
        frames.append(
            frame.with_columns(pl.lit(value, pl.String).alias(name) for name, value in found.partition.items())
        )
        untyped.update(found.partition)
    notes.update(dict.fromkeys(_lacking(files, frames)))
    frame = _one(frames)
    return Raw(frame, frozenset(untyped), tuple(notes), frozenset(unnamed))


def require(headers: Sequence[tuple[Path, Collection[str]]], names: Iterable[str], key: str) -> None:
    """Refuse files if only some have the columns ``names``; ``headers`` has each file's columns.

    Raises:
        UserError: one lacks a column that another has.
    """
    for name in names:
        with_it = [file for file, columns in headers if name in columns]
        without = [file for file, columns in headers if name not in columns]
        if with_it and without:
            raise UserError(
                f"{without[0]} and {with_it[0]} are not of one table: only the second has the column {name}; narrow "
                f"{key} down to the files that have it"
            )


def _lacking(files: Sequence[Found], frames: Sequence[pl.LazyFrame]) -> list[str]:
    have = [frame.collect_schema().names() for frame in frames]
    every = dict.fromkeys(name for names in have for name in names)
    said = []
    for name in every:
        without = [found.path.name for found, names in zip(files, have, strict=True) if name not in names]
        other = next((each for each in every if each.lower() == name.lower() and each != name), None)
        if other is not None and not any(name in names and other in names for names in have):
            raise UserError(f"some files have a column {name} and some {other}: give it one name in all of them")
        if without:
            first = ", ".join(without[:3]) + (", …" if len(without) > 3 else "")
            said.append(f"column {name} is missing in the rows of {len(without)} of {len(files)} files ({first})")
    return said


def _one(frames: list[pl.LazyFrame]) -> pl.LazyFrame:
    """All files; a column that is text in one is text in all, 150.0 then is 150; other types give the wider one."""
    if len(frames) == 1:
        return frames[0]
    types = [frame.collect_schema() for frame in frames]
    as_words = {name for schema in types for name, dtype in schema.items() if is_text(dtype)}
    frames = [
        frame.with_columns(as_text(pl.col(n), schema[n]).alias(n) for n in as_words if n in schema)
        for frame, schema in zip(frames, types, strict=True)
    ]
    try:
        one = pl.concat(frames, how="diagonal_relaxed")
        one.collect_schema()
    except PolarsError as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"the files' columns have incompatible types ({reason}); read them one by one") from error
    return one


def _frame(found: Found, layout: Layout, expected: Collection[str], cache_dir: Path) -> pl.LazyFrame:
    """A file with types. Excel and JSON are kept as Arrow, since their own forms are slow to read."""
    file, kind = found.path, found.kind
    try:
        if kind == "parquet":
            frame = pl.scan_parquet(file, glob=False, hive_partitioning=False)
        elif kind == "arrow":
            frame = _arrow(file)
        elif kind == "excel":
            facts = [*sorted(expected), *([layout.sheet] if layout.sheet is not None else [])]
            read = partial(excel.read, file, expected, layout.sheet)
            frame = _copy("sheet", file, facts, cache_dir, lambda copy: read().write_ipc(copy))
        else:
            frame = _copy("json", file, [kind], cache_dir, lambda copy: json_files.write(file, kind == "jsonl", copy))
        names = frame.collect_schema().names()
        made = {name: new for name in names if (new := composed(name, expected)) != name and new not in names}
        frame = frame.rename(made) if made else frame
        whole = [n for n, t in frame.collect_schema().items() if isinstance(t, pl.Decimal) and not t.scale]
        return frame.with_columns(pl.col(whole).cast(pl.Int128)) if whole else frame  # every digit of an id
    except NoDataError as error:
        raise empty(file) from error
    except (PolarsError, OSError) as error:
        raise unreadable(file, error) from error


def _arrow(file: Path) -> pl.LazyFrame:
    with file.open("rb") as opened:
        stream = opened.read(4) == b"\xff\xff\xff\xff"  # as Hugging Face writes them: no footer
    if stream:
        return pl.read_ipc_stream(file).lazy()
    return pl.scan_ipc(file, glob=False, hive_partitioning=False)


def _copy(kind: str, file: Path, facts: list[str], cache_dir: Path, write: Callable[[Path], None]) -> pl.LazyFrame:
    about = file.stat()
    state = {"file": str(file.resolve()), "bytes": about.st_size, "written": about.st_mtime_ns, "facts": facts}
    copy = cache_dir / f"{kind}_{fingerprint_of(state)}.arrow"
    make_once(copy, write)
    return pl.scan_ipc(copy, glob=False)
