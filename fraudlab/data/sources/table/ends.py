"""The last rows of a file that are none of its table: totals, counts of rows, remarks of the program that wrote it."""

import re
from collections.abc import Sequence

_MOST = 5
_TOTAL = re.compile(
    r"((grand|sub|overall)[ -]?)?totals?|sums?|summe|gesamt(summe)?|insgesamt|totale|suma|totaal", re.IGNORECASE
)
_REMARK = re.compile(
    r"\(?\s*\d[\d.,]*\s+(rows?|records?|lines?|entries|transactions|zeilen|lignes|filas)\b.*|"
    r"(end of|generated|exported|created|printed|source|page|note|confidential|copyright|©|\*\*|--|==).*|"
    r"(number of|count of|total|sum)\b.*[:=].*|eof|\[?eof\]?",
    re.IGNORECASE,
)


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


def _is_behind(row: Sequence[str], before: Sequence[Sequence[str]], width: int) -> bool:
    cells = [(place, text) for place, cell in enumerate(row) if (text := cell.strip())]
    place, first = cells[0]
    if width < 2 or len(cells) == width:
        return False
    if len(cells) == 1 and place == 0 and (_REMARK.fullmatch(first) or (len(row) == 1 and " " in first)):
        return True
    if _TOTAL.fullmatch(first.rstrip(" :.")) is None:
        return False
    return not any(place < len(other) and other[place].strip() == first for other in before)  # a category of that name
