"""The past of every key in one SQLite file: features of a raw transaction, as the batch has them.

A transaction sees what stands before it by time, then id, whatever the order of arrival: a row that arrives late
counts from then on, and features asked for twice are the same. A label counts ``delay_days`` after its transaction and
not before, however early it is told (with ``data.label_time``: when it was said); a transaction whose label nobody told
counts as genuine from the delay on.

Any number of processes may read while another writes (SQLite's write-ahead log); two that write wait for each other.
What is done within :meth:`History.transaction`, and :meth:`History.tell`, is one SQLite transaction, so a crash leaves
it done or not done.
"""

import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from time import time_ns
from typing import Any, NamedTuple, Self

from fraudlab.bundle.contract import Refused, problem
from fraudlab.errors import UserError
from fraudlab.features.live import DAY, Layout, Live, WrongField
from fraudlab.serving.history_file import columns_of, connect, layout_of
from fraudlab.serving.labels import Label

_LATE = 30 * DAY  # so much later than others a transaction may come: what its windows need is kept until then
_DISPUTE = 180 * DAY  # with label times, so long a transaction is kept: a chargeback comes in that time
_NOTHING = object()
_AT_ONCE = 10  # transactions that are forgotten with each that is added
_REMEMBER = """
    INSERT INTO requests VALUES (?, ?, ?)
    ON CONFLICT DO UPDATE SET id = CASE WHEN id = excluded.id THEN id END
"""
_NEWEST_LABEL = "SELECT event_time, fraud FROM labels WHERE id = ? ORDER BY event_time DESC, fraud DESC LIMIT 1"
_KNOWN = "SELECT time, known, coalesce(fraud, 0) FROM transactions WHERE id = ?"
_COUNT = """
    INSERT INTO days VALUES (?1, ?2, ?3)
    ON CONFLICT DO UPDATE SET labels = labels + excluded.labels, frauds = frauds + excluded.frauds
"""
_LAST = b"\xff"  # SQLite sorts it behind every id
Id = int | str


class Told(NamedTuple):
    """What became of labels: how many say something new, and how many are about transactions that are not there."""

    new: int
    unknown: int


class _Unknown(UserError):
    pass


