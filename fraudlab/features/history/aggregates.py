"""The aggregates: what each of them gives for every row that is asked, from the rows that it sees.

Numbers are integers (of 10^-decimals) until the last step, so a feature depends on the rows of its window alone, to the
last bit, and not on where a running sum began: one record with its past has the value that the whole table gives it.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fraudlab.errors import UserError
from fraudlab.features.history.definition import Aggregate, Condition
from fraudlab.features.history.streams import (
    Floats,
    Integers,
    Past,
    Rows,
    Stream,
    cumulated,
    different,
    extremes,
    smallest,
)
from fraudlab.features.live import DAY, MISSING

_LOW = 20  # bits: a number is high * 2^20 + low, so that sums of squares fit 64 bits


Plan = dict[tuple[bool, Condition | None, bool], dict[int | None, list[Aggregate]]]


def plan(aggregates: Iterable[Aggregate]) -> Plan:
    """The aggregates of one key by the stream that they rest on, and by window."""
    found: Plan = {}
    for a in aggregates:
        found.setdefault((a.of_labels, a.where, a.own), {}).setdefault(a.window, []).append(a)
    return found


def computed(rows: Rows, group: Integers, planned: Plan) -> Iterator[tuple[Integers, dict[str, Floats]]]:
    """Features of one key, some after the other, and positions in ``rows.asked`` of the rows that they are of."""
    for stream, windows in planned.items():
        by_key = ByKey(rows, group, rows.stream(*stream))
        for aggregates in windows.values():
            yield by_key.past.place, by_key.features(aggregates)


class ByKey:
    """The events of one stream by key, and what is cumulated over them once for all windows.

    Args:
        rows: the table, or the present row and its past.
        group: ``[N]``, number of each row's key from 0; -1 where it has none.
        stream: of :meth:`Rows.stream`.
    """

    def __init__(self, rows: Rows, group: Integers, stream: Stream) -> None:
        self.rows = rows
        self.past = Past(stream, group, rows.asked)
        self.asked = rows.asked[self.past.place]
        self._group = group
        self._stream = stream
        self._numbers: dict[tuple[str, bool], tuple[Integers, Integers | None]] = {}
        self._totals: dict[tuple[str, str, bool], tuple[Integers, ...]] = {}
        self._same: dict[tuple[str, int | None], Floats] = {}

    def features(self, aggregates: Iterable[Aggregate]) -> dict[str, Floats]:
        """``[P]`` of each of some aggregates over one window; NaN where they have no value."""
        found: dict[str, Floats] = {}
        window = None
        with np.errstate(divide="ignore", invalid="ignore"):
            for a in aggregates:
                window = window or Window(self, a.window)
                table = _OF_LABELS if a.of == "label" else _OF_ROWS
                value = table[a.what](window, a.of)
                found[a.name] = value if a.empty is None else np.where(np.isnan(value), a.empty, value)
        return found

    @cached_property
    def fraud(self) -> Integers:
        """``[M]`` by position."""
        return self.rows.fraud[self.past.row]

    def number(self, column: str, genuine: bool) -> tuple[Integers, Integers | None]:
        """``[M]`` each by position: numbers, 0 where they do not count, and whether they do; None: all do."""
        if (column, genuine) not in self._numbers:
            number = self.rows.numbers[column][self.past.row]
            known = number != MISSING
            if genuine:
                known &= self.fraud == 0
            counts = None if known.all() else known.astype(np.int64)
            self._numbers[column, genuine] = number if counts is None else np.where(known, number, 0), counts
        return self._numbers[column, genuine]

    def totals(self, column: str, what: str, genuine: bool = False) -> tuple[Integers, ...]:
        """``[M + 1]`` each: cumulated frauds, numbers, counts of them, or their squares in parts, the last one low."""
        if (column, what, genuine) not in self._totals:
            parts = tuple(map(cumulated, self._parts(column, what, genuine)))
            self._totals[column, what, genuine] = parts
        return self._totals[column, what, genuine]

    def _parts(self, column: str, what: str, genuine: bool) -> tuple[Integers, ...]:
        if what == "frauds":
            return (self.fraud,)
        number, counts = self.number(column, genuine)
        if what == "counts":
            return () if counts is None else (counts,)
        least, most = int(number.min(initial=0)), int(number.max(initial=0))
        most = max(most, -least)
        if what == "numbers":
            _check(column, most, self.past.most)
            return (number,)
        if least >= 0 and most < 1 << _LOW:
            return (number * number,)
        high, low = number >> _LOW, number & ((1 << _LOW) - 1)
        part = most / 2**_LOW
        _check(column, max(part * part, part * 2**_LOW, min(most, 2**_LOW) ** 2), self.past.most)
        return high * high, high * low, low * low

    def same(self, column: str, window: int | None) -> Floats:
        """``[P]``: number of rows in the window that have the asked row's value; NaN where that is missing."""
        if (column, window) not in self._same:
            value = self.rows.categories[column]
            own = self._group * (int(value.max(initial=0)) + 1) + value
            both = dense(np.where((value >= 0) & (self._group >= 0), own, -1))
            past = Past(self._stream, both, self.rows.asked)
            self._same[column, window] = past.by_row((past.stop - past.first(window)).astype(np.float64))
        return self._same[column, window][self.past.place]

    @cached_property
    def runs(self) -> tuple[Integers, Integers, Integers]:
        """``[M + 1]`` each: of the events before a position the last fraud, the start of its run; the next fraud."""
        position, fraud = np.arange(len(self.fraud)), self.fraud == 1
        before = np.concatenate([[False], fraud[:-1]])[: len(fraud)]
        begins = fraud & (~before | self.past.fresh)
        last = np.concatenate([[-1], np.maximum.accumulate(np.where(fraud, position, -1))])
        start = np.concatenate([[-1], np.maximum.accumulate(np.where(begins, position, -1))])
        ahead = np.minimum.accumulate(np.where(fraud, position, len(position))[::-1])[::-1]
        return last, start, np.concatenate([ahead, [len(position)]])


