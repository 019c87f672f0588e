"""The past of each value of a key in an SQLite file: records side by side, so that a look-up reads bytes, not rows.

The records of a value lie in pages by time, then id. A page is a row of the database that fits one page of its file, so
that a new record, which is nearly always the last one, changes that page alone. What the pages hold stands in the table
of transactions too; they are made of it anew where a file comes from an earlier version.
"""

import json
import sqlite3
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fraudlab.features.live import MISSING, Earlier, Layout
from fraudlab.serving.history import words
from fraudlab.serving.history.store import Id

TABLES = (
    """CREATE TABLE pages (
        page INTEGER PRIMARY KEY,
        key INTEGER NOT NULL,  -- position in the layout
        value TEXT NOT NULL,  -- of the key
        time INTEGER NOT NULL,  -- of the first record
        id NOT NULL,
        ids BLOB NOT NULL,  -- of the records: 8 bytes each, or a JSON list of texts
        records BLOB NOT NULL
    )""",
    "CREATE UNIQUE INDEX pages_by_key ON pages (key, value, time, id)",
)
_BYTES = 3_900  # of ids and records: with the rest of the row they fit a page of 4,096
_AT_ONCE = 50_000  # rows from which pages are made
_OF = "FROM pages WHERE key = ? AND value = ?"
_READ = f"SELECT time, ids, records {_OF} AND (time, id) < (?, ?) ORDER BY time DESC, id DESC"
_LAST = f"SELECT page, ids, records {_OF} AND (time, id) <= (?, ?) ORDER BY time DESC, id DESC LIMIT 1"
_FIRST = f"SELECT page, ids, records {_OF} ORDER BY time, id LIMIT 1"
_BEHIND = b"\xff"  # SQLite sorts it behind every id


