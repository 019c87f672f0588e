"""The past of every key, live: features of a raw transaction, as the batch has them, from a store of what came before.

A transaction sees what stands before it by time, then id, whatever the order of arrival: a row that arrives late
counts from then on, and features asked for twice are the same. A label counts ``delay_days`` after its transaction and
not before, however early it is told (with ``data.label_time``: when it was said); a transaction whose label nobody told
counts as genuine from the delay on.

A store keeps rows alone (:class:`.store.Store`): the features are made of them by the code that makes those of a table.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from time import time_ns
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from fraudlab.bundle.contract import Refused, problem
from fraudlab.errors import UserError
from fraudlab.features.live import DAY, Layout, Live, WrongField
from fraudlab.serving.history import sqlite
from fraudlab.serving.history.store import SEVERAL, Asked, Id, Labelled, NotTaken, Rule, Saying, Store
from fraudlab.serving.labels import Label

if TYPE_CHECKING:
    import polars as pl

_AT_ONCE = 1_000  # labels that are written in one go


class Told(NamedTuple):
    """What became of labels: how many say something new, and how many are about transactions that are not there."""

    new: int
    unknown: int


class _Unknown(UserError):
    pass


class History:
    """An open history; use it from one thread at a time, and open it anew after a fork.

    Args:
        store: of the rows.
        features: which features to give, with which label delay; None: labels alone can be told.
    """

    def __init__(self, store: Store, features: Live | None) -> None:
        self._store = store
        self._features = features

    @classmethod
    def open(cls, address: str | Path, features: Live | None = None) -> Self:
        """The history at ``address`` with the features of a bundle.

        Raises:
            UserError: there is none, or it was made for other features.
        """
        store = sqlite.SqliteStore(Path(address), Rule.of(features))
        if features is not None and store.layout != features.layout:
            apart = _differences(store.layout, features.layout)
            raise UserError(
                f"{address} keeps other columns than the bundle's features need ({apart}); make one with "
                "python -m fraudlab.history bundle=<bundle> transactions=<Parquet file> out=<file>"
            )
        return cls(store, features)

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
        return self._take([(record, None, 0)], look_up=True, add=False)[0]

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
        self._take([(record, request_id, position)], look_up=False, add=True)

    def features_and_add(
        self, records: Sequence[tuple[Mapping[str, Any], str | None, int]]
    ) -> list[Mapping[str, float | None]]:
        """:meth:`features` and :meth:`add` of one transaction after the other, in one step of the store.

        Args:
            records: each with the request that it came in, and its position there.

        Raises:
            Refused: what they raise; none is then kept.
        """
        return self._take(records, look_up=True, add=True)

    def _take(
        self, records: Sequence[tuple[Mapping[str, Any], str | None, int]], *, look_up: bool, add: bool
    ) -> list[Mapping[str, float | None]]:
        features = self._features
        assert features is not None
        try:
            asked = []
            for record, request_id, position in records:
                asked.append(Asked(features.event(record), request_id, position))
            try:
                found = self._store.take(asked, look_up=look_up, add=add)
            except NotTaken as error:
                record, _, position = records[error.which]
                raise self._refusal(error, asked[error.which], record) from None
        except WrongField as error:
            if not (look_up and add):
                raise
            raise Refused([problem(position, error.field, str(error))]) from error
        return [features.of_past(*each) for each in found] if look_up else []

    def _refusal(self, error: NotTaken, asked: Asked, record: Mapping[str, Any]) -> WrongField:
        layout = self.layout
        if error.why == "another":
            says = f"{asked.event.id} stands for another transaction already; give each its own id"
            return WrongField(layout.id, says)
        time = record[layout.time]
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
        """Take labels, all or none.

        What was said last counts, by ``event_time`` and whoever said it, in whatever order it comes; of two sayings of
        one moment, fraud. A label without an ``event_time`` that repeats the last of its source says nothing new.

        Args:
            labels: what is said.
            skip_unknown: leave out, and count, labels of transactions that are not in the history.

        Raises:
            Refused: a transaction is not in the history, or a source said otherwise of it at the same moment.
        """
        with self._store.transaction():
            while True:  # until nobody else has changed what they rest on
                told, changes = self._changes(labels, skip_unknown)
                parts = range(0, len(changes), _AT_ONCE)
                if all(self._store.settle(dict(changes[start : start + _AT_ONCE])) for start in parts):
                    return told

    def _changes(
        self, labels: Sequence[Label], skip_unknown: bool
    ) -> tuple[Told, list[tuple[Id, tuple[Labelled, Labelled]]]]:
        """What becomes of labels, and of the labels of transactions: as they were, as they are."""
        places = [(label.request_id, label.position) for label in labels if label.id is None]
        named = iter(self._store.named(places))  # type: ignore[arg-type]
        problems: list[dict[str, Any]] = []
        about: list[tuple[int, Label, Id | None]] = []
        for position, label in enumerate(labels):
            try:
                about.append((position, label, self._id(label, named)))
            except UserError as error:
                problems.append(problem(position, "id" if label.id is not None else "request_id", str(error)))
        before = self._store.labels(list({number: None for *_, number in about if number is not None}))
        after = dict(before)
        new = unknown = 0
        for position, label, number in about:
            if number is None or number not in after:
                if skip_unknown:
                    unknown += 1
                    continue
                which = f"transaction {label.id}" if label.id is not None else _place(label)
                says = f"no {which} in the history: it never came, or is forgotten, older than any window"
                problems.append(problem(position, "id" if label.id is not None else "request_id", says))
                continue
            try:
                saying = _saying(after[number].said, label)
            except UserError as error:
                problems.append(problem(position, "id" if label.id is not None else "request_id", str(error)))
                continue
            if saying is not None:
                new += 1
                after[number] = self._settled(after[number], (*after[number].said, saying))
        if problems:
            raise Refused(sorted(problems, key=lambda each: each["record"]))
        changed = [(number, (before[number], now)) for number, now in after.items() if now is not before[number]]
        return Told(new, unknown), changed

    def _settled(self, row: Labelled, said: tuple[Saying, ...]) -> Labelled:
        """The row with what was said of it last as its label."""
        newest = max(said, key=lambda each: (each.event_time, -1 if each.fraud is None else each.fraud))
        known = max(newest.event_time, row.time) if self.layout.label_times and newest.fraud is not None else None
        return row._replace(known=known, fraud=newest.fraud or 0, said=said)

    def _id(self, label: Label, named: Iterator[Any]) -> Id | None:
        """The transaction that a label is about; None where its request is not known."""
        if label.id is not None:
            return self._own(label.id)
        found: Any = next(named)
        if found is SEVERAL:
            raise UserError(f"several transactions stood at {_place(label)}; name the one by its id")
        return found

    def _own(self, number: Id) -> Id:
        """An id in the type of this history's: a file of labels does not tell which that is."""
        if self.layout.text_ids:
            return str(number)
        text = str(number).strip()
        if re.fullmatch(r"[+-]?[0-9]{1,19}(\.0*)?", text, re.ASCII):
            whole = int(text.partition(".")[0])
            if -(2**63) <= whole < 2**63:
                return whole
        raise UserError(f"id {number!r} is no integer of 64 bits, as this history's are")

    def close(self) -> None:
        self._store.close()


