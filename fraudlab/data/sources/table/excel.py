"""A sheet of an Excel file: the one that has the table, from the row that has its header."""

import logging
from collections.abc import Collection
from pathlib import Path

import polars as pl

from fraudlab.data.sources.table import ends
from fraudlab.data.sources.table.dialect import least_of_header
from fraudlab.data.sources.table.files import empty, unreadable
from fraudlab.data.sources.table.names import distinct
from fraudlab.errors import UserError
from fraudlab.features.values import clean_value

UNNAMED = "__UNNAMED__"
"""So its reader calls a column that has no header, with a number behind."""

_HEAD = 100  # rows among which the header is looked for

log = logging.getLogger(__name__)


def read(file: Path, expected: Collection[str], given: str | None = None) -> pl.DataFrame:
    """The sheet ``given``, else the first that has a table; of several, the one with most of the names ``expected``."""
    try:
        import fastexcel
    except ImportError as error:
        raise UserError(f"{file}: Excel needs fastexcel; pip install 'fraudlab[data]'") from error
    try:
        names = fastexcel.read_excel(file).sheet_names
        if given is not None and given not in names:
            raise UserError(f"data.sheet={given}: {file} has no such sheet; it has: {', '.join(names)}")
        heads = {name: head for name in names if given in (None, name) and (head := _head(file, name)).height}
        if not heads:
            raise empty(file)
        known = {name: len({*expected} & {*_header(head)[1]}) for name, head in heads.items()}
        # The first of those with equally many; a sheet with one column has a title and no table.
        sheet = max(heads, key=lambda name: (known[name], heads[name].width > 1))
        start, header = _header(heads[sheet])
        frame = pl.read_excel(
            file, sheet_name=sheet, read_options={"header_row": start}, infer_schema_length=None, drop_empty_cols=False
        )
    except UserError:
        raise
    except Exception as error:  # calamine's own errors
        raise unreadable(file, error) from error
    if len(names) > 1 and given is None:
        sheets = ", ".join(names[:10])
        log.warning("%s has %d sheets (%s); %s is read, data.sheet names another", file, len(names), sheets, sheet)
    if titles := [word for word in heads[sheet].head(start).select(pl.concat_str(pl.all(), ignore_nulls=True))
                  .to_series() if word]:  # fmt: skip
        log.warning("%s: %d lines before the table are left out, the first: %r", file, len(titles), titles[0][:60])
    frame = _named(file, frame, header)
    rows = frame.head(_HEAD).select(pl.all().cast(pl.String).fill_null("")).rows()
    if len(rows) > 1 and ends.is_below_header(rows):
        said = ", ".join(filter(None, rows[0]))[:60]
        number = next(n for n, row in enumerate(heads[sheet].rows(), 1) if n > start + 1 and any(row))
        log.warning(
            "%s: a row under the header is left out, row %d, which has units, types or dashes and no values: %r",
            file, number, said,
        )  # fmt: skip
        frame = frame.slice(1)
    return _without_ends(file, frame)


def _head(file: Path, sheet: str) -> pl.DataFrame:
    return pl.read_excel(
        file,
        sheet_name=sheet,
        has_header=False,
        read_options={"skip_rows": 0, "n_rows": _HEAD},
        drop_empty_rows=False,
        drop_empty_cols=False,
        infer_schema_length=0,
        raise_if_empty=False,
    )


def _header(head: pl.DataFrame) -> tuple[int, list[str]]:
    """The number of the first row that is about as wide as the table, and its cells."""
    rows = head.rows()
    widths = [sum(cell is not None and bool(cell.strip()) for cell in row) for row in rows]
    least = least_of_header(max(widths))
    start = next(n for n, width in enumerate(widths) if width >= least)
    return start, [clean_value(cell or "") or "" for cell in rows[start]]


def _named(file: Path, frame: pl.DataFrame, header: list[str]) -> pl.DataFrame:
    """The columns by their headers without blanks around these; a second one of a name gets a number."""
    if len(header) != frame.width:  # columns without any cell are not counted alike
        return frame
    wanted = (
        field or (f"{UNNAMED}{number}" if own.startswith(UNNAMED) else own)
        for number, (field, own) in enumerate(zip(header, frame.columns, strict=True))
    )
    names, notes = distinct(wanted, header)
    for note in notes:
        log.warning("%s: %s", file, note)
    frame = frame.rename(dict(zip(frame.columns, names, strict=True)))
    empty = [name for name in names if name.startswith(UNNAMED) and frame[name].null_count() == len(frame)]
    return frame.drop(empty)


def _without_ends(file: Path, frame: pl.DataFrame) -> pl.DataFrame:
    """The rows without totals and remarks below the table."""
    text = pl.all().cast(pl.String).fill_null("")
    known = frame.filter(pl.any_horizontal(text.str.strip_chars() != ""))
    last = known.tail(_HEAD).select(text).rows()
    if not (behind := ends.behind(last, frame.width)):
        return frame
    said = ", ".join(filter(None, last[-behind]))[:60]
    log.warning("%s: %d rows after the table are left out, the first: %r", file, behind, said)
    return known.head(len(known) - behind)
