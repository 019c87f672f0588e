"""Rows of a file that are none of its table.

Behind it stand totals, counts of rows, remarks of the program that wrote it; under the header units, types or a line.
"""

import re
from collections.abc import Iterable, Sequence

from fraudlab.features.values import NA_WORDS

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


_WORD = re.compile(r"\D*|\d/\d|[(\[].*[A-Za-z%/].*[)\]]")  # no number, but 0/1 of a label, and what is in brackets
_NUMBER = re.compile(r"[^A-Za-z]*\d[^A-Za-z]*")


def is_below_header(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first of the rows under a header has units, types or a line that is drawn, and no values.

    Units and types are words in half of the columns that have numbers or dates in all other rows, or nothing stands
    beside them, and these columns have no number in it.
    """
    first, *others = ([cell.strip() for cell in row] for row in rows)
    if all(set(cell) == {"-"} for cell in first) or is_rule(first):
        return True
    found = words = others_told = 0
    for place, cell in enumerate(first):
        values = [row[place] for row in others if place < len(row) and row[place] not in ("", *NA_WORDS)]
        if values and all(map(_NUMBER.fullmatch, values)):
            if _WORD.fullmatch(cell) is None:
                return False
            found, words = found + 1, words + (cell not in ("", *NA_WORDS))
        else:
            others_told += cell != ""
    return words > 0 and (2 * words >= found or not others_told)


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
