"""The past of customers and terminals in one SQLite file: a raw transaction's handbook features, as the batch has them.

A transaction sees what stands before it by time, then id, whatever the order of arrival: a row that arrives late
counts from then on, and features asked for twice are the same. A label counts ``delay_days`` after its transaction and
not before, however early it is told; a transaction whose label nobody told counts as genuine.

Any number of processes may read while another writes (SQLite's write-ahead log); two that write wait for each other.
What is done within :meth:`History.transaction`, and :meth:`History.tell`, is one SQLite transaction, so a crash leaves
it done or not done.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from time import time_ns
from typing import Any, NamedTuple, Self

import numpy as np

from fraudlab.bundle.contract import Refused, problem
from fraudlab.errors import UserError
from fraudlab.features.handbook import DAY, WINDOWS, HandbookFeatures, Past, in_cents
from fraudlab.serving.history_file import connect
from fraudlab.serving.labels import Label

_LATE = 30 * DAY  # so much later than others a transaction may come: what its windows need is kept until then
_NOTHING = object()
_AT_ONCE = 10  # transactions that are forgotten with each that is added
_BEFORE = """
    SELECT time, cents, coalesce(fraud, 0) FROM transactions
    WHERE {who} = ? AND time > ? AND (time, id) < (?, ?) ORDER BY time, id
"""
_REMEMBER = """
    INSERT INTO requests VALUES (?, ?, ?)
    ON CONFLICT DO UPDATE SET id = CASE WHEN id = excluded.id THEN id END
"""
_NEWEST_LABEL = """
    UPDATE transactions SET fraud =
        (SELECT fraud FROM labels WHERE labels.id = transactions.id ORDER BY event_time DESC, fraud DESC LIMIT 1)
    WHERE id = ?
