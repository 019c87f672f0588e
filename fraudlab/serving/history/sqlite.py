"""A history in one SQLite file.

Any number of processes may read while another writes (SQLite's write-ahead log); two that write wait for each other.
What is done within :meth:`SqliteStore.transaction` is one SQLite transaction, so a crash leaves it done or not done.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from time import time_ns
from typing import Any

from fraudlab.features.live import DAY, Event
from fraudlab.serving.history import words
from fraudlab.serving.history.pages import Pages
from fraudlab.serving.history.sqlite_file import columns_of, connect, keys_of, layout_of
from fraudlab.serving.history.store import (
    AT_ONCE,
    DISPUTE,
    LATE,
    SEVERAL,
    Asked,
    Found,
    Id,
    Labelled,
    NotTaken,
    Rule,
    Saying,
    StoreAway,
)

_REMEMBER = """
    INSERT INTO requests VALUES (?, ?, ?)
    ON CONFLICT DO UPDATE SET id = CASE WHEN id = excluded.id THEN id END
"""
_COUNT = """
    INSERT INTO days VALUES (?1, ?2, ?3)
    ON CONFLICT DO UPDATE SET labels = labels + excluded.labels, frauds = frauds + excluded.frauds
"""


class SqliteStore:
    """See :class:`.store.Store`.

    Args:
        path: of the file.
        rule: what the features need.

    Raises:
        UserError: there is no such file, or it is none of ``python -m fraudlab.history``.
    """

    most_time = 2**63

    def __init__(self, path: Path, rule: Rule) -> None:
        self._connection = connect(path)
        self.shown = f"{path} ({path.stat().st_size / 2**20:,.0f} MiB)"
        self._rule = rule
        self.layout = layout_of(self._connection)
        self._pages = Pages(self._connection, self.layout)
        names = columns_of(self.layout)
        # A row counts for windows by its own time, and by that of its label where the label came late.
        self._reached = f"coalesce(known - {rule.delay}, time)" if self.layout.label_times else "time"
        event, marks = ", ".join(["id", "time", *names]), ", ".join("?" * (2 + len(names)))
        keys, others = keys_of(self.layout), names[len(self.layout.keys) :]
        self._insert = f"INSERT INTO transactions ({event}) VALUES ({marks}) ON CONFLICT DO NOTHING"  # noqa: S608
        self._keys = f"SELECT {keys} FROM transactions WHERE id = ?"  # noqa: S608
        self._there = f"SELECT {', '.join(['id', 'time', keys, *others])} FROM transactions WHERE id = ?"  # noqa: S608
        self._old = (
            f"SELECT id, time, {self._reached}, {keys} FROM transactions "  # noqa: S608
            f"WHERE time <= ? AND {self._reached} <= ? ORDER BY time LIMIT {AT_ONCE}"
        )

    def concerns(self) -> list[str]:
        return []

    def transaction(self) -> AbstractContextManager[None]:
        return self._begun("BEGIN IMMEDIATE")

    @contextmanager
    def _begun(self, begin: str) -> Iterator[None]:
        if self._connection.in_transaction:  # part of a larger one
            yield
            return
        try:
            self._connection.execute(begin)
            try:
                yield
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")
        except sqlite3.OperationalError as error:  # another process writes for too long, or the disk is full
            raise StoreAway(str(error)) from error

    def take(self, asked: Sequence[Asked], *, look_up: bool, add: bool) -> list[Found]:
        found = []
        with self._begun("BEGIN IMMEDIATE" if add else "BEGIN"):  # a look-up alone waits for nobody
            for which, each in enumerate(asked):
                if look_up:
                    found.append(self._found(which, each.event))
                if add:
                    self._add(which, each)
        return found

    def _found(self, which: int, new: Event) -> Found:
        reach = self._rule.reach
        (forgotten,) = self._connection.execute("SELECT time FROM gone").fetchone()
        if forgotten is not None and (reach is None or new.time - reach < forgotten):
            raise NotTaken(which, "forgotten")
        since = None if reach is None or self.layout.label_times else new.time - reach
        pasts = {
            key: self._pages.before(key, value, since, new.time, new.id, self._rule.delay)
            for key, value in enumerate(new.keys)
            if value is not None
        }
        present = new._replace(categories=words.as_kept(new.categories))
        return Found(present, pasts.__getitem__, self._known_by(new.time))

    def _known_by(self, time: int) -> tuple[int, int]:
        """How many labels were known when the day of ``time`` began, and how many of them were frauds."""
        if self.layout.delay is None:
            return 0, 0
        query = "SELECT coalesce(sum(labels), 0), coalesce(sum(frauds), 0) FROM days WHERE day < ?"
        labels, frauds = self._connection.execute(query, (time // DAY,)).fetchone()
        return labels, frauds

    def _add(self, which: int, asked: Asked) -> None:
        new = asked.event
        if self._rule.ahead is not None:
            (newest,) = self._connection.execute("SELECT max(time) FROM transactions").fetchone()
            if newest is not None and new.time - newest > self._rule.ahead:
                raise NotTaken(which, "ahead", new.time - newest)
        id_ = new.id
        if id_ is None:
            (id_,) = self._connection.execute("SELECT coalesce(max(id), -1) + 1 FROM transactions").fetchone()
        row = (id_, new.time, *new.keys, *new.numbers, *new.categories)
        if self._connection.execute(self._insert, row).rowcount:
            record = self._pages.packed(new.time, None, 0, new.numbers, new.categories)
            for key, value in enumerate(new.keys):
                if value is not None:
                    self._pages.insert(key, value, new.time, id_, record)
            self._count(new.time, None, 0, 1)
        elif self._connection.execute(self._there, (id_,)).fetchone() != row:
            raise NotTaken(which, "another")
        if asked.request_id is not None:
            self._connection.execute(_REMEMBER, (asked.request_id, asked.position, id_))
        self._forget()

    def named(self, places: Sequence[tuple[str, int]]) -> list[Any]:
        query = "SELECT id FROM requests WHERE request_id = ? AND position = ?"
        found = (self._connection.execute(query, place).fetchone() for place in places)
        return [None if row is None else SEVERAL if row[0] is None else row[0] for row in found]

    def labels(self, ids: Sequence[Id]) -> Mapping[Id, Labelled]:
        row = "SELECT time, known, coalesce(fraud, 0) FROM transactions WHERE id = ?"
        said = "SELECT event_time, source, fraud FROM labels WHERE id = ?"
        found = {}
        for number in ids:
            if there := self._connection.execute(row, (number,)).fetchone():
                sayings = tuple(Saying(*each) for each in self._connection.execute(said, (number,)))
                found[number] = Labelled(there[0], there[1], there[2], sayings)
        return found

    def settle(self, changes: Mapping[Id, tuple[Labelled, Labelled]]) -> bool:
        for number, (before, now) in changes.items():
            new = [(number, *saying) for saying in now.said[len(before.said) :]]
            self._connection.executemany("INSERT INTO labels (id, event_time, source, fraud) VALUES (?, ?, ?, ?)", new)
            update = "UPDATE transactions SET known = ?, fraud = ? WHERE id = ?"
            self._connection.execute(update, (now.known, now.fraud, number))
            for key, value in enumerate(self._connection.execute(self._keys, (number,)).fetchone()):
                if value is not None:
                    self._pages.tell(key, value, now.time, number, now.known, now.fraud)
            self._count(before.time, before.known, before.fraud, -1)
            self._count(now.time, now.known, now.fraud, 1)
        return True

    def _count(self, time: int, known: int | None, fraud: int, sign: int) -> None:
        """Count a label on the day on which it becomes known, or, with -1, no longer."""
        if self.layout.delay is not None:
            day = (time + self.layout.delay if known is None else known) // DAY
            self._connection.execute(_COUNT, (day, sign, sign * fraud))

    def _forget(self) -> None:
        if self._rule.reach is None:
            return
        (newest,) = self._connection.execute("SELECT max(time) FROM transactions").fetchone()
        tomorrow = time_ns() // 1000 + DAY  # one transaction dated far ahead must not wipe out the past
        newest = min(newest, tomorrow)
        horizon = newest - self._rule.reach - LATE
        until = min(horizon, newest - DISPUTE) if self.layout.label_times else horizon
        if rows := self._connection.execute(self._old, (until, horizon)).fetchall():
            for number, time, _, *values in rows:
                self._pages.remove_all(values, time, number)
            for table in ("transactions", "labels", "requests"):
                self._connection.executemany(f"DELETE FROM {table} WHERE id = ?", [(number,) for number, *_ in rows])  # noqa: S608
            mark = "UPDATE gone SET time = max(coalesce(time, ?1), ?1)"
            self._connection.execute(mark, (max(moment for _, _, moment, *_ in rows),))

    def close(self) -> None:
        self._connection.close()