def _place(label: Label) -> str:
    return f"position {label.position} of request {label.request_id}"


def _saying(said: Sequence[Saying], label: Label) -> Saying | None:
    """What a label adds to what was said of a transaction; None: nothing."""
    fraud = None if label.fraud is None else int(label.fraud)
    own = {each.event_time: each.fraud for each in said if each.source == label.source}
    if label.event_time is None:
        if own and own[max(own)] == fraud:
            return None
        return Saying(max([time_ns() // 1000, *(1 + time for time in own)]), label.source, fraud)
    if label.event_time in own:
        if own[label.event_time] == fraud:
            return None
        raise UserError(f"{label.source} said otherwise at the same event_time; give a later one")
    return Saying(label.event_time, label.source, fraud)


def build(address: str | Path, transactions: "pl.DataFrame", features: Live | None = None) -> tuple[int, int]:
    """Write a new history with the rows of ``transactions``; gives the number of rows, and of those with a label.

    Args:
        address: of a file that does not exist.
        transactions: what ``features.events`` takes.
        features: of a bundle; None: the handbook's.

    Raises:
        UserError: there is one already, a column is missing, or values are not of their kind.
    """
    from fraudlab.features import handbook
    from fraudlab.serving.history import sqlite_file

    given: Live = features or handbook.of_raw_columns()
    layout, rows = given.layout, given.events(transactions)
    sqlite_file.build(Path(address), layout, rows)
    return len(rows), len(rows) - rows["fraud"].null_count()


def _differences(there: Layout, wanted: Layout) -> str:
    ours, theirs = asdict(there), asdict(wanted)
    return ", ".join(f"{name}: {ours[name]}, not {theirs[name]}" for name in ours if ours[name] != theirs[name])
