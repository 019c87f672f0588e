"""A history in one SQLite file.

Any number of processes may read while another writes (SQLite's write-ahead log); two that write wait for each other.
What is done within :meth:`SqliteStore.transaction` is one SQLite transaction, so a crash leaves it done or not done.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import time_ns
from typing import Any

from fraudlab.features.live import DAY, Earlier, Event
from fraudlab.serving.history.sqlite_file import columns_of, connect, layout_of
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
_LAST = b"\xff"  # SQLite sorts it behind every id


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
        names = columns_of(self.layout)
        read = ["time", "coalesce(fraud, 0)", *(name for name in names if not name.startswith("key"))]
        if self.layout.label_times:  # else all labels are known at one age
            read.insert(1, f"coalesce(known, time + {rule.delay})")
        selected = ", ".join(read)
        # A row counts for windows by its own time, and by that of its label where the label came late.
        self._reached = f"coalesce(known - {rule.delay}, time)" if self.layout.label_times else "time"
        self._before = [
            f"SELECT {selected} FROM transactions "  # noqa: S608
            f"WHERE key_{position} = ? AND {self._reached} > ? AND (time, id) < (?, ?) "
            "ORDER BY time, id"
            for position in range(len(self.layout.keys))
        ]
        self._event = ", ".join(["id", "time", *names])
        # Earlier versions kept the Handbook's keys as integers; today's are text.
        kind = "SELECT typeof({0}) FROM transactions WHERE {0} IS NOT NULL LIMIT 1"
        kinds = [self._connection.execute(kind.format(name)).fetchone() for name in names if name.startswith("key")]
        self._integer_keys = [found == ("integer",) for found in kinds]

    def concerns(self) -> list[str]:
        return []

    @contextmanager
    def transaction(self) -> Iterator[None]:
        if self._connection.in_transaction:  # part of a larger one
            yield
            return
        try:
            self._connection.execute("BEGIN IMMEDIATE")
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
        with self.transaction():
            for which, each in enumerate(asked):
                each = each._replace(event=self._as_kept(each.event))
                if look_up:
                    found.append(self._found(which, each.event))
                if add:
                    self._add(which, each)
        return found

    def _as_kept(self, new: Event) -> Event:
        if not any(self._integer_keys):
            return new
        keys = zip(new.keys, self._integer_keys, strict=True)
        return new._replace(keys=tuple(int(key) if integer and key is not None else key for key, integer in keys))

    def _found(self, which: int, new: Event) -> Found:
        reach = self._rule.reach
        (forgotten,) = self._connection.execute("SELECT time FROM forgotten").fetchone()
        if forgotten is not None and (reach is None or new.time - reach < forgotten):
            raise NotTaken(which, "forgotten")
        since = -(2**63) if reach is None else new.time - reach
        end = (since, new.time, _LAST if new.id is None else new.id)
        rows = [
            [] if key is None else self._connection.execute(query, (key, *end)).fetchall()
            for query, key in zip(self._before, new.keys, strict=True)
        ]
        return Found(new, lambda key: self._earlier(rows[key]), self._known_by(new.time))

    def _earlier(self, rows: list[tuple[Any, ...]]) -> Earlier:
        numbers, categories = len(self.layout.numbers), len(self.layout.categories)
        return Earlier.of_rows(rows, numbers, categories, None if self.layout.label_times else self._rule.delay)

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
        if new.id is None:
            query = "SELECT coalesce(max(id), -1) + 1 FROM transactions"
            new = new._replace(id=self._connection.execute(query).fetchone()[0])
        row = (new.id, new.time, *new.keys, *new.numbers, *new.categories)
        marks = ", ".join("?" * len(row))
        insert = f"INSERT INTO transactions ({self._event}) VALUES ({marks}) ON CONFLICT DO NOTHING"  # noqa: S608
        if self._connection.execute(insert, row).rowcount:
            self._count(new.time, None, 0, 1)
        else:
            there = f"SELECT {self._event} FROM transactions WHERE id = ?"  # noqa: S608
            if self._connection.execute(there, (new.id,)).fetchone() != row:
                raise NotTaken(which, "another")
        if asked.request_id is not None:
            self._connection.execute(_REMEMBER, (asked.request_id, asked.position, new.id))
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
        old = f"SELECT id, {self._reached} FROM transactions WHERE time <= ? AND {self._reached} <= ? "  # noqa: S608
        if rows := self._connection.execute(f"{old} ORDER BY time LIMIT ?", (until, horizon, AT_ONCE)).fetchall():
            for table in ("transactions", "labels", "requests"):
                self._connection.executemany(f"DELETE FROM {table} WHERE id = ?", [(number,) for number, _ in rows])  # noqa: S608
            mark = "UPDATE forgotten SET time = max(coalesce(time, ?1), ?1)"
            self._connection.execute(mark, (max(moment for _, moment in rows),))

    def close(self) -> None:
        self._connection.close()
