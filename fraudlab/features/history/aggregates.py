"""The aggregates: what each of them gives for every row that is asked, from the rows that it sees."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fraudlab.config.aggregates import HALF_LIVES, LAST, QUANTILES
from fraudlab.features.history.definition import Aggregate, Condition, basis
from fraudlab.features.history.events import BLOCK, LOW, ByKey
from fraudlab.features.history.sliding import cumulated, different, entropy, extremes, smallest
from fraudlab.features.history.streams import Floats, Integers, Rows
from fraudlab.features.live import DAY, MISSING

QUIET: Mapping[str, Any] = {"divide": "ignore", "invalid": "ignore"}
"""For ``numpy.errstate``."""


@dataclass(frozen=True)
class Plan:
    """How the aggregates of one key are computed.

    Attributes:
        streams: what is no ratio, by the stream that it rests on, and by window.
        ratios: the rest.
        terms: what ratios are made of.
    """

    streams: Mapping[tuple[bool, Condition | None, bool], Mapping[int | None, Sequence[Aggregate]]]
    ratios: tuple[Aggregate, ...]
    terms: frozenset[Aggregate]


def plan(aggregates: Sequence[Aggregate]) -> Plan:
    """The plan of one key's aggregates."""
    found: dict[tuple[bool, Condition | None, bool], dict[int | None, list[Aggregate]]] = {}
    for a in basis(aggregates):
        found.setdefault((a.of_labels, a.where, a.own), {}).setdefault(a.window, []).append(a)
    ratios = tuple(a for a in aggregates if a.terms)
    return Plan(found, ratios, frozenset(basis(ratios)))


def computed(rows: Rows, group: Integers | None, planned: Plan) -> Iterator[tuple[Integers, dict[Aggregate, Floats]]]:
    """Features of one key and terms of ratios, some after the other, and positions of their rows in ``rows.asked``.

    Divisions by 0 are part of it: whoever runs it lets NumPy ignore them, once for all, with ``QUIET``.
    """
    terms: dict[Aggregate, Floats] = {}
    place = np.zeros(0, np.int64)
    for stream, windows in planned.streams.items():
        by_key = ByKey(rows, group, rows.stream(*stream))
        place = by_key.past.place  # of all streams the same
        for aggregates in windows.values():
            found = _features(by_key, aggregates)
            if planned.terms:
                terms.update((a, found[a]) for a in aggregates if a in planned.terms)
            yield place, found
    for a in planned.ratios:
        above, below = (terms[term] for term in a.terms)
        value = np.where(below != 0, above / below * a.factor, np.nan)
        yield place, {a: value if a.empty is None else np.where(np.isnan(value), a.empty, value)}


def _features(by_key: ByKey, aggregates: Sequence[Aggregate]) -> dict[Aggregate, Floats]:
    """``[P]`` of each of some aggregates over one window; NaN where they have no value."""
    found: dict[Aggregate, Floats] = {}
    window = Window(by_key, aggregates)
    for a in aggregates:
        table = _OF_LABELS if a.of == "label" else _OF_ROWS
        value = table[a.what](window, a.of) if not a.longitude else window.place(a.what, a.of, a.longitude)
        found[a] = value if a.empty is None else np.where(np.isnan(value), a.empty, value)
    return found