class History:
    """An open store; use it from one thread at a time, and open it anew after a fork.

    Args:
        connection: of :func:`.history_file.connect`.
        features: which features to give, with which label delay; None: labels alone can be told.
    """

    def __init__(self, connection: sqlite3.Connection, features: Live | None) -> None:
        self._connection = connection
        self._features = features
        self._reach = None if features is None else features.reach
        self.layout = layout_of(connection)
        names = columns_of(self.layout)
        own = ["time", f"coalesce(known, time + {0 if features is None else features.delay})", "coalesce(fraud, 0)"]
        selected = ", ".join([*own, *(name for name in names if not name.startswith("key"))])
        # A row counts for windows by its own time, and by that of its label where the label came late.
        self._reached = f"coalesce(known - {features.delay}, time)" if features and self.layout.label_times else "time"
        self._before = [
            f"SELECT {selected} FROM transactions "  # noqa: S608
            f"WHERE key_{position} = ? AND {self._reached} > ? AND (time, id) < (?, ?) "
            "ORDER BY time, id"
            for position in range(len(self.layout.keys))
        ]
        self._event = ", ".join(["id", "time", *names])

    @classmethod
    def open(cls, path: str | Path, features: Live | None = None) -> Self:
        """The store at ``path`` with the features of a bundle.

        Raises:
            UserError: there is no such file, or it is none of ``python -m fraudlab.history``, or it was made for other
                features.
        """
        wanted = None if features is None else features.layout
        store = cls(connect(Path(path)), features)
        if wanted is not None and store.layout != wanted:
            apart = _differences(store.layout, wanted)
            raise UserError(
                f"{path} keeps other columns than the bundle's features need ({apart}); make one with "
                "python -m fraudlab.history bundle=<bundle> transactions=<Parquet file> out=<file>"
            )
        return store

    def features(self, record: Mapping[str, Any]) -> Mapping[str, float | None]:
        """The features by name of a transaction that need not be in the store yet.

        Args:
            record: what the features' ``event`` takes.

        Raises:
            WrongField: a field is missing or not of its kind, or the transaction is so old that its past is forgotten.
        """
        assert self._features is not None
        new = self._features.event(record)
        (forgotten,) = self._connection.execute("SELECT time FROM forgotten").fetchone()
        if forgotten is not None and (self._reach is None or new.time - self._reach < forgotten):
            raise WrongField(
                self.layout.time,
                f"is {record[self.layout.time]}, too long before the newest transactions: the history has forgotten "
                "what its features rest on",
            )
        since = -(2**63) if self._reach is None else new.time - self._reach
        end = (since, new.time, _LAST if new.id is None else new.id)

        def past(key: int) -> list[tuple[Any, ...]]:
            return self._connection.execute(self._before[key], (new.keys[key], *end)).fetchall()

        return self._features.of_past(new, past, self._known_by(new.time))

    def _known_by(self, time: int) -> tuple[int, int]:
        """How many labels were known when the day of ``time`` began, and how many of them were frauds."""
        if self.layout.delay is None:
            return 0, 0
        query = "SELECT coalesce(sum(labels), 0), coalesce(sum(frauds), 0) FROM days WHERE day < ?"
        labels, frauds = self._connection.execute(query, (time // DAY,)).fetchone()
        return labels, frauds

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
        the labels' delay, and 30 days more, than the newest one, or than tomorrow should that come first. With label
        times, none is forgotten before 180 days, nor before its label is so old.

        Args:
            record: as for :meth:`features`.
            request_id: of the request that it came in, by which a label may name it.
            position: in that request.

        Raises:
            WrongField: a field is missing or not of its kind, another transaction has this id, or the time counts from
                no known day and lies further ahead of the newest one than what is kept.
        """
        assert self._features is not None
        new = self._features.event(record)
        self._refuse_far_ahead(new.time, record)
        if new.id is None:
            new = new._replace(
                id=self._connection.execute("SELECT coalesce(max(id), -1) + 1 FROM transactions").fetchone()[0]
            )
        row = (new.id, new.time, *new.keys, *new.numbers, *new.categories)
        marks = ", ".join("?" * len(row))
        insert = f"INSERT INTO transactions ({self._event}) VALUES ({marks}) ON CONFLICT DO NOTHING"  # noqa: S608
        if self._connection.execute(insert, row).rowcount:
            self._count(new.time, None, 0, 1)
        else:
            there = f"SELECT {self._event} FROM transactions WHERE id = ?"  # noqa: S608
            if self._connection.execute(there, (new.id,)).fetchone() != row:
                says = f"{new.id} stands for another transaction already; give each its own id"
                raise WrongField(self.layout.id, says)
        if request_id is not None:
            self._connection.execute(_REMEMBER, (request_id, position, new.id))
        self._forget()

    def _refuse_far_ahead(self, time: int, record: Mapping[str, Any]) -> None:
        """Of times without a calendar nobody knows today: one on a wrong clock would have all others forgotten."""
        assert self._features is not None
        if self._features.dated or self._reach is None:
            return
        (newest,) = self._connection.execute("SELECT max(time) FROM transactions").fetchone()
        if newest is not None and time - newest > self._reach + _LATE:
            raise WrongField(
                self.layout.time,
                f"is {record[self.layout.time]}, {(time - newest) / DAY:,.0f} days after the newest transaction in the "
                "history; give the time as the table counts it, or make the history anew of later transactions",
            )

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
        self._settle(number)
        return True

    def _settle(self, number: Id) -> None:
        """Make the transaction's label what was said of it last."""
        event_time, fraud = self._connection.execute(_NEWEST_LABEL, (number,)).fetchone()
        time, before, was = self._connection.execute(_KNOWN, (number,)).fetchone()
        known = max(event_time, time) if self.layout.label_times and fraud is not None else None
        update = "UPDATE transactions SET known = ?, fraud = ? WHERE id = ?"
        self._connection.execute(update, (known, fraud, number))
        self._count(time, before, was, -1)
        self._count(time, known, fraud or 0, 1)

    def _count(self, time: int, known: int | None, fraud: int, sign: int) -> None:
        """Count a label on the day on which it becomes known, or, with -1, no longer."""
        if self.layout.delay is not None:
            day = (time + self.layout.delay if known is None else known) // DAY
            self._connection.execute(_COUNT, (day, sign, sign * fraud))

    def _id(self, label: Label) -> Id:
        """The transaction that a label is about."""
        number: Id | None = label.id
        which = f"transaction {label.id}"
        if number is not None:
            number = self._own(number)
        else:
            which = f"position {label.position} of request {label.request_id}"
            query = "SELECT id FROM requests WHERE request_id = ? AND position = ?"
            found = self._connection.execute(query, (label.request_id, label.position)).fetchone() or (-1,)
            if found[0] is None:
                raise UserError(f"several transactions stood at {which}; name the one by its id")
            number = found[0]
            assert number is not None
        if not self._connection.execute("SELECT 1 FROM transactions WHERE id = ?", (number,)).fetchone():
            raise _Unknown(f"no {which} in the history: it never came, or is forgotten, older than any window")
        return number

    def _own(self, number: Id) -> Id:
        """An id in the type of this store's: a file of labels does not tell which that is."""
        if self.layout.text_ids:
            return str(number)
        text = str(number).strip()
        if re.fullmatch(r"[+-]?[0-9]{1,19}(\.0*)?", text, re.ASCII):
            whole = int(text.partition(".")[0])
            if -(2**63) <= whole < 2**63:
                return whole
        raise UserError(f"id {number!r} is no integer of 64 bits, as this history's are")

    def _forget(self) -> None:
        if self._reach is None:
            return
        (newest,) = self._connection.execute("SELECT max(time) FROM transactions").fetchone()
        tomorrow = time_ns() // 1000 + DAY  # one transaction dated far ahead must not wipe out the past
        newest = min(newest, tomorrow)
        horizon = newest - self._reach - _LATE
        until = min(horizon, newest - _DISPUTE) if self.layout.label_times else horizon
        old = f"SELECT id, {self._reached} FROM transactions WHERE time <= ? AND {self._reached} <= ? "  # noqa: S608
        if rows := self._connection.execute(f"{old} ORDER BY time LIMIT ?", (until, horizon, _AT_ONCE)).fetchall():
            for table in ("transactions", "labels", "requests"):
                self._connection.executemany(f"DELETE FROM {table} WHERE id = ?", [(number,) for number, _ in rows])  # noqa: S608
            mark = "UPDATE forgotten SET time = max(coalesce(time, ?1), ?1)"
            self._connection.execute(mark, (max(moment for _, moment in rows),))

    def close(self) -> None:
        self._connection.close()


def _differences(there: Layout, wanted: Layout) -> str:
    ours, theirs = asdict(there), asdict(wanted)
    return ", ".join(f"{name}: {ours[name]}, not {theirs[name]}" for name in ours if ours[name] != theirs[name])
