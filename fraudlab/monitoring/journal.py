"""The journal: rows as they are scored, appended to a file before anything else is made of them.

A file begins with a line of facts that all of its rows share; each further line is a row: JSON of what was answered, a
tab, which JSON has nowhere, and JSON of the inputs. A line counts once its end of line is there, so what a crash cuts
off is one row. The process that writes a file holds a lock on it, which the kernel
drops when the process ends, however it ends: a file without one is complete.
"""

import logging
import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any
from uuid import uuid4

import orjson

from fraudlab.files import lock

_log = logging.getLogger(__name__)
FOLDER = "_journal"
CONTRACT = "_contract.json"
"""In the folder of a record, by name: ``roles`` of the fields of the bundle that was served last, and ``types``, all
that each field of any bundle has had."""
PARTS = "????-??-??_??_*.parquet"
"""Names of the files in the folder of an instance, by their hour, of which an hour's file will be made."""
LOCK = ".lock"
"""In the folder of an instance: who holds it makes Parquet of its journal."""
_MOST_WAITING = 2**25  # bytes that wait in memory for the disk
_MOST_BYTES = 2**23  # of a file, which is read whole
_MOST_SECONDS = 60.0  # a file is written to, so that what reads complete ones is not far behind
_PAUSE = 0.1  # seconds between two writes: what a kill of this process can cost
_SYNC = 1.0  # seconds between two orders to the disk: what a crash of the machine can cost
_BLOCK = 512  # rows
_sync = getattr(os, "fdatasync", os.fsync)  # macOS has none
WIDTH = 10
"""Values of each row, without the inputs."""
FACTS = ("bundle_version", "instance", "high_threshold", "medium_threshold", "sample_weight")
"""What a file's first line has, beside ``types``, the fields' types by name."""
CHALLENGER = "challenger_version"
"""What a file's first line has, too, where another bundle scores in the shadow: its rows end with one value more."""
FURTHER = "further"
"""What a file's first line has, too, where rows have further columns: their names. A list of these values stands after
those that each row has."""
Row = tuple[list[Any], bytes]
"""What was answered, and JSON of the inputs."""


@dataclass(frozen=True)
class Segment:
    """A file of the journal.

    Attributes:
        path: where it lies.
        facts: its first line.
        lines: the others, as far as they are whole.
    """

    path: Path
    facts: Mapping[str, Any]
    lines: list[bytes]

    def blocks(self) -> Iterator[list[Row]]:
        """The rows, some hundred at a time.

        Yields:
            ``[request_id, position, transaction_id, transaction_time, scored_at, raw_score, score, risk_level, reasons,
            decision]`` each, and the inputs; ``scored_at`` in microseconds since 1970, UTC. With :data:`FURTHER` among
            the facts, then a list of those values; with :data:`CHALLENGER`, then its ``[raw_score, score, risk_level,
            reasons]``, or None where it did not score. Lines that are no rows are left out; inputs are not looked at.
        """
        further = len(self.facts.get(FURTHER, ()))
        width = WIDTH + bool(further) + (self.facts.get(CHALLENGER) is not None)
        for start in range(0, len(self.lines), _BLOCK):
            rows = _parsed(self.lines[start : start + _BLOCK])
            yield [row for row in rows if _is_row(row[0], width, further)]


def segments(folder: Path) -> Iterator[Segment]:
    """The files of the journal in the record at ``folder``, as far as they are written."""
    for path in sorted(folder.glob(f"{FOLDER}/*/*.jsonl")):
        if (segment := read(path)) is not None:
            yield segment


def read(path: Path) -> Segment | None:
    """A file of the journal; None where it is gone, or has no whole first line."""
    try:
        first, *lines = path.read_bytes().split(b"\n")[:-1]  # what stands behind the last end of line was cut off
        facts = orjson.loads(first)
        len(facts["types"])
    except (FileNotFoundError, LookupError, TypeError, ValueError):
        return None
    return Segment(path, facts, lines)


def _parsed(lines: Sequence[bytes]) -> list[Row]:
    """The values of lines; of those that are no JSON none."""
    parts = [line.partition(b"\t") for line in lines]
    if all(tab for _, tab, _ in parts):
        with suppress(orjson.JSONDecodeError):
            heads = orjson.loads(b"[" + b",".join(head for head, _, _ in parts) + b"]")
            if len(heads) == len(parts):
                return [(head, inputs) for head, (_, _, inputs) in zip(heads, parts, strict=True)]
    found = []
    for head, tab, inputs in parts:
        with suppress(orjson.JSONDecodeError, LookupError, AttributeError):  # some are no lists
            row = orjson.loads(head)
            # Files of earlier versions have the inputs among the values.
            found.append((row, inputs if tab else orjson.dumps(row.pop(WIDTH))))
    return found


def _is_row(row: Any, width: int, further: int) -> bool:
    if type(row) is not list or len(row) != width:
        return False
    return not further or (type(row[WIDTH]) is list and len(row[WIDTH]) == further)


def with_shadow(lines: bytes, shadow: Sequence[bytes]) -> bytes:
    """Rows of the journal, each with what a challenger gave as JSON."""
    rows = (line.partition(b"\t") for line in lines.split(b"\n")[:-1])
    return b"".join(
        b"%b,%b]\t%b\n" % (row[:-1], its, inputs) for (row, _, inputs), its in zip(rows, shadow, strict=True)
    )


