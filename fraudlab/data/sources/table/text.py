"""A text file as a frame of text: every cell unchanged, one column for each name of its dialect."""

import codecs
import csv
import hashlib
import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

import polars as pl

from fraudlab.data.sources.table.dialect import SPACES, Dialect, not_utf8, split_blanks
from fraudlab.data.sources.table.files import head, is_zstandard, opened_text, unreadable
from fraudlab.errors import UserError
from fraudlab.files import make_once

_BLOCK = 1 << 22


def scan(file: Path, dialect: Dialect, scratch: Path) -> tuple[pl.LazyFrame, list[str]]:
    """The rows of a file, every cell text, and notes on them; rows without any value are left out.

    Args:
        file: what to read.
        dialect: how it is laid out.
        scratch: folder for a copy in UTF-8 with commas, where Polars cannot read the file as it is.

    Raises:
        UserError: a line has more fields than there are columns, or a quote is not closed; the message has its number.
    """
    start = head(file)
    lines = b"\n" in start or b"\r" not in start  # line ends that Polars knows
    marks = (dialect.separator + (dialect.quote or "")).isascii()  # Polars knows no others
    if (
        not lines
        or not marks
        or dialect.encoding not in ("utf-8", "utf-8-sig")
        or dialect.separator == SPACES
        or _is_zip(file)
    ):
        return _of_copy(file, dialect, scratch)
    quoted = _check_encoding(file, dialect)
    frame = _scan(file, dialect.names, dialect.separator, dialect.quote, dialect.skip)
    try:
        return _checked(file, frame, dialect, quoted)
    except pl.exceptions.PolarsError:
        _diagnose(file, dialect)
    return _of_copy(file, dialect, scratch)  # what Python reads and Polars does not: 3" in the middle of a text


def _scan(file: Path, names: tuple[str, ...], separator: str, quote: str | None, skip: int) -> pl.LazyFrame:
    return pl.scan_csv(
        file,
        has_header=False,
        schema=dict.fromkeys(names, pl.String),
        separator=separator,
        quote_char=quote,
        skip_lines=skip,
        glob=False,
    )


def _of_copy(file: Path, dialect: Dialect, scratch: Path) -> tuple[pl.LazyFrame, list[str]]:
    about = file.stat()
    facts = repr((str(file.resolve()), about.st_size, about.st_mtime_ns, dialect))
    copy = scratch / f"utf8_{hashlib.sha256(facts.encode()).hexdigest()[:12]}.csv"

    def write(aside: Path) -> None:
        with aside.open("w", encoding="utf-8", newline="") as written:
            writer = csv.writer(written, lineterminator="\n")
            writer.writerows(row for _, row in _rows(file, dialect))

    make_once(copy, write)
    as_written = replace(dialect, encoding="utf-8", separator=",", quote='"', skip=0)
    frame = _scan(copy, as_written.names, ",", '"', 0)
    frame, notes = _checked(copy, frame, as_written)
    return frame, [*_few_fields(file, dialect), *notes]  # the copy has all fields


def _checked(file: Path, frame: pl.LazyFrame, dialect: Dialect, quoted: bool = True) -> tuple[pl.LazyFrame, list[str]]:
    """The rows that have a value, and notes on what Polars accepts silently; one pass over all rows.

    Without a quote in the file, ``quoted``, no cell has a line end.
    """
    names = dialect.names
    unnamed = dialect.unnamed
    known = pl.any_horizontal((pl.all() != "").fill_null(False))
    facts = frame.select(
        (~known).sum().alias("\0blank"),
        ((pl.col(names[-1]).is_null() & known).sum() if len(names) > 1 else pl.lit(0)).alias("\0short"),
        (pl.any_horizontal(pl.all().str.contains("\n", literal=True)).any() if quoted else pl.lit(False)).alias(
            "\0lines"
        ),
        *((pl.col(name) != "").any() for name in unnamed),
    ).collect(engine="streaming")
    if facts["\0lines"].item():
        _diagnose(file, dialect)  # a quote that is not closed takes up the lines after it
    if names[-1] in unnamed and facts[names[-1]].item():
        _diagnose(file, dialect, len(names) - 1)
    notes = []
    if facts["\0short"].item():
        notes += _few_fields(file, dialect)
    return frame.filter(known) if facts["\0blank"].item() else frame, notes


