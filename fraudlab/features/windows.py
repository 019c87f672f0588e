"""Sliding windows of time over the rows of a group: of all rows of a table at once, or of one new row alone.

Both classes answer the same questions, so that a feature is written once for training and for serving. Positions
below count in (group, row) order; positions start and stop bound a window as ``start <= position < stop``.
"""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fraudlab.errors import UserError

Array = NDArray[Any]


class Windows(Protocol):
    """What a feature asks of the rows before each of ``Q`` rows; times and ages are microseconds."""

    stop: Array  # [Q], one past the row itself

    def since(self, age: int) -> Array:
        """``[Q]``: position of the first row of the same group later than ``age`` before the row."""
        ...

    def until(self, age: int) -> Array:
        """``[Q]``: one past the last row of the same group that stands before the row and is ``age`` old."""
        ...

    def cumulate(self, value: Array) -> Array:
        """``[N + 1]``: sum of ``value`` (in row order) over the positions before each one."""
        ...

    def median(self, value: Array, age: int) -> Array:
        """``[Q]``: median of the integers ``value`` over the rows of the same group since ``age``, the row included."""
        ...

    def present(self, value: Array) -> Array:
        """``[Q]``: ``value`` (in row order) of the rows themselves."""
        ...

    def in_row_order(self, value: Array) -> Array:
        """``[Q]`` by row, float64, of ``value`` by position."""
        ...


class TimedGroups:
    """:class:`Windows` of every row of a time-sorted table: ``Q = N``.

    Args:
        key: ``[N]`` integers, the group of each row.
        time: ``[N]`` microseconds, not falling.
    """

    def __init__(self, key: Array, time: Array) -> None:
        rows = len(key)
        # NumPy sorts keys of 16 bits by radix, several times faster.
        key = key.astype(np.int64) - int(key.min(initial=0))
        self._order = np.argsort(key.astype(np.min_scalar_type(int(key.max(initial=0)))), kind="stable")
        self._group = np.cumsum(np.diff(key[self._order], prepend=key[self._order[:1]]) != 0)
        time = time - time[:1]
        # Times on whole seconds are counted in seconds: groups times ticks must fit 64 bits.
        self._tick = 1_000_000 if not (time % 1_000_000).any() else 1
        self._time = (time // self._tick)[self._order]
        self._range = int(self._time.max(initial=0))
        # One number that sorts by group, then by time; far enough apart that no window reaches another group.
        span = 2 * self._range + 2
        if rows and (int(self._group[-1]) + 1) * span >= 2**63:
            raise UserError("too many customers or terminals for times in microseconds; round TX_DATETIME to seconds")
        self._place = self._group * span + self._time
        self.stop = np.arange(1, rows + 1)

    def since(self, age: int) -> Array:
        # A row is later by whole ticks, and nothing is older than the whole range.
        ticks = min(age // self._tick, self._range + 1)
        first: Array = np.searchsorted(self._place, self._place - ticks, side="right")
        return first

    def until(self, age: int) -> Array:
        return np.minimum(self.since(age), self.stop - 1)

    def cumulate(self, value: Array) -> Array:
        return np.concatenate([[0], np.cumsum(value[self._order])])

    def median(self, value: Array, age: int) -> Array:
        import polars as pl

        # Polars counts rows of one instant as peers, so rows get instants of their own: a tick is cut in ``scale``,
        # and the window ends half a tick early, so that no row exactly ``age`` old slips in.
        new = np.diff(self._place, prepend=-1) != 0
        position = np.arange(len(value))
        rank = position - np.maximum.accumulate(np.where(new, position, 0))
        scale = 2 * int(rank.max(initial=0)) + 2
        windows = (
            pl.DataFrame({"group": self._group, "instant": self._time * scale + rank, "value": value[self._order]})
            .rolling("instant", period=f"{age // self._tick * scale - scale // 2}i", group_by="group")
            .agg(pl.col("value").cast(pl.Float64).median())
        )
        return self.in_row_order(windows["value"].to_numpy())

    def present(self, value: Array) -> Array:
        return value

    def in_row_order(self, value: Array) -> Array:
        rows = np.empty(len(value))
        rows[self._order] = value
        return rows


class KnownLabels:
    """Windows over the moments at which labels became known, of every row of a time-sorted table: ``Q = N``.

    A row sees labels of rows of its group that stand before it and were known by then; positions count in (group,
    moment, row) order.

    Args:
        key: ``[N]`` integers, the group of each row.
        time: ``[N]`` microseconds, not falling.
        known: ``[N]`` microseconds, when each row's label became known; before the row's own time means with it.
    """

    def __init__(self, key: Array, time: Array, known: Array) -> None:
        _, group = np.unique(key, return_inverse=True)
        time, known = time - time[:1], np.maximum(known, time) - time[:1]
        span = 2 * int(known.max(initial=0)) + 2
        if len(key) and (int(group.max()) + 1) * span >= 2**63:
            raise UserError("too many customers or terminals for label times in microseconds; name fewer or round them")
        self._range = span // 2
        self._own, place = group * span + time, group * span + known
        self._order = np.argsort(place, kind="stable")
        self._place = place[self._order]
        # Labels known at the row's own instant, of the row itself and of those after it.
        by_time = np.argsort(self._own, kind="stable")
        at_once = np.concatenate([[0], np.cumsum((known == time)[by_time])])
        position = np.empty(len(key), np.int64)
        position[by_time] = np.arange(len(key))
        after = np.searchsorted(self._own[by_time], self._own, side="right")
        self._not_before = at_once[after] - at_once[position]

    def since(self, age: int) -> Array:
        """``[Q]``: position of the first label of the same group known later than ``age`` before the row."""
        first: Array = np.searchsorted(self._place, self._own - min(age, self._range), side="right")
        return first

    def until(self, age: int) -> Array:
        """``[Q]``: one past the last label of a row before this one that has been known for ``age``."""
        return self.since(age) - (self._not_before if age == 0 else 0)

    def cumulate(self, value: Array) -> Array:
        """``[N + 1]``: sum of ``value`` (in row order) over the positions before each one."""
        return np.concatenate([[0], np.cumsum(value[self._order])])

    def in_row_order(self, value: Array) -> Array:
        """``[Q]`` float64: what this class gives is in row order already."""
        return value.astype(np.float64)


class Newest:
    """:class:`Windows` of the last row of one group, in microseconds instead of a table's time: ``Q = 1``.

    Args:
        time: ``[N]`` microseconds, not falling; N > 0.
    """

    def __init__(self, time: Array) -> None:
        self._time = time
        self.stop = np.array([len(time)])

    def since(self, age: int) -> Array:
        first: Array = np.searchsorted(self._time, self._time[-1:] - age, side="right")
        return first

    def until(self, age: int) -> Array:
        return np.minimum(self.since(age), self.stop - 1)

    def cumulate(self, value: Array) -> Array:
        return np.concatenate([[0], np.cumsum(value)])

    def median(self, value: Array, age: int) -> Array:
        return np.median(value[int(self.since(age)[0]) :], keepdims=True)

    def present(self, value: Array) -> Array:
        return value[-1:]

    def in_row_order(self, value: Array) -> Array:
        return value.astype(np.float64)
