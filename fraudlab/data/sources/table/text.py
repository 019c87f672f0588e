"""A text file as a frame of text: every cell unchanged, one column for each name of its dialect."""

import codecs
import csv
import hashlib
import io
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

import polars as pl

from fraudlab.data.sources.table import ends
from fraudlab.data.sources.table.dialect import SPACES, Dialect, not_utf8, split_blanks
from fraudlab.data.sources.table.files import head, is_zstandard, opened_text, unreadable
from fraudlab.errors import UserError
from fraudlab.files import make_once

_BLOCK = 1 << 22
_REMARK = r"^#[\s#!]"
_END = 1 << 16  # last bytes in which rows behind the table are looked for
_HEADER_NAMES = 8  # of a header, besides the last, that a row repeats


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
    frame, notes = _scanned(file, dialect, scratch, start)
    if b'="' in start:  # ="0012", by which programs keep Excel from making a number of a code
        frame = frame.with_columns(pl.all().str.replace(r'^="(.*)"$', "$1"))
    return frame, notes


def _scanned(file: Path, dialect: Dialect, scratch: Path, start: bytes) -> tuple[pl.LazyFrame, list[str]]:
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
    quoted, end = _check_encoding(file, dialect)
    frame = _scan(file, dialect.names, dialect.separator, dialect.quote, dialect.skip)
    try:
        return _checked(file, frame, dialect, end, quoted)[:2]
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
    with copy.open("rb") as opened:
        opened.seek(max(0, copy.stat().st_size - _END))
        frame, notes, behind = _checked(copy, frame, as_written, opened.read())
    return frame, [*_few_fields(file, dialect, behind), *notes]  # the copy has all fields