class Journal:
    """Appends rows to the journal in a thread of its own; putting one in never waits.

    Args:
        folder: of this instance, within the record's.
        facts: see :data:`FACTS`, and ``types``.
        most_bytes: that its files may have together while nobody makes Parquet of them; further rows are lost.

    Attributes:
        written: rows that are in the journal.
    """

    def __init__(self, folder: Path, facts: Mapping[str, Any], most_bytes: int) -> None:
        self._folder = folder
        self._head = orjson.dumps(facts) + b"\n"
        self._most_bytes = most_bytes
        self._waiting: SimpleQueue[tuple[int, bytes]] = SimpleQueue()
        # Each of them is counted by one thread alone.
        self._bytes_in = self._rows_in = self._no_room = 0
        self._bytes_out = self._failed = self._left = self.written = 0
        self._end = threading.Event()
        self._thread: threading.Thread | None = None
        self._file: _File | None = None

    def put(self, rows: int, lines: bytes) -> None:
        """Hand over ``rows`` lines; for one thread, of the process that has the journal."""
        if self._thread is None:  # not before: a fork would not have it
            self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
            self._thread.start()
        if self._bytes_in - self._bytes_out + len(lines) > _MOST_WAITING:
            self._no_room += rows
            return
        self._bytes_in += len(lines)
        self._rows_in += rows
        self._waiting.put((rows, lines))

    @property
    def lost(self) -> int:
        """Rows that were put in and could not be written, or found no room."""
        return self._no_room + self._failed + self._left

    @property
    def backlog(self) -> int:
        """Bytes that are not in Parquet yet: in memory, and in the files of this instance."""
        return self._bytes_in - self._bytes_out + waiting_bytes(self._folder)

    def close(self, patience: float) -> None:
        """Write what is left, for ``patience`` seconds at most; rows that are left then count as lost."""
        self._end.set()
        if self._thread is not None:
            self._thread.join(patience)
            if self._thread.is_alive():
                self._left = self._rows_in - self.written - self._failed
                _log.error("serving.record_to: the disk does not answer; the last %d rows are lost", self._left)

    def _run(self) -> None:
        synced = time.monotonic()
        while True:
            last = self._end.wait(_PAUSE)
            waiting = []
            with suppress(Empty):
                while True:
                    waiting.append(self._waiting.get_nowait())
            if waiting:
                lines = b"".join(lines for _, lines in waiting)
                self._append(sum(rows for rows, _ in waiting), lines)
                self._bytes_out += len(lines)
            if self._file is not None and (last or time.monotonic() - synced >= _SYNC):
                synced = time.monotonic()
                try:
                    self._file.sync()
                except OSError as error:
                    _log.error("serving.record_to: the disk fails: %s", error.strerror)
                if last or self._file.is_over:
                    self._file.close()
                    self._file = None
            if last:
                return

    def _append(self, rows: int, lines: bytes) -> None:
        try:
            if self._file is None:
                if waiting_bytes(self._folder) > self._most_bytes:
                    raise OSError(0, "the journal is not written to Parquet, and has reached serving.record_bytes")
                self._file = _File(self._folder, self._head)
            self._file.append(lines)
            self.written += rows
        except OSError as error:  # a disk that is full now may have room for the next ones
            self._failed += rows
            _log.error("serving.record_to: %d records are lost: %s", rows, error.strerror)


class _File:
    """A file of the journal that is written to."""

    def __init__(self, folder: Path, head: bytes) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        name = f"{time.time_ns() // 10**6}-{uuid4().hex[:8]}.jsonl"
        aside = folder / f"{name}.new"  # until it is locked: without a lock it would look complete
        self._descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._since = time.monotonic()
        self._length = 0
        try:
            lock(self._descriptor)
            self.append(head)
            aside.rename(folder / name)
        except BaseException:
            self.close()
            aside.unlink(missing_ok=True)
            raise

    def append(self, lines: bytes) -> None:
        """Write whole lines, or, where the disk fails, nothing.

        Raises:
            OSError: it fails.
        """
        done = 0
        try:
            while done < len(lines):
                done += os.write(self._descriptor, lines[done:] if done else lines)
        except OSError:
            os.ftruncate(self._descriptor, self._length)
            os.lseek(self._descriptor, self._length, os.SEEK_SET)
            raise
        self._length += len(lines)

    def sync(self) -> None:
        _sync(self._descriptor)

    @property
    def is_over(self) -> bool:
        """Whether it is full, or old, or somebody has deleted it."""
        old = time.monotonic() - self._since >= _MOST_SECONDS
        return self._length >= _MOST_BYTES or old or not os.fstat(self._descriptor).st_nlink

    def close(self) -> None:
        os.close(self._descriptor)


@contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Hold the lock on the file at ``path``; False where somebody else has it, or the file is gone."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        yield False
        return
    try:
        yield lock(descriptor, wait=False)
    finally:
        os.close(descriptor)


def waiting_bytes(folder: Path) -> int:
    """Bytes of the journal of the instance at ``folder`` that are not in Parquet yet."""
    total = 0
    for path in folder.glob("*.jsonl"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:  # Parquet by now
            continue
    return total


def instance_of(folder: Path, port: int) -> str:
    """The name of a server at ``port`` of this host, in the record at ``folder``: the same at each start.

    On clouds many hosts have one name, so it ends with what is drawn once for the folder.
    """
    drawn = folder / FOLDER / "drawn"
    drawn.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with suppress(FileExistsError):
        drawn.touch(0o600, exist_ok=False)
        drawn.write_text(uuid4().hex[:6])
    return f"{socket.gethostname()}-{port}-{drawn.read_text()}"
