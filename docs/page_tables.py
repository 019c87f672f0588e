"""Tables of the pages that scripts make."""

from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table, and an empty one."""
    written = [f"| {' | '.join(map(_cell, row))} |" for row in rows]
    return [f"| {' | '.join(head).rstrip()} |", f"|{'---|' * len(head)}", *written, ""]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
