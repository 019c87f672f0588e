"""The past of customers and terminals in one SQLite file: a raw transaction's handbook features, as the batch has them.

A transaction sees what stands before it by time, then id, whatever the order of arrival: a row that arrives late
counts from then on, and features asked for twice are the same. A label counts ``delay_days`` after its transaction and
not before, however early it is told; a transaction whose label nobody told counts as genuine.

Any number of processes may read while another writes (SQLite's write-ahead log); two that write wait for each other.
Each call is one SQLite transaction, so a crash leaves it done or not done.
"""

import sqlite3
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from fraudlab.errors import UserError
from fraudlab.features.handbook import DAY, WINDOWS, HandbookFeatures, Past, check, in_cents, in_numbers
from fraudlab.files import replacing

if TYPE_CHECKING:
    import polars as pl

RAW = ("TRANSACTION_ID", "TX_DATETIME", "CUSTOMER_ID", "TERMINAL_ID", "TX_AMOUNT")
_FORMAT = 1
_WAIT = 5.0  # seconds for another writer
_TABLE = """
    CREATE TABLE transactions (
        id INTEGER PRIMARY KEY,
        time INTEGER NOT NULL,  -- microseconds since 1970
        customer INTEGER NOT NULL,
        terminal INTEGER NOT NULL,
        cents INTEGER NOT NULL,
        fraud INTEGER  -- NULL: not told
    )
"""
# SQLite ends each entry with the id: rows come out by time, then id.
_INDEXES = tuple(f"CREATE INDEX by_{who} ON transactions ({who}, time)" for who in ("customer", "terminal"))
_BEFORE = """
    SELECT time, cents, coalesce(fraud, 0) FROM transactions
    WHERE {who} = ? AND time > ? AND (time, id) < (?, ?) ORDER BY time, id
"""


class _Transaction(NamedTuple):
    id: int
    time: int
    customer: int
    terminal: int
    cents: int


class History:
    """An open store; use it from one thread at a time, and open it anew after a fork.

    Args:
        connection: to a file that :func:`build` made.
        features: which features to give, with which label delay.
    """

    def __init__(self, connection: sqlite3.Connection, features: HandbookFeatures) -> None:
        self._connection = connection
        self._features = features
        self._reach = (features.delay_days + max(WINDOWS)) * DAY

    @classmethod
    def open(cls, path: str | Path, features: HandbookFeatures) -> Self:
        """The store at ``path`` with the features of a bundle.

        Raises:
            UserError: there is no such file, or it is none of :func:`build`'s.
        """
        path = Path(path)
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
        if version != _FORMAT:
            raise UserError(f"{path} is no history of format {_FORMAT}; {make}")
        connection.execute("PRAGMA synchronous = NORMAL")  # a crash of the machine may lose the last rows, nothing else
        return cls(connection, features)

    def features(self, record: Mapping[str, Any]) -> dict[str, float]:
        """The features by name of a transaction that need not be in the store yet.

        Args:
            record: the fields ``RAW``; ids are integers (15.0 is one), the time a naive ``datetime`` or ISO 8601 text,
                the amount in whole cents (up to 1e9). Other fields are not read.

        Raises:
            UserError: a field is missing or not of that kind.
        """
        new = _transaction(record)
        return self._features.of_past(
            float(record["TX_AMOUNT"]), self._past("customer", new), self._past("terminal", new)
        )

    def add(self, record: Mapping[str, Any]) -> None:
        """Put a transaction in, its label not told yet; one that is there already stays as it is.

        Args:
            record: as for :meth:`features`.

        Raises:
            UserError: a field is missing or not of its kind, or another transaction has this id.
        """
        new = _transaction(record)
        insert = "INSERT INTO transactions VALUES (?, ?, ?, ?, ?, NULL) ON CONFLICT DO NOTHING"
        if self._connection.execute(insert, new).rowcount:
            return
        there = "SELECT id, time, customer, terminal, cents FROM transactions WHERE id = ?"
        if self._connection.execute(there, (new.id,)).fetchone() != new:
            raise UserError(f"TRANSACTION_ID {new.id} stands for another transaction already; give each its own id")

    def add_label(self, transaction_id: int, label: int) -> None:
        """Tell whether a transaction was fraud (1) or not (0); later words replace earlier ones.

        Raises:
            UserError: no such transaction, or another label.
        """
        if label not in (0, 1):
            raise UserError(f"label {label!r} of transaction {transaction_id} must be 0 or 1")
        update = "UPDATE transactions SET fraud = ? WHERE id = ?"
        if not self._connection.execute(update, (int(label), transaction_id)).rowcount:
            raise UserError(f"no transaction {transaction_id} in the history; add it before its label")

    def close(self) -> None:
        self._connection.close()

    def _past(self, who: str, new: _Transaction) -> Past:
        query = (getattr(new, who), new.time - self._reach, new.time, new.id)
        rows = self._connection.execute(_BEFORE.format(who=who), query).fetchall()
        return Past(*np.array([*rows, (new.time, new.cents, 0)], dtype=np.int64).T)


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
        connection = sqlite3.connect(aside, isolation_level=None)
        connection.executescript(f"PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; {_TABLE}")
        connection.execute("BEGIN")
        progress = tqdm(rows.iter_rows(), total=len(rows), unit="row", desc="history", disable=None)
        connection.executemany("INSERT INTO transactions VALUES (?, ?, ?, ?, ?, ?)", progress)
        connection.execute("COMMIT")
        for index in _INDEXES:
            connection.execute(index)
        connection.executescript(f"PRAGMA user_version = {_FORMAT}; PRAGMA journal_mode = WAL")
        connection.close()
    return len(rows)


def _transaction(record: Mapping[str, Any]) -> _Transaction:
    amount = record.get("TX_AMOUNT")
    cents = None if isinstance(amount, bool) or not isinstance(amount, int | float) else in_cents(amount)
    if cents is None:
        raise UserError(f"TX_AMOUNT is {amount!r}; give an amount in whole cents up to 1e9")
    return _Transaction(
        _integer(record, "TRANSACTION_ID"),
        _microseconds(record.get("TX_DATETIME")),
        _integer(record, "CUSTOMER_ID"),
        _integer(record, "TERMINAL_ID"),
        cents,
    )


def _integer(record: Mapping[str, Any], name: str) -> int:
    value = record.get(name)
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # JSON knows one kind of number
    if isinstance(value, bool) or not isinstance(value, int) or not -(2**63) <= value < 2**63:
        raise UserError(f"{name} is {value!r}; give an integer of 64 bits")
    return value


def _microseconds(value: Any) -> int:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
        return (moment - datetime(1970, 1, 1)) // timedelta(microseconds=1)
    except (ValueError, TypeError):
        raise UserError(f"TX_DATETIME is {value!r}; give a date and time without a zone, 2018-07-25T14:30:00") from None
