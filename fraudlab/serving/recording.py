"""The record: inputs and answers in Parquet files, written by a process of its own.

Putting a row in never waits. Where the writer cannot keep up, is dead or cannot write, rows are left out and counted.
"""

import hmac
import logging
import multiprocessing
import os
import queue
import random
import re
import select
import signal
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from fraudlab.errors import UserError
from fraudlab.files import replacing
from fraudlab.serving import logs

_log = logging.getLogger(__name__)
_VARIABLE = "FRAUDLAB_HASH_KEY"
_CARD = re.compile(r"card\d*", re.IGNORECASE)
_MOST_WAITING = 5000  # records: some 200 MB of IEEE-CIS's
_PATIENCE = 10.0  # seconds for the writer to finish
_MOST_SECONDS = 60.0  # a file is written at least so often
_DTYPES = {"integer": "Int64", "number": "Float64", "string": "String", "boolean": "Boolean", "datetime": "String"}


def hash_key() -> bytes:
    """The key that card fields are hashed with.

    Raises:
        UserError: the environment has none of at least 16 characters.
    """
    key = os.environ.get(_VARIABLE, "")
    if len(key) < 16:
        raise UserError(
            f"serving.record_to hashes cards with a key: set {_VARIABLE} to 16 characters or more "
            "(openssl rand -hex 32)"
        )
    return key.encode()


def hashed_columns(schema: Mapping[str, Any], further: Sequence[str]) -> list[str]:
    """Names of the fields that are recorded as keyed hashes.

    They are the one with the role card, those that are called card and a number, as IEEE-CIS has them, and ``further``.

    Raises:
        UserError: ``further`` names a field that the contract has not.
    """
    names = [field["name"] for field in schema["fields"]]
    if unknown := [name for name in further if name not in names]:
        raise UserError(
            f"serving.hash_columns: the bundle has no field {', '.join(unknown)}; it has: {', '.join(names)}"
        )
    roles = {field["name"]: field["role"] for field in schema["fields"]}
    return [name for name in names if roles[name] == "card" or _CARD.fullmatch(name) or name in further]


def make_folder(folder: Path) -> None:
    """Make the folder, for its owner alone, and see whether a file can be written there.

    Raises:
        UserError: it cannot.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(
            f"serving.record_to={folder} cannot be written ({error.strerror}); give a folder that this user may write"
        ) from error


class Recorder:
    """The sending end; made in the server's first process, used in the one that answers HTTP.

    Args:
        folder: of the files.
        schema: content of the bundle's ``schema.json``.
        version: of the bundle.
        hashed: see :func:`hashed_columns`.
        key: see :func:`hash_key`.
        share: of the requests that are written.
        rows: of a file.
        files: kept; older ones are deleted.

    Raises:
        UserError: the folder cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        schema: Mapping[str, Any],
        version: str,
        hashed: Sequence[str],
        key: bytes,
        share: float,
        rows: int,
        files: int,
    ) -> None:
        make_folder(folder)
        self._share = share
        # Spawned: the process that answers HTTP is a fork, where Polars must not run.
        context = multiprocessing.get_context("spawn")
        self._queue: Any = context.Queue()
        self._given = 0
        self._told = 0
        # Records that the writer has taken out, and those of them that it could not write. It alone counts, so no lock
        # is needed, which it could take to its grave.
        self._taken: Any = context.Value("q", 0, lock=False)
        self._lost: Any = context.Value("q", 0, lock=False)
        self._writer = context.Process(
            target=write,
            args=(self._queue, self._taken, self._lost, folder, schema, version, hashed, key, rows, files),
            name="record",
        )
        self._writer.start()
        self._death = select.poll()  # what tells of it in the fork too, whose child the writer is not
        self._death.register(self._writer.sentinel)

    def put(self, request_id: str, records: Sequence[Mapping[str, Any]], answers: Sequence[Mapping[str, Any]]) -> bool:
        """Hand over a request's records, if it is among those to be written.

        Returns:
            False where there was no room, or nobody who writes.
        """
        if random.random() >= self._share:  # noqa: S311 - a sample, not a secret
            return True
        if self._given - self._taken.value >= _MOST_WAITING or self._death.poll(0):
            return False
        self._given += len(records)
        self._queue.put((time.time(), request_id, records, answers))
        return True

    def newly_lost(self) -> int:
        """Records that were handed over and could not be written, since the last call."""
        lost = self._lost.value
        self._told, new = lost, lost - self._told
        return new

    def flush(self) -> None:
        """Wait until the writer has all, but not for ever; for the process that put it in, before it ends."""
        until = time.monotonic() + _PATIENCE
        while self._given > self._taken.value and not self._death.poll(0) and time.monotonic() < until:
            time.sleep(0.01)
        self._queue.cancel_join_thread()  # which waits for ever for a dead reader

    def close(self) -> None:
        """Wait until all is written, but not for ever; for the process that made it, once nobody puts rows in."""
        self._queue.put(None)
        self._writer.join(_PATIENCE)
        self._queue.cancel_join_thread()
        if self._writer.exitcode != 0:
            _log.error("serving.record_to: the writer did not end in order; its last records are lost")
            self._writer.kill()


