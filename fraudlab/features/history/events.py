"""The events of each key, and what is cumulated over them once for all windows.

Numbers are integers (of 10^-decimals) until the last step, so a feature depends on the rows of its window alone, to the
last bit, and not on where a running sum began: one record with its past has the value that the whole table gives it.
"""

from functools import cached_property

import numpy as np

from fraudlab.errors import UserError
from fraudlab.features.history.sliding import cumulated
from fraudlab.features.history.streams import Floats, Integers, Past, Rows, Stream
from fraudlab.features.live import MISSING

LOW = 20  # bits: a number is high * 2^20 + low, so that sums of squares fit 64 bits
BLOCK = 8  # half-lives


class ByKey:
    """The events of one stream by key, and what is cumulated over them once for all windows.

    Args:
        rows: the table, or the present row and its past.
        group: ``[N]``, number of each row's key from 0; -1 where it has none; None: all rows have one key.
        stream: of :meth:`Rows.stream`.
    """

    def __init__(self, rows: Rows, group: Integers | None, stream: Stream) -> None:
        self.rows = rows
        self.past = Past(stream, group, rows.asked)
        self.asked = rows.asked[self.past.place]
        self._group = group
        self._stream = stream
        self._numbers: dict[tuple[str, bool], tuple[Integers, Integers | None]] = {}
        self._extent: dict[tuple[str, bool], tuple[int, int]] = {}
        self._totals: dict[tuple[str, str, bool], tuple[Integers, ...]] = {}
        self._same: dict[tuple[str, int | None], Floats] = {}

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

    def _bounds(self, column: str, genuine: bool) -> tuple[int, int]:
        """The least number, 0 at most, and the largest size of one."""
        if (column, genuine) not in self._extent:
            number = self.number(column, genuine)[0]
            least = int(number.min(initial=0))
            self._extent[column, genuine] = least, max(int(number.max(initial=0)), -least)
        return self._extent[column, genuine]

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
        least, most = self._bounds(column, genuine)
        if what == "numbers":
            _check(column, most, self.past.most)
            return (number,)
        if least >= 0 and most < 1 << LOW:
            return (number * number,)
        high, low = number >> LOW, number & ((1 << LOW) - 1)
        part = most / 2**LOW
        _check(column, max(part * part, part * 2**LOW, min(most, 2**LOW) ** 2), self.past.most)
        return high * high, high * low, low * low

    def same(self, column: str, window: int | None) -> Floats:
        """``[P]``: number of rows in the window that have the asked row's value; NaN where that is missing."""
        if (column, window) not in self._same:
            value = self.rows.categories[column]
            if self._group is not None:
                own = self._group * (int(value.max(initial=0)) + 1) + value
                value = dense(np.where((value >= 0) & (self._group >= 0), own, -1))
            past = Past(self._stream, value, self.rows.asked)
            self._same[column, window] = past.by_row((past.stop - past.first(window)).astype(np.float64))
        return self._same[column, window][self.past.place]

    @cached_property
    def gaps(self) -> Integers:
        """``[M]`` by position: microseconds since the key's event before; of its first one 0."""
        return np.where(self.past.fresh, 0, np.diff(self.rows.time[self.past.row], prepend=0))

    @cached_property
    def gap_squares(self) -> tuple[Integers, ...]:
        """``[M + 1]`` each: cumulated squares of gaps in parts, as :meth:`totals` has them."""
        span = float(np.ptp(self.rows.time)) if len(self.rows.time) else 0.0
        if span >= 2**51 or self.past.most >= 2**23:
            raise UserError(
                "features.of.time: gap_std is not exact where times lie more than 71 years apart or a key has more "
                "than 8 million rows; ask for gap_mean, gap_min, gap_max alone, or leave such rows out"
            )
        high, low = self.gaps >> LOW, self.gaps & ((1 << LOW) - 1)
        return tuple(map(cumulated, (high * high, high * low, low * low)))

    def decayed(self, column: str, half_life: int) -> tuple[int, Integers]:
        """``[M + 1]``: cumulated numbers, or rows for ``count``, in units of 2^-bits, and these bits.

        Each weighs 2^(age / half-life) where age is that of its block of ``BLOCK`` half-lives, from the epoch on.
        """
        number = self.number(column, False)[0] if column != "count" else np.ones(len(self.past.row), np.int64)
        bits = 10 if column != "count" else 30
        _check(column, int(np.abs(number).max(initial=0)) * 2.0 ** (bits + BLOCK), self.past.most)
        time = self.rows.time[self.past.row]
        weight = np.exp2(time % (BLOCK * half_life) / half_life + bits)
        return bits, cumulated(np.rint(number * weight).astype(np.int64))

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


def dense(group: Integers) -> Integers:
    """The same groups, numbered from 0 in order; -1 stays."""
    if not len(group) or int(group.max()) < 2**31:
        return group
    known = np.unique(group[group >= 0])
    return np.where(group >= 0, np.searchsorted(known, group), -1)


def _check(column: str, most: float, count: int) -> None:
    if most * count >= 2.0**63:
        raise UserError(
            f"column {column}: numbers as large as its largest are too large for exact sums over {count} rows; "
            "lower features.decimals, or give the column in a larger unit"
        )
