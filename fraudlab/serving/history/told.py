"""What labels come to: which transaction each is about, what it adds to what was said, and what counts then."""

import re
from collections.abc import Iterator, Sequence
from time import time_ns
from typing import Any, NamedTuple

from fraudlab.bundle.contract import Refused, problem
from fraudlab.errors import UserError
from fraudlab.monitoring.labels import Label
from fraudlab.serving.history.store import SEVERAL, Id, Labelled, Saying, Store

_AT_ONCE = 1_000  # labels that are written in one go


class Told(NamedTuple):
    """What became of labels: how many say something new, and how many are about transactions that are not there."""

    new: int
    unknown: int


def tell(store: Store, labels: Sequence[Label], *, skip_unknown: bool) -> Told:
    """See :meth:`fraudlab.serving.history.History.tell`."""
    with store.transaction():
        while True:  # until nobody else has changed what they rest on
            told, changes = _changes(store, labels, skip_unknown)
            parts = range(0, len(changes), _AT_ONCE)
            if all(store.settle(dict(changes[start : start + _AT_ONCE])) for start in parts):
                return told


def _changes(
    store: Store, labels: Sequence[Label], skip_unknown: bool
) -> tuple[Told, list[tuple[Id, tuple[Labelled, Labelled]]]]:
    """What becomes of labels, and of the labels of transactions: as they were, as they are."""
    places = [(label.request_id, label.position) for label in labels if label.id is None]
    named = iter(store.named(places))  # type: ignore[arg-type]
    problems: list[dict[str, Any]] = []
    about: list[tuple[int, Label, Id | None]] = []

    def wrong(position: int, label: Label, says: str) -> None:
        problems.append(problem(position, "id" if label.id is not None else "request_id", says))

    for position, label in enumerate(labels):
        if label.event_time is not None and abs(label.event_time) >= store.most_time:
            problems.append(problem(position, "event_time", "lies beyond the times that the history can keep"))
        try:
            about.append((position, label, _id(store, label, named)))
        except UserError as error:
            wrong(position, label, str(error))
    before = store.labels(list({number: None for *_, number in about if number is not None}))
    after = dict(before)
    new = unknown = 0
    for position, label, number in about:
        if number is None or number not in after:
            unknown += skip_unknown
            if not skip_unknown:
                which = f"transaction {label.id}" if label.id is not None else _place(label)
                says = f"no {which} in the history: it never came, or is forgotten, older than any window"
                wrong(position, label, says)
            continue
        try:
            saying = _saying(after[number].said, label)
        except UserError as error:
            wrong(position, label, str(error))
            continue
        if saying is not None:
            new += 1
            after[number] = _settled(store, after[number], (*after[number].said, saying))
    if problems:
        raise Refused(sorted(problems, key=lambda each: each["record"]))
    changed = [(number, (before[number], now)) for number, now in after.items() if now is not before[number]]
    return Told(new, unknown), changed


def _settled(store: Store, row: Labelled, said: tuple[Saying, ...]) -> Labelled:
    """The row with what was said of it last as its label."""
    newest = max(said, key=lambda each: (each.event_time, -1 if each.fraud is None else each.fraud))
    known = max(newest.event_time, row.time) if store.layout.label_times and newest.fraud is not None else None
    return row._replace(known=known, fraud=newest.fraud or 0, said=said)


def _id(store: Store, label: Label, named: Iterator[Any]) -> Id | None:
    """The transaction that a label is about; None where its request is not known."""
    if label.id is not None:
        return _own(store, label.id)
    found: Any = next(named)
    if found is SEVERAL:
        raise UserError(f"several transactions were at {_place(label)}; name one by its id")
    return found


def _own(store: Store, number: Id) -> Id:
    """An id in the type of the history's: a file of labels does not tell which that is."""
    if store.layout.text_ids:
        return str(number)
    text = str(number).strip()
    if re.fullmatch(r"[+-]?[0-9]{1,19}(\.0*)?", text, re.ASCII):
        whole = int(text.partition(".")[0])
        if -(2**63) <= whole < 2**63:
            return whole
    raise UserError(f"id {number!r} is not a 64-bit integer, as the ids of this history are")


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
        raise UserError(f"{label.source} contradicts its own label with the same event_time; give a later one")
    return Saying(label.event_time, label.source, fraud)