def _few_fields(file: Path, dialect: Dialect) -> list[str]:
    short = _short_lines(file, dialect)
    more = f"the {len(dialect.names)} columns; what they lack is missing"
    return [f"{short} lines have fewer fields than {more}"] if short else []


def _short_lines(file: Path, dialect: Dialect) -> int:
    """Lines with too few separators; in large files, those with quotes are not looked at."""
    if file.stat().st_size < _BLOCK * 64 or dialect.encoding not in ("utf-8", "utf-8-sig"):
        with opened_text(file) as opened, io.TextIOWrapper(opened, dialect.encoding, newline="") as text:
            return sum(len(row) < len(dialect.names) for _, row in _fields(text, dialect))
    lines = _scan(file, ("line",), "\x1f", None, dialect.skip)
    line = pl.col("line")
    plain = ~line.str.contains(dialect.quote or '"', literal=True) & (line.str.strip_chars() != "")
    few = line.str.count_matches(dialect.separator, literal=True) < len(dialect.names) - 1
    return int(lines.select((plain & few).sum()).collect().item())


def _is_zip(file: Path) -> bool:
    with file.open("rb") as opened:
        return opened.read(2) == b"PK"


def _check_encoding(file: Path, dialect: Dialect) -> bool:
    """Refuse bytes that are not UTF-8, with their place and the remedy, which Polars does not give.

    Returns whether there may be a quote.
    """
    mark, found = (dialect.quote or '"').encode(), False
    decode: Callable[..., Any] = codecs.getincrementaldecoder("utf-8")().decode
    if is_zstandard(file):
        return True
    with opened_text(file) as opened:
        for block in _blocks(opened, file):
            found = found or mark in block
            try:
                decode(block)
            except UnicodeDecodeError as error:
                raise not_utf8(file, error.object, error.start) from error
    return found


def _blocks(opened: Any, file: Path) -> Iterator[bytes]:
    try:
        while block := opened.read(_BLOCK):
            yield block
    except (OSError, EOFError) as error:
        raise unreadable(file, error) from error


def _rows(file: Path, dialect: Dialect) -> Iterator[tuple[int, list[str]]]:
    """Number of the last line and fields of every row, as Python's csv reads them.

    Raises:
        UserError: a quote is not closed, the encoding does not fit, or a row has too many fields.
    """
    width = len(dialect.names)
    with opened_text(file) as opened, io.TextIOWrapper(opened, dialect.encoding, newline="") as lines:
        number = 0
        try:
            for number, row in _fields(lines, dialect):
                if len(row) > width and any(map(str.strip, row[width:])):
                    raise UserError(f"{file}, line {number} has {len(row)} fields where the table has {width} columns: "
                                    f"{dialect.separator.join(row)[:80]!r}; correct it, or say data.separator "
                                    "or data.quote")  # fmt: skip
                yield number, [*row[:width], *[""] * (width - len(row))]
        except UnicodeError as error:
            raise UserError(f"data.encoding={dialect.encoding} does not read {file}: {error}") from error
        except csv.Error as error:
            raise UserError(
                f"{file}, line {number + 1}: a quote ({dialect.quote}) opens there and is not closed "
                f"({error}); correct the line, or set data.quote=none to read quotes as ordinary characters"
            ) from error


def _fields(lines: TextIO, dialect: Dialect) -> Iterator[tuple[int, list[str]]]:
    if dialect.separator == SPACES:
        for number, line in enumerate(lines, 1):
            if number > dialect.skip and line.strip():
                yield number, split_blanks(line)
        return
    for _ in range(dialect.skip):
        next(lines, None)
    quoting: Any = csv.QUOTE_NONE if dialect.quote is None else csv.QUOTE_MINIMAL
    reader = csv.reader(
        lines, delimiter=dialect.separator, quotechar=dialect.quote, quoting=quoting, skipinitialspace=True, strict=True
    )
    for row in reader:
        if any(row):
            yield dialect.skip + reader.line_num, row


def _diagnose(file: Path, dialect: Dialect, width: int | None = None) -> None:
    """Name the line that cannot be read, if Python's stricter reader finds one."""
    for number, row in _rows(file, dialect):
        if width is not None and row[width].strip():
            raise UserError(f"{file}, line {number} has {len(row)} fields where the header has {width}: "
                            f"{dialect.separator.join(row)[:80]!r}; correct it, or say data.separator")  # fmt: skip
