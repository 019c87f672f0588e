"""The past of every key, live: features of a raw transaction, as the batch has them, from a store of what came before.

A transaction sees what stands before it by time, then id, whatever the order of arrival: a row that arrives late
counts from then on, and features asked for twice are the same. A label counts ``delay_days`` after its transaction and
not before, however early it is told (with ``data.label_time``: when it was said); a transaction whose label nobody told
counts as genuine from the delay on.

A store keeps rows alone (:class:`.store.Store`): the features are made of them by the code that makes those of a table.
"""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from fraudlab.bundle.contract import Refused, problem
from fraudlab.errors import UserError
from fraudlab.features.live import DAY, Earlier, Event, Layout, Live, WrongField
from fraudlab.monitoring.labels import Label
from fraudlab.serving.history import sqlite, sqlite_file
from fraudlab.serving.history.store import Asked, Id, NotTaken, Rule, Store, StoreAway
from fraudlab.serving.history.told import Told, tell

if TYPE_CHECKING:
    import polars as pl

Placed = tuple[Mapping[str, Any], str | None, int]
"""A record, the request that it came in, and its position there."""


class History:
    """An open history; use it from one thread at a time, and open it anew after a fork.

    Args:
        store: of the rows.
        features: which features to give, with which label delay; None: labels alone can be told.
    """

    def __init__(self, store: Store, features: Live | None) -> None:
        self._store = store
        self._features = features
        self._checked = False

    @classmethod
    def open(cls, address: str | Path, features: Live | None = None, *, wait: bool = False) -> Self:
        """The history at ``address`` with the features of a bundle.

        Args:
            address: of an SQLite file, or ``redis://host:port/db?name=<history>``.
            features: which to give; None: labels alone can be told.
            wait: where it does not answer, let each later call try again and raise ``StoreAway``.

        Raises:
            UserError: there is none, it was made for other features, or it does not answer.
        """
        history = cls(_store(address, Rule.of(features)), features)
        try:
            history._check()
        except StoreAway as error:
            if not wait:
                raise UserError(f"the history cannot be used: {error}") from error
        return history

    def _check(self) -> None:
        """Find out, once it answers, whether it keeps what the features need."""
        if self._checked:
            return
        there, wanted = self._store.layout, None if self._features is None else self._features.layout
        if wanted is not None and there != wanted:
            raise UserError(
                f"the history has other columns than the bundle's features need ({_differences(there, wanted)}); "
                "make one with python -m fraudlab.history bundle=<bundle> transactions=<Parquet file> out=<history>"
            )
        self._checked = True

    @property
    def shown(self) -> str:
        """Where it is, for people, without a password."""
        return self._store.shown

    def concerns(self) -> list[str]:
        """What is wrong with how the store is set up: what it keeps may get lost."""
        return self._store.concerns()

    def _ready(self) -> None:
        try:
            self._check()
        except StoreAway:
            raise
        except UserError as error:  # it was opened while the store was away, which came back without it
            raise StoreAway(str(error)) from error

    @property
    def layout(self) -> Layout:
        """What is kept of each transaction."""
        return self._store.layout

    def transaction(self) -> AbstractContextManager[None]:
        """What is done inside is kept whole, or not at all where an exception leaves it."""
        return self._store.transaction()

    def features(self, record: Mapping[str, Any]) -> Mapping[str, float | None]:
        """The features by name of a transaction that need not be in the history yet.

        Args:
            record: what the features' ``event`` takes.

        Raises:
            WrongField: a field is missing or not of its kind, or the transaction is so old that its past is forgotten.
        """
        assert self._features is not None
        return self._one(record, Asked(self._features.event(record)), look_up=True, add=False)[0]

    def features_of_events(self, events: Sequence[Event], times: Sequence[Any]) -> list[Mapping[str, float | None]]:
        """:meth:`features` of rows as they are kept.

        Args:
            events: the rows.
            times: of each, as a message is to show it.

        Raises:
            WrongField: a row is so old that its past is forgotten.
        """
        self._ready()
        try:
            return self._take([Asked(event) for event in events], look_up=True, add=False)
        except NotTaken as error:
            raise self._refusal(error, Asked(events[error.which]), {self.layout.time: times[error.which]}) from None

    def has(self, ids: Sequence[Id]) -> int:
        """How many of some rows are in the history."""
        return len(self._store.labels(ids))

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
        self._one(record, Asked(self._features.event(record), request_id, position), look_up=False, add=True)

    def without_past(self, records: Sequence[Placed]) -> list[Mapping[str, float | None]]:
        """The features of transactions as if each were the first of all its keys; it asks no store, and adds nothing.

        Raises:
            Refused: a field is missing or not of its kind.
        """
        assert self._features is not None
        layout = self._features.layout
        nothing = Earlier.of_rows([], len(layout.numbers), len(layout.categories))
        return [self._features.of_past(each.event, lambda key: nothing, (0, 0)) for each in self._asked(records)]

    def _asked(self, records: Sequence[Placed]) -> list[Asked]:
        assert self._features is not None
        asked = []
        for record, request_id, position in records:
            try:
                asked.append(Asked(self._features.event(record), request_id, position))
            except WrongField as error:
                raise Refused([problem(position, error.field, str(error))]) from error
        return asked

    def features_and_add(self, records: Sequence[Placed]) -> list[Mapping[str, float | None]]:
        """:meth:`features` and :meth:`add` of one transaction after the other, in one step of the store.

        Args:
            records: each with the request that it came in, and its position there.

        Raises:
            Refused: what they raise; none is then kept.
        """
        return self._placed(records, add=True)

    def features_of(self, records: Sequence[Placed]) -> list[Mapping[str, float | None]]:
        """:meth:`features` of each, in one step of the store.

        Raises:
            Refused: what it raises.
        """
        return self._placed(records, add=False)

    def _placed(self, records: Sequence[Placed], *, add: bool) -> list[Mapping[str, float | None]]:
        if not records:
            return []
        self._ready()
        asked = self._asked(records)
        try:
            return self._take(asked, look_up=True, add=add)
        except NotTaken as error:
            record, _, position = records[error.which]
            wrong = self._refusal(error, asked[error.which], record)
            raise Refused([problem(position, wrong.field, str(wrong))]) from error

    def _one(self, record: Mapping[str, Any], asked: Asked, **what: bool) -> list[Mapping[str, float | None]]:
        self._ready()
        try:
            return self._take([asked], **what)
        except NotTaken as error:
            raise self._refusal(error, asked, record) from None

    def _take(self, asked: Sequence[Asked], *, look_up: bool, add: bool) -> list[Mapping[str, float | None]]:
        assert self._features is not None
        found = self._store.take(asked, look_up=look_up, add=add)
        return [self._features.of_past(*each) for each in found]

    def _refusal(self, error: NotTaken, asked: Asked, record: Mapping[str, Any]) -> WrongField:
        layout = self.layout
        if error.why == "another":
            says = f"{asked.event.id} stands for another transaction already; give each its own id"
            return WrongField(layout.id, says)
        time = record[layout.time]
        if error.why == "beyond":
            return WrongField(layout.time, f"is {time}, after the year 2255, where a history in Redis ends")
        if error.why == "ahead":
            return WrongField(
                layout.time,
                f"is {time}, {error.by / DAY:,.0f} days after the newest transaction in the history; give the time as "
                "the table counts it, or make the history anew of later transactions",
            )
        return WrongField(
            layout.time,
            f"is {time}, too long before the newest transactions: the history has forgotten what its features rest on",
        )

    def tell(self, labels: Sequence[Label], *, skip_unknown: bool = False) -> Told:
        """Take labels, all or none; to Redis, more than a thousand in parts, once all are found to be sound.

        What was said last counts, by ``event_time`` and whoever said it, in whatever order it comes; of two sayings of
        one moment, fraud. A label without an ``event_time`` that repeats the last of its source says nothing new.

        Args:
            labels: what is said.
            skip_unknown: leave out, and count, labels of transactions that are not in the history.

        Raises:
            Refused: a transaction is not in the history, or a source said otherwise of it at the same moment.
        """
        self._ready()
        return tell(self._store, labels, skip_unknown=skip_unknown)

    def close(self) -> None:
        self._store.close()


