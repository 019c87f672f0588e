"""Rows of a file that are none of its table.

Behind it stand totals, counts of rows, remarks of the program that wrote it; under the header units, types or a line.
"""

import re
from collections.abc import Iterable, Sequence

from fraudlab.features.values import CURRENCY, NA_WORDS

_MOST = 5
_TOTAL = re.compile(
    r"((grand|sub|overall)[ -]?)?totals?|sums?|summe|gesamt(summe)?|insgesamt|totale|suma|totaal", re.IGNORECASE
)
_RULE = re.compile(r"[-=+_:]+")  # a line that is drawn, in each of its cells
_REMARK = re.compile(
    r"\(?\s*\d[\d.,]*\s+(rows?|records?|lines?|entries|transactions|zeilen|lignes|filas)\b.*|"
    r"(end of|generated|exported|created|printed|source|page|note|confidential|copyright|©|\*\*|--|==).*|"
    r"(number of|count of|total|sum)\b.*[:=].*|eof|\[?eof\]?|\x1a",
    re.IGNORECASE,
)


_NUMBER = re.compile(r"[^A-Za-z]*\d(?:[^A-Za-z]|(?<=\d)[TEeZ])*")  # or a date
_TYPE = re.compile(
    r"(?:u|big|small|tiny|medium|unsigned )?int(?:eger)?(?:8|16|32|64|128)?|float(?:8|16|32|64)?|double(?: precision)?|"
    r"real|dec(?:imal)?|numeric|number|numerical|money|bool(?:ean)?|bit|binary|flag|n?(?:var)?char2?|character varying|"
    r"n?text|str(?:ing)?|utf8|object|enum|factor|category|categorical|uuid|date|time|datetime(?:2|64|offset)?|"
    r"timestamp(?:tz|_ntz)?(?: with(?:out)? time zone)?",
    re.IGNORECASE,
)
_SIZE = re.compile(r"\s*[(\[<][\w ,;/+'-]*[)\]>]$")  # varchar(20), datetime64[ns]
_TIMES = "(?-i:s|h)|ms|[uµ]s|ns|secs?|seconds?|mins?|minutes?|hrs?|hours?|days?|weeks?|months?|years?"
_MONEY = rf"(?:in )?[km]?(?:{CURRENCY.replace(chr(92) + 'p{Sc}', '[$€£¥₹₽₩₺₴₪฿₫₦]')})|cents?|dollars?|euros?"
_UNIT = re.compile(
    rf"(?:%|percent|pct|bps|{_MONEY}|{_TIMES}|km|miles?|met(?:re|er)s?|kg|bytes?|[kmg]b|count|pcs|°[cf]?|degrees?)"
    rf"(?:(?:/| per )(?:{_TIMES}|km))?|0/1|1/0|true/false|yes/no|y/n|unix|epoch|utc|"
    r"(?:yyyy|yy|mm|dd|hh|mi|ss)(?:[-/. :T]*(?:yyyy|yy|mmm?|dd|hh|mi|ss))+",
    re.IGNORECASE,
)


def is_below_header(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first of the rows under a header has units or types, or a line that is drawn.

    It must be certain, as a row of values would get lost: all its words are known ones, at least one of them is in a
    column of numbers or dates, and none occurs again in its column.
    """
    first, *others = ([cell.strip() for cell in row] for row in rows)
    if is_rule(first) and any(len(cell) > 2 for cell in first):  # "-" and "--" stand for missing values
        return True
    beside_numbers = False
    for place, cell in enumerate(first):
        if cell in ("", *NA_WORDS):
            continue
        values = [row[place] for row in others if place < len(row) and row[place] not in ("", *NA_WORDS)]
        if not _is_unit(cell) or cell.lower() in map(str.lower, values):
            return False
        beside_numbers |= bool(values) and all(map(_NUMBER.fullmatch, values))
    return beside_numbers


def _is_unit(cell: str) -> bool:
    bare = cell[1:-1].strip() if cell[:1] + cell[-1:] in ("()", "[]") else cell
    return any(map(_UNIT.fullmatch, (cell, bare))) or any(map(_TYPE.fullmatch, (bare, _SIZE.sub("", bare))))


def behind(rows: Sequence[Sequence[str]], width: int) -> int:
    """How many of the last rows stand behind the table.

    Args:
        rows: the last rows without those that have no value, each with the fields that it has.
        width: number of the table's columns.
    """
    found = 0
    while found < min(_MOST, len(rows) - 1) and _is_behind(rows[-1 - found], rows[: len(rows) - 1 - found], width):
        found += 1
    return found


def is_rule(cells: Iterable[str]) -> bool:
    """Whether the cells of a row are drawn with dashes, as a line between the header and the rows."""
    known = [cell.strip() for cell in cells if cell.strip()]
    return all(map(_RULE.fullmatch, known)) and any(len(cell) > 1 for cell in known)


def _is_behind(row: Sequence[str], before: Sequence[Sequence[str]], width: int) -> bool:
    cells = [(place, text) for place, cell in enumerate(row) if (text := cell.strip())]
    place, first = cells[0]
    if width < 2:
        return False
    if is_rule(row):
        return True
    if len(cells) == width:
        return False
    if len(cells) == 1 and place == 0 and (_REMARK.fullmatch(first) or (len(row) == 1 and " " in first)):
        return True
    if _TOTAL.fullmatch(first.rstrip(" :.")) is None:
        return False
    return not any(place < len(other) and other[place].strip() == first for other in before)  # a category of that name
