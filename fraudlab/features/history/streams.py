"""Which earlier rows each row sees: all rows in their order, or labels in the order in which they became known.

Positions and windows are counted in integers, and the same code serves all rows of a table and one row with its past.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fraudlab.errors import UserError
from fraudlab.features.history.definition import Condition
from fraudlab.features.live import MISSING

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]


class Stream:
    """Events in the order in which they become visible, and how many of them each asked row sees: always a prefix.

    Args:
        row: ``[M]``, the rows that the events are of.
        moment: ``[M]`` microseconds, not falling: when they become visible.
        time: ``[N]`` microseconds, not falling, of all rows.
        asked: ``[Q]`` rows, rising.
        own: a row sees its own event, too.

    An event is seen by rows that stand after its own, at its moment or later. A window of length w holds the events
    whose moments lie in (t - w, t] where t is the asked row's time.
    """

    def __init__(self, row: Integers, moment: Integers, time: Integers, asked: Integers, own: bool = False) -> None:
        self.row = row
        self.own = own
        self._moment = moment
        self._now = time[asked]
        self._starts: dict[int | None, Integers] = {None: np.zeros(len(asked), np.int64)}
        if len(row) == len(time) and row is asked:  # every row, in order
            self.stop: Integers = asked + own
            return
        first = np.maximum(row + (not own), time.searchsorted(moment))  # the first row that sees the event
        self.stop = first.searchsorted(asked, side="right")

    def start(self, window: int | None) -> Integers:
        """``[Q]``: number of events that lie before the window."""
        if window not in self._starts:
            self._starts[window] = self._moment.searchsorted(self._now - (window or 0), side="right")
        return self._starts[window]

    def before(self, moment: Integers) -> Integers:
        """``[Q]``: number of events that lie before a moment of each asked row."""
        return np.searchsorted(self._moment, moment)

    def only(self, kept: NDArray[np.bool_], time: Integers, asked: Integers) -> "Stream":
        """The events of the rows that are ``kept``, ``[N]``."""
        chosen = kept[self.row]
        return Stream(self.row[chosen], self._moment[chosen], time, asked, self.own)

    @staticmethod
    def of_rows(time: Integers, asked: Integers, own: bool = False) -> "Stream":
        """Every row, at its time."""
        row = np.arange(len(time))
        return Stream(asked if len(asked) == len(time) else row, time, time, asked, own)

    @staticmethod
    def of_labels(known: Integers, time: Integers, asked: Integers) -> "Stream":
        """Every row's label, when it is ``known``, ``[N]``; labels of one moment in order of rows."""
        row = np.argsort(known, kind="stable")
        return Stream(row, known[row], time, asked)


@dataclass(frozen=True)
class Rows:
    """Rows in order of time, then id, and those of them whose features are asked for.

    Attributes:
        time: ``[N]`` microseconds, not falling.
        asked: ``[Q]`` rows, rising.
        numbers: ``[N]`` of each column, in units of 10^-decimals; ``MISSING``.
        categories: ``[N]`` of each column, a number from 0 for each value; -1: missing.
        scale: 10^decimals.
        known: ``[N]`` microseconds, when each label is known, not before its row's time.
        fraud: ``[N]`` 0 or 1.
        share: ``[Q]`` of frauds among all rows whose label was known when the day of each asked row began.
        prior: weight of that share in a rate, in rows.
    """

    time: Integers
    asked: Integers
    numbers: Mapping[str, Integers]
    categories: Mapping[str, Integers]
    scale: float
    known: Integers
    fraud: Integers
    share: Floats
    prior: float

    @cached_property
    def all_rows(self) -> Stream:
        return Stream.of_rows(self.time, self.asked)

    @cached_property
    def with_own(self) -> Stream:
        return Stream.of_rows(self.time, self.asked, own=True)

    @cached_property
    def labels(self) -> Stream:
        return Stream.of_labels(self.known, self.time, self.asked)

    def stream(self, of_labels: bool, where: Condition | None, own: bool) -> Stream:
        """The events that aggregates of that kind rest on."""
        stream = self.labels if of_labels else self.with_own if own else self.all_rows
        return stream if where is None else stream.only(self._meet(where), self.time, self.asked)

    def _meet(self, where: Condition) -> NDArray[np.bool_]:
        """``[N]``: rows that meet a condition; a missing number meets none."""
        number = self.numbers[where.column]
        if where.limit is None:
            raise UserError(f"where: {where.text} learnt: no training row has told the limit; train, or write a number")
        compare = _COMPARE[where.operator]
        met: NDArray[np.bool_] = compare(number / self.scale, where.limit) & (number != MISSING)
        return met