class Window:
    """The aggregates over one window, each ``[P]``; what several of them need is made once.

    Args:
        by_key: the events.
        length: of the window, in microseconds; None: all the past.
    """

    def __init__(self, by_key: ByKey, length: int | None) -> None:
        self._by_key = by_key
        self._rows = by_key.rows
        self._length = length
        self._first, self._stop = by_key.past.first(length), by_key.past.stop
        self._moments: dict[tuple[str, bool], tuple[Floats, Floats]] = {}
        self._medians: dict[str, Floats] = {}

    @cached_property
    def _count(self) -> Floats:
        return (self._stop - self._first).astype(np.float64)

    @cached_property
    def _some(self) -> NDArray[np.bool_]:
        """Whether there is an event."""
        return self._stop > self._first

    def _sums(self, column: str, what: str, genuine: bool = False) -> list[Floats]:
        totals = self._by_key.totals(column, what, genuine)
        return [(self._by_key.past.at_stop(total) - total[self._first]).astype(np.float64) for total in totals]

    def _known(self, column: str, genuine: bool) -> tuple[Floats, Floats]:
        """How many numbers are known, and their sum."""
        if (column, genuine) not in self._moments:
            counts = self._sums(column, "counts", genuine) or [self._count]
            self._moments[column, genuine] = counts[0], self._sums(column, "numbers", genuine)[0]
        return self._moments[column, genuine]

    def _number(self, value: Integers) -> Floats:
        made: Floats = value / self._rows.scale
        made[value == MISSING] = np.nan
        return made

    def count(self, column: str = "") -> Floats:
        return self._count

    def sum(self, column: str) -> Floats:
        return self._known(column, False)[1] / self._rows.scale

    def mean(self, column: str, genuine: bool = False) -> Floats:
        known, total = self._known(column, genuine)
        return total / (self._rows.scale * known)  # of nothing it is 0 / 0, NaN

    def std(self, column: str) -> Floats:
        known, total = self._known(column, False)
        *parts, squares = self._sums(column, "squares")
        if parts:
            squares = parts[0] * 2.0 ** (2 * _LOW) + parts[1] * 2.0 ** (_LOW + 1) + squares
        spread = np.sqrt(np.maximum(squares - total**2.0 / known, 0.0) / (known - 1)) / self._rows.scale
        spread[known <= 1] = np.nan
        return spread

    def largest(self, column: str, sign: int = 1) -> Floats:
        number, counts = self._by_key.number(column, False)
        number = sign * number if sign < 0 else number
        if counts is not None:
            number = np.where(counts > 0, number, MISSING)
        made = np.full(len(self._first), MISSING)
        made[self._some] = extremes(number, self._first[self._some], self._stop[self._some])
        return sign * self._number(made)

    def median(self, column: str) -> Floats:
        if column in self._medians:
            return self._medians[column]
        number, counts = self._by_key.number(column, False)
        first, stop = self._first, self._stop
        if counts is not None:
            known = cumulated(counts)
            number, first, stop = number[counts > 0], known[first], known[stop]
        made, some = np.full(len(first), np.nan), stop > first
        first, stop = first[some], stop[some]
        length = stop - first
        made[some] = smallest(number, np.stack([(length - 1) // 2, length // 2]), first, stop).sum(axis=0) / 2
        made /= self._rows.scale
        return self._medians.setdefault(column, made)

    def ratio(self, column: str, mean: Floats) -> Floats:
        """The present number over ``mean``; NaN where that is 0."""
        present = self._number(self._rows.numbers[column][self._by_key.asked])
        return np.where(mean != 0, present / mean, np.nan)

    def last(self, column: str) -> Floats:
        return np.where(self._some, self._number(self._rows.numbers[column][self._at(self._stop - 1)]), np.nan)

    def since(self, position: Integers, there: NDArray[np.bool_]) -> Floats:
        """Days since the row of the event at each position; NaN where it is not ``there``."""
        age = self._rows.time[self._by_key.asked] - self._rows.time[self._at(position)]
        return np.where(there, age / float(DAY), np.nan)

    def _at(self, position: Integers) -> Integers:
        """Rows of the events at positions; some row where there is no such event."""
        row = self._by_key.past.row
        return row[np.clip(position, 0, len(row) - 1)] if len(row) else np.zeros(len(position), np.int64)

    def since_last(self, of: str) -> Floats:
        return self.since(self._stop - 1, self._some)

    def since_first(self, of: str) -> Floats:
        return self.since(self._first, self._some)

    def nunique(self, column: str) -> Floats:
        past = self._by_key.past
        value = self._rows.categories[column][past.row]
        return different(value, past.fresh, self._first, self._stop).astype(np.float64)

    def share(self, column: str) -> Floats:
        return self._by_key.same(column, self._length) / self._count  # of nothing it is 0 / 0, NaN

    def is_new(self, column: str) -> Floats:
        same = self._by_key.same(column, self._length)
        return np.where(np.isnan(same), np.nan, same == 0)

    def rate(self, of: str) -> Floats:
        prior, share = self._rows.prior, self._rows.share[self._by_key.past.place]
        return (self.frauds(of) + prior * share) / (self._count + prior)

    def frauds(self, of: str) -> Floats:
        return self._sums("", "frauds")[0]

    @cached_property
    def _run(self) -> tuple[NDArray[np.bool_], Integers, Integers]:
        """Whether a fraud is known, and the positions where its run begins and of the last one."""
        last, start, _ = self._by_key.runs
        return last[self._stop] >= self._first, np.maximum(start[self._stop], self._first), last[self._stop]

    def since_last_fraud(self, of: str) -> Floats:
        there, _, last = self._run
        return self.since(last, there)

    def since_first_fraud(self, of: str) -> Floats:
        ahead = self._by_key.runs[2][self._first]
        return self.since(ahead, ahead < self._stop)

    def run_length(self, of: str) -> Floats:
        there, start, last = self._run
        return np.where(there, last - start + 1, np.nan)

    def run_age(self, of: str) -> Floats:
        there, start, _ = self._run
        return self.since(start, there)

    def run_ended(self, of: str) -> Floats:
        there, _, last = self._run
        return np.where(there, last < self._stop - 1, np.nan)


def dense(group: Integers) -> Integers:
    """The same groups, numbered from 0 in order; -1 stays."""
    if not len(group) or int(group.max()) < 2**31:
        return group
    known = np.unique(group[group >= 0])
    return np.where(group >= 0, np.searchsorted(known, group), -1)


def of_clock(what: str, time: Integers) -> Floats:
    """``[Q]``: the hour, 0 to 23; the weekday, 0 for Monday; 1 on Saturday and Sunday; 1 from midnight to before 7."""
    if what in ("hour", "night"):
        hour = time % DAY // (DAY // 24)
        return (hour if what == "hour" else hour <= 6).astype(np.float64)
    weekday = (time // DAY + 3) % 7
    return (weekday if what == "weekday" else weekday >= 5).astype(np.float64)


def _check(column: str, most: float, count: int) -> None:
    if most * count >= 2.0**63:
        raise UserError(
            f"column {column}: numbers as large as its largest are too large for exact sums over {count} rows; "
            "lower features.decimals, or give the column in a larger unit"
        )


_OF_ROWS: dict[str, Callable[[Window, str], Floats]] = {
    "count": Window.count,
    "sum": Window.sum,
    "mean": Window.mean,
    "std": Window.std,
    "min": lambda window, column: window.largest(column, -1),
    "max": Window.largest,
    "last": Window.last,
    "median": Window.median,
    "ratio_to_mean": lambda window, column: window.ratio(column, window.mean(column)),
    "ratio_to_median": lambda window, column: window.ratio(column, window.median(column)),
    "genuine_mean": lambda window, column: window.mean(column, True),
    "ratio_to_genuine_mean": lambda window, column: window.ratio(column, window.mean(column, True)),
    "since_last": Window.since_last,
    "since_first": Window.since_first,
    "nunique": Window.nunique,
    "is_new": Window.is_new,
    "share": Window.share,
}
_OF_LABELS: dict[str, Callable[[Window, str], Floats]] = {
    "rate": Window.rate,
    "count": Window.frauds,
    "known": Window.count,
    "since_first": Window.since_first_fraud,
    "since_last": Window.since_last_fraud,
    "run_length": Window.run_length,
    "run_age": Window.run_age,
    "run_ended": Window.run_ended,
}