def _checked(
    file: Path, frame: pl.LazyFrame, dialect: Dialect, end: bytes, quoted: bool = True
) -> tuple[pl.LazyFrame, list[str], int]:
    """The table's rows, notes on what Polars accepts silently, and how many rows stand behind; one pass over all rows.

    ``end`` are the last bytes of the file. Without a quote in it, ``quoted``, no cell has a line end.
    """
    names = dialect.names
    unnamed = dialect.unnamed
    known = pl.any_horizontal((pl.all() != "").fill_null(False))
    (remark, marked), again = _remarks(dialect), _is_header(dialect)
    last_cell = pl.col(names[-1])
    facts = frame.select(
        (~known).sum().alias("\0blank"),
        ((last_cell.is_null() & known).sum() if len(names) > 1 else pl.lit(0)).alias("\0short"),
        known.sum().alias("\0rows"),
        remark.sum().alias("\0alone"),
        (remark | marked).sum().alias("\0remarks"),
        (marked & last_cell.is_not_null()).any().alias("\0marks"),
        again.sum().alias("\0headers"),
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
    if not facts["\0marks"].item():
        remark |= marked
    rows, remarks = facts["\0rows"].item(), facts["\0alone" if facts["\0marks"].item() else "\0remarks"].item()
    if facts["\0blank"].item():
        frame = frame.filter(known)
    if 0 < remarks <= rows / 2:
        first = frame.filter(remark).select(pl.nth(0)).head(1).collect().item()
        notes.append(f"{remarks} lines that begin with # are left out, the first: {first[:60]!r}")
        frame, rows = frame.filter(~remark), rows - remarks
    if headers := facts["\0headers"].item():
        notes.append(f"{headers} lines repeat the header and are left out")
        frame, rows = frame.filter(~again), rows - headers
    last = _last_rows(end, dialect)
    behind = ends.behind(last, len(names))
    if behind and _values(frame.slice(rows - behind, 1).collect().row(0)) != _values(last[-behind]):
        behind = 0  # its last bytes are read otherwise, for instance from inside of quotes
    if behind:
        said = dialect.separator.join(last[-behind])[:60]
        notes.append(f"{behind} lines after the table are left out, the first: {said!r}")
        frame = frame.head(rows - behind)
    if facts["\0short"].item():
        notes += _few_fields(file, dialect, behind)
    return frame, notes, behind


def _values(row: Iterable[str | None]) -> list[str]:
    return [text for cell in row if (text := (cell or "").strip())]


def _is_remark_row(row: list[str], dialect: Dialect) -> bool:
    """:func:`_remarks` of one row."""
    if dialect.names[0].startswith("#") or not row[0].startswith("#"):
        return False
    return not any(row[1:]) or (len(row) < len(dialect.names) and re.match(_REMARK, row[0]) is not None)


def _remarks(dialect: Dialect) -> tuple[pl.Expr, pl.Expr]:
    """Whether a row is a remark: a # and text alone in it; and whether it begins as one, with a blank, # or ! behind #.

    The second is a remark if it has few fields, and no row has all of them: those are data, and so are the others.
    """
    first, *others = dialect.names
    if first.startswith("#") or not others:
        return pl.lit(False), pl.lit(False)
    text = pl.col(first)
    alone = ~pl.any_horizontal((pl.col(others) != "").fill_null(False))
    return (text.str.starts_with("#") & alone).fill_null(False), text.str.contains(_REMARK).fill_null(False)


def _is_header(dialect: Dialect) -> pl.Expr:
    """Whether a row is the header once more, as where files were put one behind the other."""
    named = [name for name in dialect.names if name not in dialect.unnamed]
    if not dialect.header or len(named) < 2:
        return pl.lit(False)
    # A name that occurs twice has a suffix. Some columns are enough, and the others of a wide table take time.
    some = dict.fromkeys([*named[:_HEADER_NAMES], named[-1]])
    return pl.all_horizontal(
        ((pl.col(name) != "") & pl.lit(name).str.starts_with(pl.col(name))).fill_null(False) for name in some
    )


def _last_rows(end: bytes, dialect: Dialect) -> list[list[str]]:
    """The fields of the last rows that have a value, but not of the first line in ``end``, which may be cut."""
    lines = io.StringIO(end.decode("utf-8", "replace").replace("\r\n", "\n").partition("\n")[2])
    try:
        rows = [row for _, row in _fields(lines, replace(dialect, skip=0))]
    except csv.Error:  # it begins inside of quotes
        return []
    return [row for row in rows if any(map(str.strip, row)) and not _is_remark_row(row, dialect)]


def _few_fields(file: Path, dialect: Dialect, behind: int) -> list[str]:
    short = _short_lines(file, dialect, behind)
    more = f"the {len(dialect.names)} columns; what they lack is missing"
    return [f"{short} lines have fewer fields than {more}"] if short else []


def _short_lines(file: Path, dialect: Dialect, behind: int) -> int:
    """Lines with too few separators but those ``behind`` the table; of large files, without those with quotes."""
    if file.stat().st_size < _BLOCK * 64 or dialect.encoding not in ("utf-8", "utf-8-sig"):
        with opened_text(file) as opened, io.TextIOWrapper(opened, dialect.encoding, newline="") as text:
            short = [
                len(row) < len(dialect.names) for _, row in _fields(text, dialect) if not _is_remark_row(row, dialect)
            ]
            return sum(short[: len(short) - behind])
    lines = _scan(file, ("line",), "\x1f", None, dialect.skip)
    line = pl.col("line")
    plain = ~line.str.contains(dialect.quote or '"', literal=True) & (line.str.strip_chars() != "")
    few = line.str.count_matches(dialect.separator, literal=True) < len(dialect.names) - 1
    return int(lines.select((plain & few).sum()).collect().item())


def _is_zip(file: Path) -> bool:
    with file.open("rb") as opened:
        return opened.read(2) == b"PK"


def _check_encoding(file: Path, dialect: Dialect) -> tuple[bool, bytes]:
    """Refuse bytes that are not UTF-8, with their place and the remedy, which Polars does not give.

    Returns whether there may be a quote, and the last bytes.
    """
    mark, found, end = (dialect.quote or '"').encode(), False, b""
    decode: Callable[..., Any] = codecs.getincrementaldecoder("utf-8")().decode
    if is_zstandard(file):
        return True, b""
    with opened_text(file) as opened:
        for block in _blocks(opened, file):
            found = found or mark in block
            end = (end + block)[-_END:]
            try:
                decode(block)
            except UnicodeDecodeError as error:
                raise not_utf8(file, error.object, error.start) from error
    return found, end


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
                if len(row) > width and re.match(_REMARK, row[0]) and not dialect.names[0].startswith("#"):
                    row = row[:1]  # a remark with commas
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
