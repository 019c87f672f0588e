"""What a history asks of the store that keeps its rows and labels: :mod:`.sqlite` and :mod:`.redis` have one each."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

from fraudlab.errors import UserError
from fraudlab.features.live import DAY, Event, Layout, Live, PastOf

Id = int | str
LATE = 30 * DAY  # so much later than others a row may come: what its windows need is kept until then
DISPUTE = 180 * DAY  # with label times, so long a row is kept: a chargeback comes in that time
AT_ONCE = 10  # rows that are forgotten with each that is added
SEVERAL = object()
"""In place of an id: a client gave several rows of one request the same place."""


class StoreAway(UserError):
    """The store does not answer, or can write nothing; a later try may succeed.

    SQLite has then kept nothing. Redis may have done what it was asked before its answer was lost: a row with an id, or
    a dated label, that is sent again counts once all the same.
    """


class NotTaken(Exception):
    """A row that a store does not take; it has then taken none of those that came with it.

    Attributes:
        which: its position among them.
        why: ``forgotten``: what its features rest on is gone; ``another``: its id stands for another row; ``ahead``: it
            lies too far ahead of the newest row; ``beyond``: the store has no such time.
        by: microseconds, where it lies ahead.
    """

    def __init__(self, which: int, why: str, by: int = 0) -> None:
        super().__init__(why)
        self.which, self.why, self.by = which, why, by


class Asked(NamedTuple):
    """A row whose past is asked for, or that is to be kept, or both.

    Attributes:
        request_id: of the request that it came in, by which a label may name it.
        position: in that request.
    """

    event: Event
    request_id: str | None = None
    position: int = 0


class Found(NamedTuple):
    """What ``features.of_past`` is asked with; of categories the store may have its own form, in ``present`` too."""

    present: Event
    past: PastOf
    known: tuple[int, int]


class Saying(NamedTuple):
    """What somebody said of a row, and when; ``fraud`` is None where a label is taken back."""

    event_time: int
    source: str
    fraud: int | None


class Labelled(NamedTuple):
    """A row's label.

    Attributes:
        time: of the row, microseconds.
        known: when the label was said; None: it is known the label's delay after the row.
        fraud: 0 or 1.
        said: all that was said of it.
        raw: the store's own.
    """

    time: int
    known: int | None
    fraud: int
    said: tuple[Saying, ...]
    raw: Any = None


class Rule(NamedTuple):
    """What a store needs to know of the features, besides the layout.

    Attributes:
        reach: how far back they look, in microseconds; None: without limit.
        delay: age at which a label is known, in microseconds.
        ahead: a row that lies so much ahead of the newest one is not taken: times count from no known day, so a wrong
            clock would have all others forgotten; None: any is.
    """

    reach: int | None = None
    delay: int = 0
    ahead: int | None = None

    @classmethod
    def of(cls, features: Live | None) -> "Rule":
        if features is None:
            return cls()
        reach = features.reach
        return cls(reach, features.delay, None if features.dated or reach is None else reach + LATE)


class Store(Protocol):
    """Rows, labels, and the requests that rows came in; for one thread, and opened anew after a fork.

    Every method may raise :class:`StoreAway`, or another ``UserError`` where there is no history of this kind.

    Attributes:
        most_time: no time that it keeps is as far from 1970, in microseconds.
    """

    most_time: int

    @property
    def layout(self) -> Layout:
        """What is kept of each row."""
        ...

    @property
    def shown(self) -> str:
        """Where it is, for people."""
        ...

    def concerns(self) -> list[str]:
        """What is wrong with how the store is set up, for the log."""
        ...

    def transaction(self) -> AbstractContextManager[None]:
        """What is done inside is kept whole, or not at all where an exception leaves it."""
        ...

    def take(self, asked: Sequence[Asked], *, look_up: bool, add: bool) -> list[Found]:
        """Look up what stands before each row, keep the row, or both, one after the other; all of them or none.

        A row that is there already stays as it is. Raises :class:`NotTaken`.
        """
        ...

    def named(self, places: Sequence[tuple[str, int]]) -> list[Any]:
        """Ids of the rows that came at positions of requests; None: no such; ``SEVERAL``."""
        ...

    def labels(self, ids: Sequence[Id]) -> Mapping[Id, Labelled]:
        """The labels of those rows that are there."""
        ...

    def settle(self, changes: Mapping[Id, tuple[Labelled, Labelled]]) -> bool:
        """Write labels, as they were and as they are; False: another process changed one of them meanwhile."""
        ...

    def close(self) -> None: ...
