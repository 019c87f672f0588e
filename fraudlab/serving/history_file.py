"""The file of a history: an SQLite database with transactions, their labels and the requests that they came in."""

import os
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

from fraudlab.errors import UserError
from fraudlab.features.handbook import check, in_numbers
from fraudlab.files import replacing

if TYPE_CHECKING:
    import polars as pl

RAW = ("TRANSACTION_ID", "TX_DATETIME", "CUSTOMER_ID", "TERMINAL_ID", "TX_AMOUNT")
_FORMAT = 2
_WAIT = 5.0  # seconds for another writer
_TRANSACTIONS = """
    CREATE TABLE transactions (
        id INTEGER PRIMARY KEY,
        time INTEGER NOT NULL,  -- microseconds since 1970
        customer INTEGER NOT NULL,
        terminal INTEGER NOT NULL,
        cents INTEGER NOT NULL,
        fraud INTEGER  -- what the labels say now; NULL: not told
    );
"""
_SINCE_FORMAT_2 = (
    """CREATE TABLE labels (
        id INTEGER NOT NULL,
        event_time INTEGER NOT NULL,  -- microseconds since 1970, UTC
        source TEXT NOT NULL,
        fraud INTEGER,  -- NULL: takes back what was said before
        PRIMARY KEY (id, event_time, source)
    ) WITHOUT ROWID""",
    """CREATE TABLE requests (
        request_id TEXT NOT NULL,
        position INTEGER NOT NULL,
        id INTEGER,  -- NULL: a client gave several transactions this request id
        PRIMARY KEY (request_id, position)
    ) WITHOUT ROWID""",
    "CREATE TABLE forgotten (time INTEGER)",  # transactions up to that time may be gone; one row
    "INSERT INTO forgotten VALUES (NULL)",
    "CREATE INDEX by_time ON transactions (time)",
    "CREATE INDEX requests_by_id ON requests (id)",
    f"PRAGMA user_version = {_FORMAT}",
)
# SQLite ends each entry with the id: rows come out by time, then id.
_INDEXES = tuple(f"CREATE INDEX by_{who} ON transactions ({who}, time)" for who in ("customer", "terminal"))


def connect(path: Path) -> sqlite3.Connection:
    """A connection to the store at ``path``.

    Raises:
        UserError: there is no such file, or it is none of :func:`build`'s.
    """
    make = f"make one with python -m fraudlab.history transactions=<Parquet file> out={path}"
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
        (version,) = connection.execute("PRAGMA user_version").fetchone()
    except sqlite3.DatabaseError as error:
        raise UserError(f"{path} cannot be read as a history ({error}); {make}") from error
    if version == 1:
        _upgrade(connection)
    elif version != _FORMAT:
        raise UserError(f"{path} is no history of format {_FORMAT}; {make}")
    connection.execute("PRAGMA synchronous = NORMAL")  # a crash of the machine may lose the last rows, nothing else
    return connection


def build(path: Path, transactions: "pl.DataFrame") -> int:
    """Write a new store with the rows of ``transactions`` and give their number.

    Args:
        path: a file that does not exist.
        transactions: the columns ``RAW`` and, where labels are known, ``TX_FRAUD``; sorted by time. A missing label is
            one not told.

    Raises:
        UserError: ``path`` exists, a column is missing, or values are not of their kind.
    """
    import polars as pl
    from tqdm import tqdm

    for there in (path, path.with_name(f"{path.name}-wal")):  # a log left over would be played into the new file
        if there.exists():
            raise UserError(f"{there} exists; choose another file, or delete it when no server has it open")
    missing = [name for name in RAW if name not in transactions.columns]
    if missing:
        raise UserError(f"the transactions have no column {', '.join(missing)}; give the handbook's raw columns")
    labels = transactions["TX_FRAUD"] if "TX_FRAUD" in transactions.columns else pl.lit(None, pl.Int8)
    transactions = transactions.with_columns(TX_FRAUD=labels)
    known = transactions.with_columns(pl.col("TX_FRAUD").fill_null(0))
    check(known)
    ids = transactions["TRANSACTION_ID"]
    if not ids.dtype.is_integer() or ids.null_count() or ids.n_unique() < len(ids):
        raise UserError("TRANSACTION_ID must give each transaction an integer of its own")
    time, cents, _ = in_numbers(known)
    rows = pl.DataFrame(
        [ids, pl.Series(time), transactions["CUSTOMER_ID"], transactions["TERMINAL_ID"], pl.Series(cents)]
    ).with_columns(transactions["TX_FRAUD"].cast(pl.Int8))
    with replacing(path) as aside:
        os.close(os.open(aside, os.O_CREAT | os.O_EXCL, 0o600))  # it holds who bought where: for its owner alone
        connection = sqlite3.connect(aside, isolation_level=None)
        connection.executescript(f"PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; {_TRANSACTIONS}")
        connection.execute("BEGIN")
        progress = tqdm(rows.iter_rows(), total=len(rows), unit="row", desc="history", disable=None)
        connection.executemany("INSERT INTO transactions VALUES (?, ?, ?, ?, ?, ?)", progress)
        connection.execute("COMMIT")
        for statement in (*_INDEXES, *_SINCE_FORMAT_2):
            connection.execute(statement)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.close()
    return len(rows)


def _upgrade(connection: sqlite3.Connection) -> None:
    """Make a store of format 1 one of format 2, unless another process has just done so."""
    connection.execute("BEGIN IMMEDIATE")
    if connection.execute("PRAGMA user_version").fetchone() == (1,):
        for statement in _SINCE_FORMAT_2:
            connection.execute(statement)
    connection.execute("COMMIT")
