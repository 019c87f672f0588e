"""The file of a history: an SQLite database with transactions, their labels and the requests that they came in."""

import json
import logging
import os
import sqlite3
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from fraudlab.errors import UserError
from fraudlab.features import handbook
from fraudlab.features.live import DAY, SEPARATOR, Layout
from fraudlab.files import replacing
from fraudlab.serving.history.pages import TABLES, Pages

if TYPE_CHECKING:
    import polars as pl

_FORMAT = 5
_log = logging.getLogger(__name__)
_WAIT = 5.0  # seconds for another writer
_SECURE = "PRAGMA secure_delete = ON"  # whoever writes: a row that moves must leave no copy that outlives its erasure
_BESIDE = (
    """CREATE TABLE labels (
        id NOT NULL,
        event_time INTEGER NOT NULL,  -- microseconds since 1970, UTC
        source TEXT NOT NULL,
        fraud INTEGER,  -- NULL: takes back what was said before
        PRIMARY KEY (id, event_time, source)
    ) WITHOUT ROWID""",
    """CREATE TABLE requests (
        request_id TEXT NOT NULL,
        position INTEGER NOT NULL,
        id,  -- NULL: a client gave several transactions this request id
        PRIMARY KEY (request_id, position)
    ) WITHOUT ROWID""",
    "CREATE TABLE gone (time INTEGER)",  # transactions up to that time may be forgotten; one row
    "INSERT INTO gone VALUES (NULL)",
    "CREATE INDEX by_time ON transactions (time)",
    "CREATE INDEX requests_by_id ON requests (id)",
)
_SINCE_FORMAT_3 = (
    # How many labels become known on a day, and how many of them are frauds.
    "CREATE TABLE days (day INTEGER PRIMARY KEY, labels INTEGER NOT NULL, frauds INTEGER NOT NULL)",
    "CREATE TABLE layout (plain TEXT NOT NULL)",
)


def columns_of(layout: Layout) -> list[str]:
    """Names of the columns of transactions that hold a row's keys, numbers and categories."""
    kinds = {"key": layout.keys, "number": layout.numbers, "category": layout.categories}
    return [f"{kind}_{position}" for kind, of_kind in kinds.items() for position in range(len(of_kind))]


def keys_of(layout: Layout) -> str:
    """A row's keys in SQL; earlier versions kept the Handbook's as integers."""
    return ", ".join(f"CAST(key_{position} AS TEXT)" for position in range(len(layout.keys)))


def connect(path: Path) -> sqlite3.Connection:
    """A connection to the store at ``path``.

    Raises:
        UserError: there is no such file, or it is none of :func:`build`'s.
    """
    make = f"make one with python -m fraudlab.history bundle=<bundle> transactions=<Parquet file> out={path}"
    if not path.is_file():
        raise UserError(f"no history at {path}; {make}")
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw",
        uri=True,
        timeout=_WAIT,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        connection.execute(_SECURE)
        (version,) = connection.execute("PRAGMA user_version").fetchone()
    except sqlite3.DatabaseError as error:
        raise UserError(f"{path} cannot be read as a history ({error}); {make}") from error
    if version in range(1, _FORMAT):
        _log.warning("%s is of an earlier version and is brought to format %d, once", path, _FORMAT)
        try:
            _upgrade(connection)
        except sqlite3.OperationalError as error:  # another process is at it, or the disk is full
            raise UserError(f"{path} cannot be brought to format {_FORMAT} now: {error}; try again") from error
    elif version != _FORMAT:
        raise UserError(f"{path} is not a history of format {_FORMAT}; {make}")
    connection.execute("PRAGMA synchronous = NORMAL")  # a crash of the machine may lose the last rows, nothing else
    connection.execute("PRAGMA wal_autocheckpoint = 4000")  # pages: of 1,000 requests one or two wait for the disk
    return connection


def erase(path: Path, ids: Collection[str]) -> int:
    """Take out the transactions of these ids, and those with one of them as a key; gives how many those are.

    Their labels go, too; what days count stays. Nothing of them is left in the file, nor in its log.

    Raises:
        UserError: they are out, but a process reads all the while, so that the log still holds them.
    """
    asked = set(ids)
    connection = connect(path)
    layout = layout_of(connection)
    keys = [f"key_{position}" for position in range(len(layout.keys))]
    connection.execute("CREATE TEMP TABLE erased (id)")
    connection.create_function(
        "names_one", 1, lambda key: key is not None and not asked.isdisjoint(key.split(SEPARATOR))
    )
    several = {name for name, columns in zip(keys, layout.keys, strict=True) if len(columns) > 1}
    columns = " OR ".join(
        f"names_one({name})" if name in several else f"CAST({name} AS TEXT) IN (SELECT id FROM erased)"  # noqa: S608
        for name in ("id", *keys)
    )
    connection.executemany("INSERT INTO erased VALUES (?)", [(each,) for each in ids])
    connection.execute("BEGIN IMMEDIATE")
    theirs = connection.execute(f"SELECT id, time, {keys_of(layout)} FROM transactions WHERE {columns}").fetchall()  # noqa: S608
    pages = Pages(connection, layout)
    for number, time, *values in theirs:
        pages.remove_all(values, time, number)
    for table in ("labels", "requests", "transactions"):
        connection.executemany(f"DELETE FROM {table} WHERE id = ?", [(number,) for number, *_ in theirs])  # noqa: S608
    connection.execute("COMMIT")
    busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()  # it waits for readers as for writers
    connection.close()
    if busy:
        raise UserError(
            f"{len(theirs):,} transactions are out of the history, but {path}-wal still holds them: a process has been "
            f"reading for {_WAIT:g} s; end it, and start the command again"
        )
    return len(theirs)