class Window:
    """The aggregates over one window, each ``[P]``; what several of them need is made once.

    Args:
        by_key: the events.
        aggregates: those that are asked for, all over this window.
    """

    def __init__(self, by_key: ByKey, aggregates: Sequence[Aggregate]) -> None:
        self._by_key = by_key
        self._rows = by_key.rows
        self._aggregates = aggregates
        self._length = aggregates[0].window
        self._first, self._stop = by_key.past.first(self._length), by_key.past.stop
        self._count = (self._stop - self._first).astype(np.float64)
        self._moments: dict[tuple[str, bool], tuple[Floats, Floats]] = {}
        self._quantiles: dict[str, dict[int, Floats]] = {}

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
        return _spread(known, total, self._sums(column, "squares")) / self._rows.scale

    def largest(self, column: str, sign: int = 1) -> Floats:
        number, counts = self._by_key.number(column, False)
        number = sign * number if sign < 0 else number
        if counts is not None:
            number = np.where(counts > 0, number, MISSING)
        return sign * self._number(self._extremes(number, self._first))

    def _extremes(self, value: Integers, first: Integers) -> Integers:
        """Largest of ``value`` at the positions from ``first`` on; ``MISSING`` where there is none."""
        made, some = np.full(len(first), MISSING), self._stop > first
        made[some] = extremes(value, first[some], self._stop[some])
        return made

    def decayed(self, column: str) -> Floats:
        """Sum, or number of rows for ``count``, in which what is a half-life older weighs half."""
        half_life, past = self._length or 1, self._by_key.past
        bits, total = self._by_key.decayed(column, half_life)
        now = self._rows.time[self._rows.asked]
        block = BLOCK * half_life
        begin, made = now - now % block, np.zeros(len(past.place))
        first = past.first(half_life * HALF_LIVES)
        for back in range(HALF_LIVES // BLOCK, -1, -1):  # blocks, the oldest first
            stop = past.since(begin - (back - 1) * block) if back else self._stop
            stop = np.maximum(first, stop)
            age = (now - begin + back * block)[past.place]
            made += (total[stop] - total[first]) * np.exp2(-age / half_life - bits)
            first = stop
        return made if column == "count" else made / self._rows.scale

    def quantile(self, column: str, percent: int = 50) -> Floats:
        """As ``numpy.quantile`` has it: between two numbers in proportion."""
        if column not in self._quantiles:
            asked = (_PERCENT.get(a.what) for a in self._aggregates if a.of == column)
            percents = list(dict.fromkeys(some for some in asked if some is not None))
            made = self._all_quantiles(column, np.array(percents)[:, None])
            self._quantiles[column] = dict(zip(percents, made, strict=True))
        return self._quantiles[column][percent]

    def _all_quantiles(self, column: str, percents: Integers) -> Floats:
        number, counts = self._by_key.number(column, False)
        first, stop = self._first, self._stop
        if counts is not None:
            known = cumulated(counts)
            number, first, stop = number[counts > 0], known[first], known[stop]
        made, some = np.full((len(percents), len(first)), np.nan), stop > first
        first, stop = first[some], stop[some]
        place, rest = np.divmod((stop - first - 1) * percents, 100)
        found = smallest(number, np.concatenate([place, place + (rest > 0)]), first, stop)
        low, high = found[: len(percents)], found[len(percents) :]
        made[:, some] = (low + (high - low) * rest / 100) / self._rows.scale
        return made

    def ratio(self, column: str, mean: Floats) -> Floats:
        """The present number over ``mean``; NaN where that is 0."""
        present = self._number(self._rows.numbers[column][self._by_key.asked])
        return np.where(mean != 0, present / mean, np.nan)

    def last(self, column: str, back: int) -> Floats:
        number = self._number(self._rows.numbers[column][self._at(self._stop - back)])
        return np.where(self._count >= back, number, np.nan)

    def place(self, what: str, latitude: str, longitude: str) -> Floats:
        """Kilometres to the last row's place over the great circle, or km/h: missing where no time has passed."""
        rows = (self._by_key.asked, self._at(self._stop - 1))
        (north, before), (east, east_before) = (
            [np.radians(self._number(self._rows.numbers[name][row])) for row in rows] for name in (latitude, longitude)
        )
        half = np.sin((north - before) / 2) ** 2
        half += np.cos(north) * np.cos(before) * np.sin((east - east_before) / 2) ** 2
        there = self._some & (np.abs(north) <= np.pi / 2) & (np.abs(before) <= np.pi / 2)
        distance = np.where(there, 2 * _EARTH * np.arcsin(np.sqrt(np.minimum(half, 1.0))), np.nan)
        if what == "distance":
            return distance
        hours = self.since_last(latitude) * 24
        return np.where(hours > 0, distance / hours, np.nan)

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

    def gap_mean(self, of: str) -> Floats:
        gaps = self._count - 1
        return np.where(gaps > 0, self._between / (gaps * DAY), np.nan)

    @cached_property
    def _between(self) -> Floats:
        """Microseconds from the first row to the last one; of none it says nothing."""
        time = self._rows.time
        return (time[self._at(self._stop - 1)] - time[self._at(self._first)]).astype(np.float64)

    def gap_std(self, of: str) -> Floats:
        first = np.minimum(self._first + 1, self._stop)
        squares = [(total[self._stop] - total[first]).astype(np.float64) for total in self._by_key.gap_squares]
        return _spread(self._count - 1, self._between, squares) / DAY

    def gap_extreme(self, of: str, sign: int = 1) -> Floats:
        most = self._extremes(sign * self._by_key.gaps, np.minimum(self._first + 1, self._stop))
        return np.where(self._count > 1, sign * most / DAY, np.nan)

    def entropy(self, column: str) -> Floats:
        past = self._by_key.past
        return entropy(self._rows.categories[column][past.row], past.fresh, self._first, self._stop)

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
    def _run(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_], Integers, Integers]:
        """Whether a fraud is known, and whether its run goes on; positions where that begins and of the last fraud."""
        last, start = (of_stop[self._stop] for of_stop in self._by_key.runs[:2])
        there = last >= self._first
        return there, there & (last == self._stop - 1), np.maximum(start, self._first), last

    def since_last_fraud(self, of: str) -> Floats:
        return self.since(self._run[3], self._run[0])

    def since_first_fraud(self, of: str) -> Floats:
        ahead = self._by_key.runs[2][self._first]
        return self.since(ahead, ahead < self._stop)

    def run_length(self, of: str, open_only: bool = False) -> Floats:
        there, goes_on, start, last = self._run
        return np.where(goes_on if open_only else there, last - start + 1, np.nan)

    def run_age(self, of: str, open_only: bool = False) -> Floats:
        there, goes_on, start, _ = self._run
        return self.since(start, goes_on if open_only else there)

    def run_ended(self, of: str) -> Floats:
        there, goes_on, *_ = self._run
        return np.where(there, ~goes_on, np.nan)


