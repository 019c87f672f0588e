"""Rows put together by a key, and running totals within them."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_FEW = 64  # rows; larger groups are added up one by one, smaller ones all at once


class Groups:
    """Rows put together by a key, each of which has a "place".

    The places of small groups come first: of all their first rows, then of all their second ones, and so on, larger
    groups before smaller ones; so one addition of two stretches takes all of them a row further. Behind them the large
    groups follow one by one, each in order of time.

    Args:
        key: int64 ``[rows]``.
    """

    def __init__(self, key: NDArray[np.int64]) -> None:
        by_key = np.argsort(key, kind="stable")
        ordered = key[by_key]
        starts = np.flatnonzero(np.diff(ordered, prepend=ordered[:1] - 1))
        sizes = np.diff(starts, append=len(key))
        # Small groups by falling size, then the large ones.
        order = np.argsort(np.where(sizes > _FEW, 0, -sizes), kind="stable")
        self.keys, self.sizes = ordered[starts[order]], sizes[order]
        small = int(np.count_nonzero(sizes <= _FEW))
        # Of each step of the small groups: how many have that many rows; where its places begin.
        self._at_step = np.searchsorted(-self.sizes[:small], -np.arange(1, _FEW + 1), side="right")
        first = np.concatenate([[0], np.cumsum(self._at_step)])
        self._steps = [slice(first[step], first[step + 1]) for step in range(_FEW) if self._at_step[step]]
        ends = first[-1] + np.cumsum(self.sizes[small:])
        self._large = [slice(end - size, end) for size, end in zip(self.sizes[small:], ends, strict=True)]

        #: ``[rows]``: group of each place, and rows of that group before it.
        self.group = np.concatenate(
            [
                *(np.arange(count) for count in self._at_step),
                np.repeat(np.arange(small, len(sizes)), self.sizes[small:]),
            ]
        )
        self.count = np.concatenate(
            [np.repeat(np.arange(_FEW), self._at_step), *(np.arange(size) for size in self.sizes[small:])]
        )
        #: ``[rows]``: the row at each place.
        self.row = by_key[starts[order][self.group] + self.count]
        #: ``[groups]``: place of each group's last row.
        self.last = np.concatenate([first[self.sizes[:small] - 1] + np.arange(small), ends - 1])

    def before(self, value: Array) -> Array:
        """``[n, rows]``: sums of ``value``, ``[n, rows]`` by place, over each place's group up to the place before.

        They are added up one row after the other, from 0.
        """
        total = np.empty_like(value)
        if self._steps:
            total[:, self._steps[0]] = 0.0
        for here, then in zip(self._steps[1:], self._steps, strict=False):
            before = slice(then.start, then.start + here.stop - here.start)
            np.add(total[:, before], value[:, before], out=total[:, here])
        for group in self._large:
            total[:, group.start] = 0.0
            np.cumsum(value[:, group.start : group.stop - 1], axis=1, out=total[:, group.start + 1 : group.stop])
        return total

    def whole(self, total: Array, value: Array) -> Array:
        """``[n, groups]``: sums over whole groups, from ``total``, the sums before each place."""
        summed: Array = total[:, self.last] + value[:, self.last]
        return summed

    def by_row(self, value: Array) -> Array:
        """``value`` ``[rows]`` by place, by row."""
        rows = np.empty_like(value)
        rows[self.row] = value
        return rows
