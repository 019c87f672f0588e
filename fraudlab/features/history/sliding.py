"""What windows hold: sums, extremes, order, different values and their shares, exactly and for many windows at once."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from fraudlab.features.history.streams import Floats, Integers, sorted_by

_AT_ONCE = 1 << 14  # windows
_SHORT = 256  # rows of a window that is sorted on its own


def cumulated(value: Integers) -> Integers:
    """``[M + 1]``: sum of ``value`` over the positions before each one."""
    total = np.zeros(len(value) + 1, np.int64)
    value.cumsum(out=total[1:])
    return total


def extremes(value: Integers, first: Integers, stop: Integers) -> Integers:
    """``[P]``: largest ``value`` at the positions from ``first`` to before ``stop``; the windows are not empty.

    The largest of every stretch of 1, 2, 4, … values is made in turn; two such stretches cover a window.
    """
    if len(first) == 1:
        return value[int(first[0]) : int(stop[0])].max(keepdims=True)
    power = np.frexp((stop - first).astype(np.float64))[1] - 1
    found = np.empty(len(first), np.int64)
    by_power = np.argsort(power.astype(np.int8), kind="stable")
    ends = np.searchsorted(power[by_power], np.arange(int(power.max(initial=-1)) + 2))
    most = value
    for level in range(len(ends) - 1):
        if level:
            half = 1 << (level - 1)
            most = np.maximum(most[:-half], most[half:])
        some = by_power[ends[level] : ends[level + 1]]
        found[some] = np.maximum(most[first[some]], most[stop[some] - (1 << level)])
    return found


def smallest(value: Integers, places: Integers, first: Integers, stop: Integers) -> Integers:
    """``[K, P]``: values at ``places`` (from 0) of the sorted ones at the positions from ``first`` to before ``stop``.

    Windows are not empty, and their bounds never fall. Some are taken at once, so that what is made of them stays in
    the processor's cache.
    """
    if len(first) == 1:
        return np.sort(value[int(first[0]) : int(stop[0])])[places]
    found = np.empty(places.shape, np.int64)
    longest = int((stop - first).max(initial=0))
    few = longest <= _SHORT
    size = _AT_ONCE // 4 if few else max(_AT_ONCE, longest)
    for begin in range(0, len(first), size):
        some, start = slice(begin, begin + size), first[begin]
        windows = value[start : stop[some][-1]], places[:, some], first[some] - start, stop[some] - start
        found[:, some] = _sorted(*windows) if few else _parted(*windows)
    return found


def _sorted(value: Integers, places: Integers, first: Integers, stop: Integers) -> Integers:
    """Each window on its own."""
    length, least = stop - first, int(value.min())
    longest, narrow = int(length.max()), int(value.max()) - least < 2**31 - 1
    number = (value - least).astype(np.int32) if narrow else value - least
    rows = sliding_window_view(np.concatenate([np.zeros(longest, number.dtype), number]), longest)[stop]
    rows[np.arange(longest) < (longest - length)[:, None]] = np.iinfo(number.dtype).max
    rows.sort(axis=1)
    return np.take_along_axis(rows, places.T, 1).T.astype(np.int64) + least


def _parted(value: Integers, places: Integers, first: Integers, stop: Integers) -> Integers:
    """By a wavelet matrix (Claude, Navarro, Ordóñez 2015).

    Level by level the values are parted by a bit of their rank, the highest first, and each window goes on where its
    place falls.
    """
    distinct, ranks = np.unique(value, return_inverse=True)
    rank, found, nth = ranks.astype(np.int32), np.zeros(places.shape, np.int32), places.astype(np.int32)
    left, right = (np.broadcast_to(bound.astype(np.int32), places.shape) for bound in (first, stop))
    ones = np.zeros(len(rank) + 1, np.int32)
    for bit in range((len(distinct) - 1).bit_length() - 1, -1, -1):
        high = (rank >> bit & 1).astype(np.bool_)
        np.cumsum(high, out=ones[1:])
        zeros = len(rank) - ones[-1]
        ones_left, ones_right = ones[left], ones[right]
        below = (right - left) - (ones_right - ones_left)
        up = nth >= below
        found = 2 * found + up
        nth -= below * up
        left = np.where(up, zeros + ones_left, left - ones_left)
        right = np.where(up, zeros + ones_right, right - ones_right)
        rank = np.concatenate([rank[~high], rank[high]])
    return distinct[found]


def different(value: Integers, fresh: NDArray[np.bool_], first: Integers, stop: Integers) -> Integers:
    """``[P]``: number of different values, without -1, at the positions from ``first`` to before ``stop``.

    A value counts where it stood last in the window: from the asked row that sees it first, until the window or the
    next such value of the key leaves it behind. That holds as bounds never fall from one asked row to the next.

    Args:
        value: ``[M]``, numbered from 0 in the whole table; -1: missing.
        fresh: ``[M]``, where keys begin.
        first: ``[P]``, not falling.
        stop: ``[P]``, not falling.
    """
    events = np.arange(len(value))
    enters = np.searchsorted(stop, events, side="right")
    leaves = np.searchsorted(first, events, side="right")
    group = np.cumsum(fresh, dtype=np.int64)
    order = sorted_by(value)
    order = order[sorted_by(group[order])]
    following = (np.diff(value[order]) == 0) & (np.diff(group[order]) == 0)
    later = np.full(len(value), len(first))
    later[order[:-1][following]] = enters[order[1:][following]]
    leaves = np.maximum(np.minimum(leaves, later), enters)
    kept = value >= 0
    change = np.bincount(enters[kept], minlength=len(first) + 1) - np.bincount(leaves[kept], minlength=len(first) + 1)
    return np.cumsum(change)[: len(first)]


def entropy(value: Integers, fresh: NDArray[np.bool_], first: Integers, stop: Integers) -> Floats:
    """``[P]``: entropy of the values in windows, in nats; arguments are those of :func:`different`. Of none it is NaN.

    With f(c) = c ln c it is (f(n) - sum of f of each value's count) / n. f is rounded to integers of 2^-32. So the sum
    is exact, over what each event adds when it enters and takes away when it leaves.
    """
    known = np.concatenate([[0], np.cumsum(value >= 0)])
    first, stop, fresh_known = known[first], known[stop], np.cumsum(fresh, dtype=np.int64)[value >= 0]
    value = value[value >= 0]
    events = np.arange(len(value))
    enters, leaves = (np.searchsorted(bound, events, side="right") for bound in (stop, first))
    leaves = np.maximum(leaves, enters)
    order = sorted_by(value)
    order = order[sorted_by(fresh_known[order])]
    begins = np.append(True, (np.diff(value[order]) != 0) | (np.diff(fresh_known[order]) != 0))[: len(order)]
    of_same = np.cumsum(begins) * (len(first) + 1)
    came, went = of_same + enters[order], of_same + leaves[order]
    # Of the same value, at the asked row where an event enters, those that left before; where it leaves, that came.
    left = np.searchsorted(went, came)
    there = np.searchsorted(came, went, side="right")
    adds, takes = np.empty((2, len(value)), np.int64)
    adds[order] = _surprise(events - left + 1) - _surprise(events - left)
    takes[order] = _surprise(there - events) - _surprise(there - events - 1)
    total = cumulated(adds)[stop] - cumulated(takes)[first]
    count = stop - first
    return (_surprise(count) - total) / (2.0**32 * count)


def _surprise(count: Integers) -> Integers:
    """``c ln c`` in units of 2^-32."""
    return np.rint(count * np.log(np.maximum(count, 1)) * 2.0**32).astype(np.int64)