def write(
    rows_in: Any,
    taken: Any,
    lost: Any,
    folder: Path,
    schema: Mapping[str, Any],
    version: str,
    hashed: Sequence[str],
    key: bytes,
    rows: int,
    files: int,
) -> None:
    """The writing process: collect rows, write a file whenever there are enough or a minute is over."""
    logs.configure()
    os.umask(0o077)  # the files hold what clients sent: for their owner alone
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the end is told through the queue
    # 4497 and 4497.0 are one card.
    plain = {field["name"]: {"integer": int, "number": float}.get(field["type"], str) for field in schema["fields"]}
    names = [field["name"] for field in schema["fields"]]
    collected: list[dict[str, Any]] = []
    since = time.monotonic()
    while True:
        try:
            came = rows_in.get(timeout=1.0)
        except queue.Empty:
            parent = multiprocessing.parent_process()
            came = () if parent is not None and parent.is_alive() else None
        if came:
            at, request_id, records, answers = came
            taken.value += len(records)
            for record, answer in zip(records, answers, strict=True):
                fields = {name: record.get(name) for name in names}
                for name in hashed:
                    if fields[name] is not None:
                        fields[name] = hmac.digest(key, str(plain[name](fields[name])).encode(), "sha256").hex()
                about = {"scored_at": datetime.fromtimestamp(at, UTC), "request_id": request_id}
                collected.append({**about, "bundle_version": version, **_of(answer), **fields})
        over = time.monotonic() - since >= _MOST_SECONDS
        if collected and (came is None or over or len(collected) >= rows):
            try:
                _write_file(folder, schema, hashed, collected)
                for old in sorted(folder.glob("*.parquet"))[:-files]:
                    old.unlink()
            except Exception as error:  # a disk that is full now may have room for the next file
                lost.value += len(collected)
                why = error.strerror if isinstance(error, OSError) else type(error).__name__  # no client's values
                _log.error("serving.record_to: %d records are lost: %s", len(collected), why)
            collected = []
        if over or not collected:
            since = time.monotonic()
        if came is None:
            return


def _of(answer: Mapping[str, Any]) -> dict[str, Any]:
    return {"score": answer["score"], "risk_level": answer["risk_level"]}


def _write_file(
    folder: Path, schema: Mapping[str, Any], hashed: Sequence[str], rows: Sequence[Mapping[str, Any]]
) -> None:
    import polars as pl

    dtypes: dict[str, Any] = {
        "scored_at": pl.Datetime("us", "UTC"),
        "request_id": pl.String,
        "bundle_version": pl.String,
        "score": pl.Float64,
        "risk_level": pl.String,
    }
    for field in schema["fields"]:
        dtypes[field["name"]] = pl.String if field["name"] in hashed else getattr(pl, _DTYPES[field["type"]])
    frame = pl.DataFrame(rows, schema=dtypes, strict=False)
    with replacing(folder / f"{datetime.now(UTC):%Y-%m-%d_%H-%M-%S.%f}.parquet") as aside:
        frame.write_parquet(aside)