def build(address: str | Path, transactions: "pl.DataFrame", features: Live | None = None) -> tuple[int, int]:
    """Write a new history with the rows of ``transactions``; gives the number of rows, and of those with a label.

    Args:
        address: of a file that does not exist, or in Redis where no such history is.
        transactions: what ``features.events`` takes.
        features: of a bundle; None: the handbook's.

    Raises:
        UserError: there is one already, a column is missing, or values are not of their kind.
    """
    from fraudlab.features import handbook

    given: Live = features or handbook.of_raw_columns()
    layout, rows = given.layout, given.events(transactions)
    if _in_redis(address):
        from fraudlab.serving.history import redis_build

        redis_build.build(str(address), layout, rows)
    else:
        sqlite_file.build(Path(address), layout, rows)
    return len(rows), len(rows) - rows["fraud"].null_count()


def erase(address: str | Path, ids: Collection[str]) -> int:
    """Take out the transactions of these ids, and those with one of them as a key or a part of it; gives how many.

    Their labels go, too; what days count stays. Nothing of them is left in a file.

    Raises:
        UserError: there is no history, or a process reads an SQLite file all the while: its log still holds them then.
    """
    if _in_redis(address):
        from fraudlab.serving.history.redis import ERASING, RedisStore

        return RedisStore(str(address), Rule(), ERASING).erase(ids)
    return sqlite_file.erase(Path(address), ids)


def _in_redis(address: str | Path) -> bool:
    return str(address).startswith(("redis://", "rediss://", "unix://"))


def _store(address: str | Path, rule: Rule) -> Store:
    if not _in_redis(address):
        return sqlite.SqliteStore(Path(address), rule)
    from fraudlab.serving.history.redis import RedisStore  # the client is imported by those who need it

    return RedisStore(str(address), rule)


def _differences(there: Layout, wanted: Layout) -> str:
    ours, theirs = asdict(there), asdict(wanted)
    return ", ".join(f"{name}: {ours[name]}, not {theirs[name]}" for name in ours if ours[name] != theirs[name])