"""


class Told(NamedTuple):
    """What became of labels: how many say something new, and how many are about transactions that are not there."""

    new: int
    unknown: int


class WrongField(UserError):
    """A transaction that the store does not take.

    Attributes:
        field: which of its fields is at fault.
    """

    def __init__(self, field: str, says: str) -> None:
        super().__init__(f"{field} {says}")
        self.field = field


class _Unknown(UserError):
    pass


class _Transaction(NamedTuple):
    id: int
    time: int
    customer: int
    terminal: int
    cents: int


class History:
    """An open store; use it from one thread at a time, and open it anew after a fork.

    Args:
        connection: of :func:`.history_file.connect`.
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
            UserError: there is no such file, or it is none of ``python -m fraudlab.history``; or the features count
                labels from when each became known, which a history has not.
        """
        if features.label_time is not None:
            raise UserError(
                f"the bundle's features count labels from {features.label_time} on, and serving.history counts them "
                "after label_delay_days; train without data.label_time, or send the features with each record"
            )
        return cls(connect(Path(path)), features)

    def features(self, record: Mapping[str, Any]) -> dict[str, float]:
        """The features by name of a transaction that need not be in the store yet.

        Args:
            record: the fields ``RAW``; ids are integers (15.0 is one), the time a naive ``datetime`` or ISO 8601 text,
                the amount in whole cents (up to 1e9). Other fields are not read.

        Raises:
            WrongField: a field is missing or not of that kind, or the transaction is so old that its past is forgotten.
        """
        new = _transaction(record)
        (forgotten,) = self._connection.execute("SELECT time FROM forgotten").fetchone()
        if forgotten is not None and new.time - self._reach < forgotten:
            raise WrongField(
                "TX_DATETIME",
                f"is {record['TX_DATETIME']}, too long before the newest transactions: the history has forgotten what "
                "its features rest on",
            )
        return self._features.of_past(
            float(record["TX_AMOUNT"]), self._past("customer", new), self._past("terminal", new)
        )

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """What is done inside is kept whole, or not at all where an exception leaves it."""
        if self._connection.in_transaction:  # part of a larger one
            yield
            return
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def add(self, record: Mapping[str, Any], request_id: str | None = None, position: int = 0) -> None:
        """Put a transaction in, its label not told yet; one that is there already stays as it is.

        Transactions that no window can need any more are forgotten, a few at a time: those older than the windows and
        the labels' delay, and 30 days more, than the newest one, or than tomorrow should that come first.

        Args:
            record: as for :meth:`features`.
            request_id: of the request that it came in, by which a label may name it.
            position: in that request.

        Raises:
            WrongField: a field is missing or not of its kind, or another transaction has this id.
        """
        new = _transaction(record)
        insert = "INSERT INTO transactions VALUES (?, ?, ?, ?, ?, NULL) ON CONFLICT DO NOTHING"
        if not self._connection.execute(insert, new).rowcount:
            there = "SELECT id, time, customer, terminal, cents FROM transactions WHERE id = ?"
            if self._connection.execute(there, (new.id,)).fetchone() != new:
                says = f"{new.id} stands for another transaction already; give each its own id"
                raise WrongField("TRANSACTION_ID", says)
        if request_id is not None:
            self._connection.execute(_REMEMBER, (request_id, position, new.id))
        self._forget()

    def tell(self, labels: Sequence[Label], *, skip_unknown: bool = False) -> Told:
        """Take labels, all or none.

        What was said last counts, by ``event_time`` and whoever said it, in whatever order it comes; of two sayings of
        one moment, fraud. A label without an ``event_time`` that repeats the last of its source says nothing new.

        Args:
            labels: what is said.
            skip_unknown: leave out, and count, labels of transactions that are not in the history.

        Raises:
            Refused: a transaction is not in the history, or a source said otherwise of it at the same moment.
        """
        problems: list[dict[str, Any]] = []
        new = unknown = 0
        with self.transaction():
            for position, label in enumerate(labels):
                try:
                    new += self._tell(label)
                except UserError as error:
                    if skip_unknown and isinstance(error, _Unknown):
                        unknown += 1
                        continue
                    problems.append(problem(position, "id" if label.id is not None else "request_id", str(error)))
            if problems:
                raise Refused(problems)
        return Told(new, unknown)

    def _tell(self, label: Label) -> bool:
        number, fraud = self._id(label), None if label.fraud is None else int(label.fraud)
        said = "SELECT event_time, fraud FROM labels WHERE id = ? AND source = ? ORDER BY event_time DESC"
        earlier = self._connection.execute(said, (number, label.source)).fetchall()
        if label.event_time is None:
            if earlier and earlier[0][1] == fraud:
                return False
            time = max([time_ns() // 1000, *(1 + event_time for event_time, _ in earlier[:1])])
        else:
            time = label.event_time
            if (known := dict(earlier).get(time, _NOTHING)) is not _NOTHING:
                if known == fraud:
                    return False
                raise UserError(f"{label.source} said otherwise at the same event_time; give a later one")
        self._connection.execute("INSERT INTO labels VALUES (?, ?, ?, ?)", (number, time, label.source, fraud))
        self._connection.execute(_NEWEST_LABEL, (number,))
        return True

    def _id(self, label: Label) -> int:
        """The transaction that a label is about."""
        number, which = label.id, f"transaction {label.id}"
        if number is None:
            which = f"position {label.position} of request {label.request_id}"
            query = "SELECT id FROM requests WHERE request_id = ? AND position = ?"
            found = self._connection.execute(query, (label.request_id, label.position)).fetchone() or (-1,)
            if found[0] is None:
                raise UserError(f"several transactions stood at {which}; name the one by its id")
            number = found[0]
        if not self._connection.execute("SELECT 1 FROM transactions WHERE id = ?", (number,)).fetchone():
            raise _Unknown(f"no {which} in the history: it never came, or is forgotten, older than any window")
        return int(number)

    def _forget(self) -> None:
        (newest,) = self._connection.execute("SELECT max(time) FROM transactions").fetchone()
        tomorrow = time_ns() // 1000 + DAY  # one transaction dated far ahead must not wipe out the past
        old = "SELECT id, time FROM transactions WHERE time <= ? ORDER BY time LIMIT ?"
        horizon = min(newest, tomorrow) - self._reach - _LATE
        if rows := self._connection.execute(old, (horizon, _AT_ONCE)).fetchall():
            for table in ("transactions", "labels", "requests"):
                self._connection.executemany(f"DELETE FROM {table} WHERE id = ?", [(number,) for number, _ in rows])  # noqa: S608
            until = "UPDATE forgotten SET time = max(coalesce(time, ?1), ?1)"
            self._connection.execute(until, (rows[-1][1],))

    def close(self) -> None:
        self._connection.close()

    def _past(self, who: str, new: _Transaction) -> Past:
        query = (getattr(new, who), new.time - self._reach, new.time, new.id)
        rows = self._connection.execute(_BEFORE.format(who=who), query).fetchall()
        return Past(*np.array([*rows, (new.time, new.cents, 0)], dtype=np.int64).T)


def _transaction(record: Mapping[str, Any]) -> _Transaction:
    amount = record.get("TX_AMOUNT")
    cents = None if isinstance(amount, bool) or not isinstance(amount, int | float) else in_cents(amount)
    if cents is None:
        raise WrongField("TX_AMOUNT", f"is {amount!r}; give an amount in whole cents up to 1e9")
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
        raise WrongField(name, f"is {value!r}; give an integer of 64 bits")
    return value


def _microseconds(value: Any) -> int:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
        return (moment - datetime(1970, 1, 1)) // timedelta(microseconds=1)
    except (ValueError, TypeError):
        says = f"is {value!r}; give a date and time without a zone, 2018-07-25T14:30:00"
        raise WrongField("TX_DATETIME", says) from None
