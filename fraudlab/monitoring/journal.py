"""The journal: rows as they are scored, appended to a file before anything else is made of them.

A file begins with a line of facts that all of its rows share; each further line is a row. A line counts once its end of
line is there, so what a crash cuts off is one row. The process that writes a file holds a lock on it, which the kernel
drops when the process ends, however it ends: a file without one is complete.
"""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

_log = logging.getLogger(__name__)
FOLDER = "_journal"
FACTS = ("bundle_version", "instance", "high_threshold", "medium_threshold", "sample_weight")
"""What a file's first line has, beside ``types``, the fields' types by name."""


@dataclass(frozen=True)
class Segment:
    """A file of the journal.

    Attributes:
        path: where it lies.
        facts: its first line.
        rows: ``[request_id, position, transaction_id, transaction_time, scored_at, raw_score, score, risk_level,
            reasons, decision, inputs]`` each; ``scored_at`` in microseconds since 1970, UTC.
        broken: lines that are no rows.
    """

    path: Path
    facts: Mapping[str, Any]
    rows: list[list[Any]]
    broken: int


def segments(folder: Path) -> Iterator[Segment]:
    """The files of the journal in the record at ``folder``, as far as they are written."""
    for path in sorted(folder.glob(f"{FOLDER}/*/*.jsonl")):
        if (segment := read(path)) is not None:
            yield segment


def read(path: Path) -> Segment | None:
    """A file of the journal; None where it is gone, or has no whole first line."""
    try:
        first, _, rest = path.read_bytes().partition(b"\n")
    except FileNotFoundError:
        return None
    try:
        facts = orjson.loads(first)
    except orjson.JSONDecodeError:
        return None
    lines = rest.split(b"\n")[:-1]  # what stands behind the last end of line was cut off
    try:
        return Segment(path, facts, orjson.loads(b"[" + b",".join(lines) + b"]"), 0)
    except orjson.JSONDecodeError:
        rows = [row for line in lines if (row := _row(line)) is not None]
    broken = len(lines) - len(rows)
    _log.warning("%s has %d broken lines; they are left out", path, broken)
    return Segment(path, facts, rows, broken)


def _row(line: bytes) -> list[Any] | None:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return row if type(row) is list else None
