"""The storage of a study: an SQLite file or a PostgreSQL server, each for many processes at once."""

import logging
import math
import re
import sqlite3
import time
import warnings
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

import optuna
from optuna.storages import RDBStorage
from sqlalchemy import event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import QueuePool

from fraudlab.errors import UserError

log = logging.getLogger(__name__)

ERRORS = (SQLAlchemyError, optuna.exceptions.StorageInternalError, OSError)
"""What a storage raises that cannot be reached or is full."""
Result = TypeVar("Result")
_SQLITE_PATIENCE = 60  # seconds to wait for another process's transaction
_OPENINGS = 4  # attempts: two processes that make the tables of one storage at once get in each other's way


def open_storage(
    url: str, grace: float = 30, on_stale: Callable[[optuna.Study, optuna.trial.FrozenTrial], None] | None = None
) -> RDBStorage:
    """The storage at an address.

    Args:
        url: ``sqlite:///<file>`` or ``postgresql://<user>@<host>/<database>`` (or any other address of SQLAlchemy's).
        grace: seconds without a heartbeat that make a running trial stale; heartbeats come six times as often, but not
            more than once a second.
        on_stale: called by Optuna with the study and a trial that it failed as stale.

    Raises:
        UserError: nothing answers there, or the address makes no sense.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # the sweep tells failures itself
    if url.startswith("journal:"):
        raise UserError(
            f"storage={url}: journals are not supported, since they have no heartbeat; use sqlite:///<file> for the "
            "processes of one machine, postgresql://<user>:<password>@<host>/<database> for several"
        )
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)  # heartbeats, since Optuna 2.9
    heartbeats = {
        "heartbeat_interval": max(1, int(grace / 6)),
        "grace_period": math.ceil(grace),
        "heartbeat_stale_trial_callback": on_stale,
    }
    try:
        return patiently(lambda: _open(url, heartbeats))
    except ImportError as error:
        raise UserError(
            f"storage={hidden(url)} needs a package that is missing ({error}); for PostgreSQL: "
            "pip install 'psycopg[binary]'"
        ) from error
    except (*ERRORS, ValueError, RuntimeError) as error:
        raise UserError(
            f"storage={hidden(url)} cannot be reached: {first_line(error)}\n"
            "Use sqlite:///<file> or postgresql://<user>:<password>@<host>/<database>."
        ) from error


def patiently(work: Callable[[], Result]) -> Result:
    """What ``work`` gives, tried anew a few times where a storage raises one of :data:`ERRORS`."""
    for attempt in range(1, _OPENINGS):
        try:
            return work()
        except ERRORS:
            time.sleep(0.5 * attempt)
    return work()


class _Storage(RDBStorage):
    """One whose heartbeat goes on after an error: Optuna's thread would end at the first."""

    def record_heartbeat(self, trial_id: int) -> None:
        try:
            super().record_heartbeat(trial_id)
        except ERRORS as error:
            log.warning("a heartbeat was not stored: %s", first_line(error))


def first_heartbeat(study: optuna.Study, trial: optuna.Trial) -> None:
    """Record a heartbeat of a trial now: Optuna's thread may not have come to it when the process dies."""
    storage: Any = study._storage
    storage.record_heartbeat(trial._trial_id)


def _open(url: str, heartbeats: dict[str, Any]) -> RDBStorage:
    if url.startswith("sqlite:"):
        return _sqlite(url, heartbeats)
    url = re.sub(r"^postgres(ql)?://", "postgresql+psycopg://", url)  # the driver's name, as SQLAlchemy wants it
    return _Storage(url, engine_kwargs={"pool_pre_ping": True}, **heartbeats)


def hidden(url: str) -> str:
    """The address without its password, to print."""
    return re.sub(r"(://[^:/@]+):[^@]*@", r"\1:***@", url)


def first_line(error: BaseException) -> str:
    """The first line of what an error says, its cause before itself, without a password."""
    said = str(error.__cause__ or error) or type(error).__name__
    return hidden(said.splitlines()[0])


def _sqlite(url: str, heartbeats: dict[str, Any]) -> RDBStorage:
    path = Path(url.removeprefix("sqlite:///"))
    path.parent.mkdir(parents=True, exist_ok=True)
    _write_ahead(path)

    def connect() -> sqlite3.Connection:  # in an address "?", "{" and others would not stand for themselves
        return sqlite3.connect(path, timeout=_SQLITE_PATIENCE, check_same_thread=False)

    storage = _Storage("sqlite:///", engine_kwargs={"creator": connect, "poolclass": QueuePool}, **heartbeats)

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

    A power failure may lose the last ones, but not the metrics in the run folders, which are told again.
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