def layout_of(connection: sqlite3.Connection) -> Layout:
    """What the store keeps of each transaction."""
    return Layout.from_dict(json.loads(connection.execute("SELECT plain FROM layout").fetchone()[0]))


def build(path: Path, layout: Layout, rows: "pl.DataFrame") -> None:
    """Write a new store.

    Args:
        path: a file that does not exist.
        layout: of the features.
        rows: of the features' ``events``.

    Raises:
        UserError: ``path`` exists.
    """
    from tqdm import tqdm

    for there in (path, path.with_name(f"{path.name}-wal")):  # a log left over would be played into the new file
        if there.exists():
            raise UserError(f"{there} exists; choose another file, or delete it when no server has it open")
    names = columns_of(layout)
    kinds = {"number": "INTEGER NOT NULL", "category": "TEXT", "key": ""}  # a key is an integer or a text
    typed = ", ".join(f"{name} {kinds[name.partition('_')[0]]}" for name in names)
    rows = rows.select("id", "time", *names, "known", "fraud")
    with replacing(path) as aside:
        os.close(os.open(aside, os.O_CREAT | os.O_EXCL, 0o600))  # it holds who bought where: for its owner alone
        connection = sqlite3.connect(aside, isolation_level=None)
        connection.executescript(
            f"""
            {_SECURE}; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;
            CREATE TABLE transactions (
                id {"TEXT" if layout.text_ids else "INTEGER"} PRIMARY KEY NOT NULL,
                time INTEGER NOT NULL,  -- microseconds since 1970, or since the table's clock began
                {typed},
                known INTEGER,  -- when the label was said; NULL: it is known the label's delay after the row
                fraud INTEGER  -- what the labels say now; NULL: not told
            ) {"WITHOUT ROWID" if layout.text_ids else ""};
            """
        )
        connection.execute("BEGIN")
        progress = tqdm(rows.iter_rows(), total=len(rows), unit="row", desc="history", disable=None)
        marks = ", ".join("?" * rows.width)
        connection.executemany(f"INSERT INTO transactions VALUES ({marks})", progress)  # noqa: S608
        for statement in (*_BESIDE, *_SINCE_FORMAT_3):
            connection.execute(statement)
        _fill(connection, layout)
        _finish(connection, layout)
        connection.execute("COMMIT")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.close()


def _fill(connection: sqlite3.Connection, layout: Layout) -> None:
    for statement in TABLES:
        connection.execute(statement)
    pages = Pages(connection, layout)
    for key in range(len(layout.keys)):
        pages.fill(key)


def _finish(connection: sqlite3.Connection, layout: Layout) -> None:
    connection.execute("INSERT INTO layout VALUES (?)", (json.dumps(asdict(layout)),))
    if layout.delay is not None:
        day = f"(known - ((known % {DAY}) + {DAY}) % {DAY}) / {DAY}"  # rounded down
        known = "SELECT coalesce(known, time + ?) AS known, coalesce(fraud, 0) AS fraud FROM transactions"
        connection.execute(
            f"INSERT INTO days SELECT {day}, count(*), sum(fraud) FROM ({known}) GROUP BY 1",  # noqa: S608
            (layout.delay,),
        )
    connection.execute(f"PRAGMA user_version = {_FORMAT}")


def _upgrade(connection: sqlite3.Connection) -> None:
    """Make a store of an earlier format one of today's, unless another process has just done so."""
    connection.execute("BEGIN IMMEDIATE")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == 1:
        for statement in _BESIDE:
            connection.execute(statement)
    if version in (1, 2):
        renamed = {"customer": "key_0", "terminal": "key_1", "cents": "number_0"}
        for old, new in renamed.items():
            connection.execute(f"ALTER TABLE transactions RENAME COLUMN {old} TO {new}")
        connection.execute("ALTER TABLE transactions ADD COLUMN known INTEGER")
        for statement in _SINCE_FORMAT_3:
            connection.execute(statement)
        _finish(connection, handbook.of_raw_columns().layout)
    if version != _FORMAT:
        layout = layout_of(connection)
        for name in ("by_customer", "by_terminal", *(f"by_key_{key}" for key in range(len(layout.keys)))):
            connection.execute(f"DROP INDEX IF EXISTS {name}")
        if version > 1:
            connection.execute("ALTER TABLE forgotten RENAME TO gone")  # so a server of an earlier version stops
        _fill(connection, layout)
        connection.execute(f"PRAGMA user_version = {_FORMAT}")
    connection.execute("COMMIT")
