"""Where a study lies: an SQLite file, a PostgreSQL server or a journal file, each for many processes at once."""

import os
import re
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from sqlalchemy import event
from sqlalchemy.exc import SQLAlchemyError

from fraudlab.errors import UserError

ERRORS = (SQLAlchemyError, optuna.exceptions.StorageInternalError, OSError)
"""What a storage raises that cannot be reached or is full."""
Result = TypeVar("Result")
_SQLITE_PATIENCE = 60  # seconds to wait for another process's transaction
_OPENINGS = 4  # attempts: two processes that make the tables of one storage at once get in each other's way


def open_storage(url: str) -> optuna.storages.BaseStorage:
    """The storage at an address.

    Args:
        url: ``sqlite:///<file>``, ``postgresql://<user>@<host>/<database>`` (or any other address of SQLAlchemy's), or
            ``journal:<file>`` for a file on a disk that several machines share.

    Raises:
        UserError: nothing answers there, or the address makes no sense.
    """
    try:
        return patiently(lambda: _open(url))
    except ImportError as error:
        raise UserError(
            f"storage={hidden(url)} needs a package that is missing ({error}); for PostgreSQL: "
            "pip install 'psycopg[binary]'"
        ) from error
    except (*ERRORS, ValueError, RuntimeError) as error:
        raise UserError(
            f"storage={hidden(url)} cannot be reached: {first_line(error)}\n"
            "Use sqlite:///<file>, postgresql://<user>:<password>@<host>/<database> or journal:<file>."
        ) from error


def patiently(work: Callable[[], Result]) -> Result:
    """What ``work`` gives, tried anew a few times where a storage raises one of :data:`ERRORS`."""
    for attempt in range(1, _OPENINGS):
        try:
            return work()
        except ERRORS:
            time.sleep(0.5 * attempt)
    return work()


def _open(url: str) -> optuna.storages.BaseStorage:
    if url.startswith("journal:"):
        path = Path(url.removeprefix("journal:"))
        path.parent.mkdir(parents=True, exist_ok=True)
        return JournalStorage(JournalFileBackend(str(path), _WholeLines(path)))
    if url.startswith("sqlite:"):
        return _sqlite(url)
    url = re.sub(r"^postgres(ql)?://", "postgresql+psycopg://", url)  # the driver's name, as SQLAlchemy wants it
    return optuna.storages.RDBStorage(url, engine_kwargs={"pool_pre_ping": True})


class _WholeLines(JournalFileSymlinkLock):
    """The lock that writers of a journal take in turn, which clears away the line that a writer left unfinished.

    A disk that is full, or a kill, cuts a line short; the next one would go on in it, and no reader get past them.
    """

    def __init__(self, journal: Path) -> None:
        super().__init__(str(journal))
        self._journal = journal

    def acquire(self) -> bool:
        acquired = super().acquire()
        try:
            self._cut_off()
        except OSError:
            self.release()
            raise
        return acquired

    def _cut_off(self) -> None:
        with self._journal.open("r+b") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 1))
            if size and file.read() != b"\n":
                file.seek(0)
                file.truncate(file.read().rfind(b"\n") + 1)


def hidden(url: str) -> str:
    """The address without its password, to print."""
    return re.sub(r"(://[^:/@]+):[^@]*@", r"\1:***@", url)


def first_line(error: BaseException) -> str:
    """The first line of what an error says, its cause before itself, without a password."""
    said = str(error.__cause__ or error) or type(error).__name__
    return hidden(said.splitlines()[0])


def _sqlite(url: str) -> optuna.storages.RDBStorage:
    path = Path(url.removeprefix("sqlite:///"))
    path.parent.mkdir(parents=True, exist_ok=True)
    _write_ahead(path)
    storage = optuna.storages.RDBStorage(url, engine_kwargs={"connect_args": {"timeout": _SQLITE_PATIENCE}})

    # SQLite knows no row locks: only a transaction that locks the file before it reads keeps two processes from
    # taking one trial. Python's driver would begin it at the first write.
    @event.listens_for(storage.engine, "connect")
    def _(connection, _record) -> None:  # type: ignore[no-untyped-def]
        connection.isolation_level = None
        connection.execute("PRAGMA synchronous=NORMAL")

    @event.listens_for(storage.engine, "begin")
    def _(connection) -> None:  # type: ignore[no-untyped-def]
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    storage.engine.dispose()  # connections made before the listeners
    return storage


def _write_ahead(path: Path) -> None:
    """Let commits to the file not wait for the disk, from now on for every process.

    A power failure may lose the last ones, but not the figures in the run folders, which are told again.
    """
    until = time.monotonic() + _SQLITE_PATIENCE
    while True:
        with closing(sqlite3.connect(path, timeout=_SQLITE_PATIENCE)) as connection:
            try:
                connection.execute("PRAGMA journal_mode=WAL")
                return
            except sqlite3.OperationalError as error:
                # Another process does the same at this moment: SQLite refuses at once, whatever the timeout.
                if "locked" not in str(error) or time.monotonic() > until:
                    raise OSError(f"{path}: {error}") from error
        time.sleep(0.05)