class Pages:
    """The pages of an open file; the caller opens transactions.

    Args:
        connection: to the file.
        layout: of the rows.
    """

    def __init__(self, connection: sqlite3.Connection, layout: Layout) -> None:
        self._connection = connection
        self._layout = layout
        self._record = np.dtype(
            [
                ("time", "<i8"),
                *([("known", "<i8")] if layout.label_times else []),  # MISSING: the label's delay after the row
                ("fraud", "u1"),
                ("numbers", "<i8", (len(layout.numbers),)),
                ("categories", words.TYPE, (len(layout.categories),)),
            ]
        )

    def before(self, key: int, value: str, since: int | None, time: int, id_: Id | None, delay: int) -> Earlier:
        """Records that stand before a row, without some of those that are not after ``since``; None: all of them.

        Args:
            key: which.
            value: of the key.
            since: microseconds.
            time: of the row.
            id_: of the row; None: it stands behind all of its time.
            delay: age at which a label is known, in microseconds.
        """
        parts: list[bytes] = []
        for first, ids, records in self._connection.execute(_READ, (key, value, time, _BEHIND if id_ is None else id_)):
            if not parts:  # no other page has records that stand behind the row
                records = records[: self._place(ids, records, time, id_) * self._record.itemsize]
            parts.append(records)
            if since is not None and first <= since:
                break
        return self._earlier(np.frombuffer(b"".join(reversed(parts)), self._record), delay)

    def _earlier(self, records: NDArray[Any], delay: int) -> Earlier:
        time = np.ascontiguousarray(records["time"])
        known = time + delay
        if self._layout.label_times:
            known = np.where(records["known"] == MISSING, known, records["known"])
        return Earlier(
            time,
            known,
            records["fraud"].astype(np.int64),
            list(np.ascontiguousarray(records["numbers"].T)),
            [words.kept(values) for values in records["categories"].T],
        )

    def _place(self, ids: bytes | str, records: bytes, time: int, id_: Id | None) -> int:
        """How many records of a page stand before a row."""
        times = np.ascontiguousarray(np.frombuffer(records, self._record)["time"])
        low, high = int(times.searchsorted(time)), int(times.searchsorted(time, "right"))
        return high if low == high or id_ is None else bisect_left(self._ids(ids), id_, low, high)

    def _ids(self, ids: Any) -> list[Any]:
        return json.loads(ids) if self._layout.text_ids else np.frombuffer(ids, "<i8").tolist()

    def _written(self, ids: Sequence[Id]) -> bytes | str:
        if self._layout.text_ids:
            return json.dumps(ids, ensure_ascii=False, separators=(",", ":"))
        return np.array(ids, "<i8").tobytes()

    def _appended(self, ids: Any, id_: Id) -> Any:
        """As many are read and written, but the last one alone is made."""
        more = self._written([id_])
        return f"{ids[:-1]},{more[1:]}" if isinstance(more, str) else ids + more  # type: ignore[str-bytes-safe]

    def packed(self, time: int, known: int | None, fraud: int, numbers: Sequence[int], categories: Any) -> bytes:
        """The record of a row."""
        label = (MISSING if known is None else known, fraud) if self._layout.label_times else (fraud,)
        as_bytes = [words.category(value) for value in categories]
        return np.array((time, *label, numbers, np.array(as_bytes, words.TYPE)), self._record).tobytes()

    def insert(self, key: int, value: str, time: int, id_: Id, record: bytes) -> None:
        """Put the record of a row in."""
        found = self._connection.execute(_LAST, (key, value, time, id_)).fetchone()
        found = found or self._connection.execute(_FIRST, (key, value)).fetchone()
        if found is None:
            self._new(key, value, time, [id_], record)
            return
        page, ids, records = found
        place, size = self._place(ids, records, time, id_), len(record)
        if place * size == len(records):
            if len(records) + size + len(ids := self._appended(ids, id_)) <= _BYTES:
                self._change(page, ids, records + record)
            else:
                self._new(key, value, time, [id_], record)
            return
        all_ids, records = self._ids(ids), records[: place * size] + record + records[place * size :]
        all_ids.insert(place, id_)
        if place == 0:  # first: the page that a split makes may begin where this one did
            self._begin(page, time, id_)
        ids, kept = self._written(all_ids), len(all_ids)
        if len(records) + len(ids) > _BYTES:
            kept //= 2
            ids = self._written(all_ids[:kept])
            first = int(np.frombuffer(records, self._record)["time"][kept])
            self._new(key, value, first, all_ids[kept:], records[kept * size :])
        self._change(page, ids, records[: kept * size])

    def _new(self, key: int, value: str, time: int, ids: Sequence[Id], records: bytes) -> None:
        self._connection.execute(
            "INSERT INTO pages (key, value, time, id, ids, records) VALUES (?, ?, ?, ?, ?, ?)",
            (key, value, time, ids[0], self._written(ids), records),
        )

    def _change(self, page: int, ids: bytes | str, records: bytes) -> None:
        self._connection.execute("UPDATE pages SET ids = ?, records = ? WHERE page = ?", (ids, records, page))

    def _begin(self, page: int, time: int, id_: Id) -> None:
        self._connection.execute("UPDATE pages SET time = ?, id = ? WHERE page = ?", (time, id_, page))

    def _find(self, key: int, value: str, time: int, id_: Id) -> tuple[int, bytes | str, bytes, int]:
        """The page of a row's record, and where it stands there."""
        page, ids, records = self._connection.execute(_LAST, (key, value, time, id_)).fetchone()
        return page, ids, records, self._place(ids, records, time, id_)

    def tell(self, key: int, value: str, time: int, id_: Id, known: int | None, fraud: int) -> None:
        """Write the label of a row."""
        page, ids, records, place = self._find(key, value, time, id_)
        made = np.frombuffer(records, self._record).copy()
        made["fraud"][place] = fraud
        if self._layout.label_times:
            made["known"][place] = MISSING if known is None else known
        self._change(page, ids, made.tobytes())

    def remove(self, key: int, value: str, time: int, id_: Id) -> None:
        """Take the record of a row out."""
        page, ids, records, place = self._find(key, value, time, id_)
        size, left = self._record.itemsize, self._ids(ids)
        del left[place]
        if not left:
            self._connection.execute("DELETE FROM pages WHERE page = ?", (page,))
            return
        records = records[: place * size] + records[(place + 1) * size :]
        self._change(page, self._written(left), records)
        if place == 0:  # or else the page would name a row that is gone
            self._begin(page, int(np.frombuffer(records, self._record, 1)["time"][0]), left[0])

    def remove_all(self, values: Sequence[str | None], time: int, id_: Id) -> None:
        """Take the records of a row out, of all its keys, whose values are given."""
        for key, value in enumerate(values):
            if value is not None:
                self.remove(key, value, time, id_)

    def fill(self, key: int) -> None:
        """Make the pages of a key from the table of transactions."""
        layout, value = self._layout, f"CAST(key_{key} AS TEXT)"
        others = [f"number_{position}" for position in range(len(layout.numbers))]
        others += [f"category_{position}" for position in range(len(layout.categories))]
        rows = self._connection.execute(
            f"SELECT {', '.join([value, 'id', 'time', 'known', 'coalesce(fraud, 0)', *others])} FROM transactions "  # noqa: S608
            f"WHERE key_{key} IS NOT NULL ORDER BY 1, time, id"
        )
        while some := rows.fetchmany(_AT_ONCE):
            values, ids, time, known, fraud, *columns = zip(*some, strict=True)
            records = np.zeros(len(some), self._record)
            records["time"], records["fraud"] = time, fraud
            if layout.label_times:
                records["known"] = [MISSING if moment is None else moment for moment in known]
            for position in range(len(layout.numbers)):
                records["numbers"][:, position] = columns[position]
            for position, texts in enumerate(columns[len(layout.numbers) :]):
                made = {text: words.category(text) for text in set(texts)}
                records["categories"][:, position] = np.frombuffer(b"".join(made[text] for text in texts), words.TYPE)
            packed, size = records.tobytes(), self._record.itemsize
            start = held = 0
            for place, (value, id_) in enumerate(zip(values, ids, strict=True)):
                more = size + (len(id_) + 3 if layout.text_ids else 8)
                if place > start and (value != values[start] or held + more > _BYTES):
                    own = packed[start * size : place * size]
                    self._new(key, values[start], time[start], ids[start:place], own)
                    start, held = place, 0
                held += more
            self._new(key, values[start], time[start], ids[start:], packed[start * size :])
