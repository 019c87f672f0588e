"""The layout of a text file: encoding, separator, quote, lines before the table, header."""

import codecs
import csv
import re
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from fraudlab.data.sources.table import ends
from fraudlab.data.sources.table.files import empty
from fraudlab.data.sources.table.names import composed, distinct
from fraudlab.errors import UserError
from fraudlab.features.values import clean_value

SPACES = " "
"""The separator of tables whose columns are separated by runs of blanks."""

_SEPARATORS = (",", ";", "\t", "|", "\x01", "~", "^")  # the fifth is Hive's
_MARKS = (
    *((codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"), (codecs.BOM_UTF8, "utf-8-sig")),
    *((codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16")),
)
_LINES = 200  # looked at
_COMMENTS = 5  # rows among which a header with the expected names may stand
_FIELD = re.compile(r'"([^"]*)"(?=\s|$)|(\S+)')
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


@dataclass(frozen=True)
class Layout:
    """The given parts of a dialect; None: to be detected."""

    separator: str | None = None
    encoding: str | None = None
    quote: str | None = None  # "none": a quote is an ordinary character
    header: bool | None = None
    columns: tuple[str, ...] = ()  # names for a file without a header
    sheet: str | None = None  # of an Excel file


@dataclass(frozen=True)
class Dialect:
    """How to read a file.

    ``skip`` lines stand before the first row; ``names`` are the columns', one that nothing names is ``column_<n>``.
    """

    encoding: str
    separator: str
    quote: str | None
    skip: int
    names: tuple[str, ...]
    header: bool
    notes: tuple[str, ...] = ()  # findings to tell the user

    @property
    def unnamed(self) -> tuple[str, ...]:
        """Columns that the header does not name."""
        return tuple(name for n, name in enumerate(self.names, 1) if self.header and name == f"column_{n}")


def find(file: Path, head: bytes, layout: Layout, expected: Collection[str]) -> Dialect:
    """The dialect of a file that begins with ``head``.

    Args:
        file: its name, for messages.
        head: its first bytes, not compressed.
        layout: the given parts.
        expected: names; a header has at least one of them.

    Raises:
        UserError: the encoding is not known, or the file holds no line.
    """
    encoding = layout.encoding or _encoding(file, head)
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(head)
    except (LookupError, UnicodeError) as error:
        raise UserError(f"data.encoding={encoding} does not read {file}: {error}") from error
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if len(lines) > _LINES:
        lines = lines[:_LINES]
    if not any(line.strip() for line in lines):
        raise empty(file)
    skip, separator = 0, layout.separator
    if match := re.fullmatch(r'[\ufeff ]*"?sep=(.)"? *', lines[0]):  # Excel's own line
        skip, separator = 1, separator or match.group(1)
    quote, separator = _quote_and_separator(lines[skip:], layout.quote, separator)
    rows = list(_rows(lines[skip:], separator, quote))
    width = _width(rows)
    wide = [(start, row) for start, row, _ in rows if len(row) >= least_of_header(width)]
    start, first = wide[0]
    if re.match(r"\s*#[\s#!]", first[0]):  # a remark with as many commas, if a header follows
        start, first = next(((s, r) for s, r in wide if r[0][:1] != "#" and _is_header(r, expected)), wide[0])
    if layout.header is not False and not layout.columns:  # a comment may be as wide, and rows wider than their header
        named = ((begin, row) for begin, row, _ in rows[: start + _COMMENTS] if len(row) > 1 and _names(row, expected))
        start, first = next(named, (start, first))
    ends_at = next(n for n, (begin, _, _) in enumerate(rows) if begin == start)
    notes = []
    if titles := [line for line in lines[skip : skip + start] if line.strip()]:
        notes.append(f"{len(titles)} lines before the table are left out, the first: {titles[0].strip()[:60]!r}")
    header = layout.header if layout.header is not None else not layout.columns and _is_header(first, expected)
    fields = [clean_value(_bare(name)) or "" for name in first] if header else []
    if not header and layout.header is None and not layout.columns:
        notes.append(
            f"no header was found (the first row is {', '.join(first)[:60]}): columns are column_1, column_2, …"
        )
    if not header:
        fields = list(layout.columns) or [""] * width
        if layout.columns and len(layout.columns) != width:
            raise UserError(f"data.columns names {len(layout.columns)} columns, but {file} has {width}")
    more_fields = [row[len(fields) :] for begin, row, _ in rows if begin > start and len(row) > len(fields)]
    extra = max(map(len, more_fields), default=0)
    if not any(cell.strip() for row in more_fields for cell in row):
        fields += [""] * extra  # every line ends with separators but the header
    elif extra == 1 and header and _is_of_r([row for begin, row, _ in rows if begin > start], len(fields) + 1):
        fields.insert(0, "")
        notes.append(
            "the header names one column fewer than the rows have: the first, column_1, is the row's name, as in R"
        )
    if len(fields) == 1 and layout.separator is None:
        notes.append("there is one column: if it should be several, say what separates them: data.separator")
    while header and len(rows) > ends_at + 2 and ends.is_below_header([row for _, row, _ in rows[ends_at + 1 :]]):
        ends_at += 1
        said = separator.join(rows[ends_at][1])[:60]
        notes.append(
            f"a line under the header is left out, line {skip + rows[ends_at][2]}, which has units, types or dashes "
            f"and no values: {said!r}"
        )
    fields = [composed(field, expected) for field in fields]
    names, more = distinct((field or f"column_{n}" for n, field in enumerate(fields, 1)), fields)
    rows_from = skip + (rows[ends_at][2] if header else start)
    return Dialect(encoding, separator, quote, rows_from, tuple(names), header, (*notes, *more))


def least_of_header(width: int) -> int:
    """The fewest cells of a row that may be the header of a table of ``width`` columns."""
    return max(width - 1, min(width, 2))


def _encoding(file: Path, head: bytes) -> str:
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return encoding
    if (zeros := head[:4096].count(0)) > len(head[:4096]) // 4:  # every other byte of Latin text
        return "utf-16-le" if head[1:4096:2].count(0) > zeros // 2 else "utf-16-be"
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError as error:
        raise not_utf8(file, head, error.start) from error
    return "utf-8"


class NotUTF8(UserError):
    """A file of text is in another encoding than UTF-8."""


def not_utf8(file: Path, around: bytes, position: int) -> NotUTF8:
    """The refusal of a file that is not UTF-8, with what its bytes would be in Windows' encoding."""
    word = re.search(rb"[^\s,;|\"]*$", around[:position])
    rest = re.match(rb"[^\s,;|\"]*", around[position:])
    assert word is not None
    assert rest is not None
    seen = (word.group() + rest.group())[:40].decode("cp1252", "replace")
    return NotUTF8(
        f"{file} is not UTF-8; data.encoding=cp1252 (Windows, Western Europe) would read {seen!r}: give that, or the "
        "encoding that it was written in"
    )


def _quote_and_separator(lines: list[str], quote: str | None, separator: str | None) -> tuple[str | None, str]:
    """The pair that gives most rows the same number of columns, at least two."""
    quotes = (
        [None if quote == "none" else quote]
        if quote is not None
        else ['"', *(["'"] if any("'" in line for line in lines) else [])]
    )
    separators = [separator] if separator is not None else [*_SEPARATORS, SPACES]
    best: tuple[tuple[bool, bool, float, bool, int, int], str | None, str] | None = None
    for preferred, (mark, between) in enumerate((m, s) for m in quotes for s in separators):
        rows = [len(row) for _, row, _ in _rows(lines, between, mark) if any(row)]
        width, count = Counter(rows).most_common(1)[0]
        if between == SPACES and rows[0] == width - 1 > 1:
            rows = rows[1:]  # R's header does not name the row's name
        share = round(count / len(rows), 2)
        if separator is None and (width < 2 or (between == SPACES and share < 1)):
            continue
        # Texts contain blanks too: they count only if nothing else separates the lines.
        rank = (share > 0.9 and between != SPACES, rows[0] == width, share, mark == '"', width, -preferred)
        if best is None or rank > best[0]:
            best = rank, mark, between
    return (best[1], best[2]) if best else (quotes[0], separator or ",")


def _rows(lines: list[str], separator: str, quote: str | None) -> list[tuple[int, list[str], int]]:
    """Line number from 0, fields and number of the line after it, of every row."""
    if separator == SPACES:
        return [(n, split_blanks(line), n + 1) for n, line in enumerate(lines) if line.strip()]
    reader = csv.reader(
        (f"{line}\n" for line in lines),
        delimiter=separator,
        quotechar=quote,
        quoting=csv.QUOTE_NONE if quote is None else csv.QUOTE_MINIMAL,
        skipinitialspace=True,
    )
    found, before = [], 0
    try:
        for row in reader:
            if row:
                found.append((before, row, reader.line_num))
            before = reader.line_num
    except csv.Error:
        pass  # a field beyond csv's limit: a stray quote, which the reader reports
    return found[:-1] if len(lines) >= _LINES and len(found) > 1 else found  # the last may be cut


def split_blanks(line: str) -> list[str]:
    """The fields of a line between runs of blanks; double quotes keep blanks together."""
    return line.split() if '"' not in line else [quoted or plain for quoted, plain in _FIELD.findall(line)]


def _bare(name: str) -> str:
    return name[1:-1] if len(name) > 1 and name[0] == name[-1] == '"' else name


def _names(row: list[str], expected: Collection[str]) -> bool:
    return any(clean_value(_bare(name)) in expected for name in row)


def _is_of_r(rows: list[list[str]], width: int) -> bool:
    """Whether all rows begin with a name of their own, as R's write.table writes them."""
    return len(rows) > 1 and all(len(row) == width for row in rows) and len({row[0] for row in rows}) == len(rows)


def _width(rows: list[tuple[int, list[str], int]]) -> int:
    return Counter(len(row) for _, row, _ in rows).most_common(1)[0][0]


def _is_header(first: list[str], expected: Collection[str]) -> bool:
    names = [clean_value(name) for name in first]
    return _names(first, expected) or not any(name and _NUMBER.fullmatch(name) for name in names)