def _spread(count: Floats, total: Floats, squares: list[Floats]) -> Floats:
    """Standard deviation of ``count`` numbers by their sum and that of their squares in parts; NaN of less than two."""
    *parts, square = squares
    if parts:
        square = parts[0] * 2.0 ** (2 * LOW) + parts[1] * 2.0 ** (LOW + 1) + square
    spread = np.sqrt(np.maximum(square - total**2.0 / count, 0.0) / (count - 1))
    spread[count <= 1] = np.nan
    return spread


def of_clock(what: str, time: Integers) -> Floats:
    """``[Q]``: the hour, 0 to 23; the weekday, 0 for Monday; 1 on Saturday and Sunday; 1 from midnight to before 7."""
    if what in ("hour", "night"):
        hour = time % DAY // (DAY // 24)
        return (hour if what == "hour" else hour <= 6).astype(np.float64)
    weekday = (time // DAY + 3) % 7
    return (weekday if what == "weekday" else weekday >= 5).astype(np.float64)


_EARTH = 6371.0088  # km, the mean radius
_PERCENT = {**QUANTILES, "median": 50, "ratio_to_median": 50}
_OF_ROWS: dict[str, Callable[[Window, str], Floats]] = {
    "count": Window.count,
    "sum": Window.sum,
    "mean": Window.mean,
    "std": Window.std,
    "min": lambda window, column: window.largest(column, -1),
    "max": Window.largest,
    **{name: partial(Window.last, back=back) for name, back in LAST.items()},
    "median": Window.quantile,
    **{name: partial(Window.quantile, percent=percent) for name, percent in QUANTILES.items()},
    "decayed": Window.decayed,
    "ratio_to_mean": lambda window, column: window.ratio(column, window.mean(column)),
    "ratio_to_median": lambda window, column: window.ratio(column, window.quantile(column)),
    "genuine_mean": lambda window, column: window.mean(column, True),
    "ratio_to_genuine_mean": lambda window, column: window.ratio(column, window.mean(column, True)),
    "since_last": Window.since_last,
    "since_first": Window.since_first,
    "gap_mean": Window.gap_mean,
    "gap_std": Window.gap_std,
    "gap_min": lambda window, of: window.gap_extreme(of, -1),
    "gap_max": Window.gap_extreme,
    "nunique": Window.nunique,
    "entropy": Window.entropy,
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
    "open_run_length": partial(Window.run_length, open_only=True),
    "open_run_age": partial(Window.run_age, open_only=True),
}