_COMPARE = {
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
    "==": np.equal,
    "!=": np.not_equal,
}


class Past:
    """What each asked row sees of the events with the same key.

    Args:
        stream: of all keys.
        group: ``[N]``, number of each row's key from 0; -1 where it has none; None: all rows have one key.
        asked: ``[Q]`` rows, rising.

    Attributes:
        row: ``[M]`` rows of the events, key by key in the order of the stream.
        place: ``[P]`` positions in ``asked`` of the rows that have a key, in the same order.
        stop: ``[P]``: one past the position of the last event that each of them sees.
    """

    def __init__(self, stream: Stream, group: Integers | None, asked: Integers) -> None:
        self._stream = stream
        self._count = len(asked)
        self._span = len(stream.row) + 1
        self._one_key = group is None
        if group is None:
            self.row, self.place, self._event = stream.row, np.arange(len(asked)), np.arange(len(stream.row))
        else:
            order = sorted_by(group[stream.row])
            self.row = stream.row[order]
            own = group[asked]
            self.place = sorted_by(own)
            self._event = group[self.row] * self._span + order
            self._own = own[self.place] * self._span
        self._plain = stream.row is asked
        self.stop = np.arange(len(self.place)) + stream.own if self._plain else self._position(stream.stop)

    def first(self, window: int | None) -> Integers:
        """``[P]``: position of the first event in the window, ``stop`` where there is none."""
        return np.minimum(self._position(self._stream.start(window)), self.stop)

    def since(self, moment: Integers) -> Integers:
        """``[P]``: position of the first event not before ``moment``, ``[Q]``; ``stop`` where there is none."""
        return np.minimum(self._position(self._stream.before(moment)), self.stop)

    def at_stop(self, total: Integers) -> Integers:
        """``[P]`` of ``total`` ``[M + 1]``, at ``stop``."""
        if not self._plain:
            return total[self.stop]
        return total[1:] if self._stream.own else total[:-1]

    def by_row(self, value: Floats) -> Floats:
        """``[Q]`` of ``value`` ``[P]``; NaN for rows without a key."""
        made = np.full(self._count, np.nan) if len(self.place) < self._count else np.empty(self._count)
        made[self.place] = value
        return made

    @cached_property
    def fresh(self) -> NDArray[np.bool_]:
        """``[M]``: whether a key begins at the event."""
        group = self._event // self._span
        return np.diff(group, prepend=-1) != 0

    @cached_property
    def most(self) -> int:
        """Events of the key that has most."""
        if not len(self.row) or self._event[-1] < self._span:  # one key
            return len(self.row)
        return int(np.diff(np.flatnonzero(self.fresh), append=len(self.row)).max())

    def _position(self, bound: Integers) -> Integers:
        return bound if self._one_key else self._event.searchsorted(self._own + bound[self.place])


def sorted_by(group: Integers) -> Integers:
    """Positions by group, then position; without those of group -1. Radix sort: NumPy has it for 16 bits."""
    low = (group & 0xFFFF).astype(np.uint16)
    order = np.argsort(low, kind="stable")
    if len(group) and int(group.max()) >= 0xFFFF:
        order = order[np.argsort((group[order] >> 16).astype(np.int16), kind="stable")]
        return order[np.searchsorted(group[order], 0) :]
    missing = int((group == -1).sum())
    return order[: len(order) - missing] if missing else order
