"""How far a column's distribution has moved, and how far it moves when nothing has changed.

An index of a window of rows means nothing without their number: between two samples of one distribution it has the mean
``(cells - 1) * (1 / n + 1 / m)``. So each index is held against what windows of the reference itself gave.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

LEVEL = 0.05
"""Share of windows without any change that give an alarm."""
_NORMAL = NormalDist()
_SMALLEST = 1e-300  # a probability, so that it has a quantile
_WELL_KNOWN = 64  # windows of a size from which on their deviation is taken as it is
_KNOWN = 24  # and their mean
_FEWEST = 4  # windows of a size that is looked at at all
_CALIBRATED = 40  # windows of a size from which on their lowest p-values say something of the alarm's


def stability_index(before: Array, now: Array) -> NDArray[np.float64]:
    """Population stability index of counts by cell: 0 where the shares are alike, unbounded.

    Sum over cells of ``(share now - share before) * log(share now / share before)``; an empty cell counts as half a
    row, and one that is empty on both sides as none.

    Args:
        before: counts [..., K].
        now: counts [..., K]; both are broadcast. No rows on a side give 0.
    """
    there = (before > 0) | (now > 0)
    shares = []
    for counts in (before, now):
        rows = counts.sum(axis=-1, keepdims=True)
        shares.append(np.maximum(counts, 0.5) / np.where(rows > 0, rows, np.nan))
    found = (shares[1] - shares[0]) * np.log(shares[1] / shares[0])
    return np.nan_to_num(np.where(there, found, 0.0).sum(axis=-1))


def jensen_shannon(before: Array, now: Array) -> NDArray[np.float64]:
    """Jensen-Shannon distance of counts [..., K] by cell, in [0, 1]: the root of the divergence in bits."""
    shares = [counts / np.maximum(counts.sum(axis=-1, keepdims=True), 1e-300) for counts in (before, now)]
    middle = (shares[0] + shares[1]) / 2
    parts = [np.where(share > 0, share * np.log2(np.where(share > 0, share, 1) / np.where(middle > 0, middle, 1)), 0)
             for share in shares]  # fmt: skip
    return np.sqrt(np.maximum((parts[0] + parts[1]).sum(axis=-1) / 2, 0))


def number_counts(before: Array, now: Array, bins: int = 10) -> tuple[Array, Array]:
    """Counts of two samples of numbers without NaN between the deciles of ``before``."""
    edges = np.unique(np.quantile(before, np.linspace(0, 1, bins + 1)[1:-1]))
    first, second = (np.bincount(np.searchsorted(edges, each), minlength=len(edges) + 1) for each in (before, now))
    return first, second


def category_counts(before: Array, now: Array) -> tuple[Array, Array]:
    """Counts of two samples of category ids, integers from 0 on, by id."""
    ids = int(max(before.max(initial=0), now.max(initial=0))) + 1
    return np.bincount(before, minlength=ids), np.bincount(now, minlength=ids)


def adjusted(p_values: Array) -> NDArray[np.float64]:
    """P-values [..., D] adjusted for their number (Benjamini and Hochberg 1995); the least of them is Simes's."""
    order = np.argsort(p_values, axis=-1)
    count = p_values.shape[-1]
    ranked = np.take_along_axis(p_values, order, -1) * count / np.arange(1, count + 1)
    ranked = np.minimum.accumulate(ranked[..., ::-1], axis=-1)[..., ::-1]
    found = np.empty_like(ranked)
    np.put_along_axis(found, order, np.minimum(ranked, 1.0), -1)
    return found


def of_change(cells: Array, index: Array, rows: float, before: float) -> NDArray[np.float64]:
    """P-values of indices [D] between independent rows: by a chi-square of ``cells - 1`` [D] degrees of freedom."""
    degrees = np.maximum(np.asarray(cells, float) - 1, 1)
    deviation = np.sqrt(2 / (9 * degrees))
    return _above((np.cbrt(index / (1 / rows + 1 / before) / degrees) - (1 - deviation**2)) / deviation)


@dataclass(frozen=True)
class Null:
    """The indices of windows in which nothing has changed, of D columns.

    In units of ``1 / n + 1 / m`` an index of independent rows is chi-square distributed, and its cube root nearly
    normal (Wilson and Hilferty 1931). What rows that depend on each other and weeks that differ add is seen in windows
    of the reference, by their size. No column's null is taken to be narrower than a chi-square of one degree of
    freedom: what was never seen to vary may vary by a row.

    Attributes:
        rows: of the reference, m.
        sizes: rows of the windows [L], rising.
        windows: how many there were, [L]; the fewer, the less is an index's deviation from their mean worth.
        mean: of the index in those units, [D, L].
        deviation: of its cube root, as a share of that root's mean, [D, L].
        slope: what a row more adds to ``mean`` beyond the largest size, [D].
    """

    rows: float
    sizes: Array
    windows: Array
    mean: Array
    deviation: Array
    slope: Array

    @classmethod
    def fitted(cls, rows: float, roots: Mapping[int, Array]) -> "Null":
        """Of what :func:`roots_by_size` gave of a reference of ``rows`` rows."""
        sizes, counts = np.array(list(roots), float), np.array([len(root) for root in roots.values()], float)
        means = np.stack([(root**3).mean(axis=0) for root in roots.values()], axis=1)
        shares = np.stack([_share(root) for root in roots.values()], axis=1)
        return cls._smoothed(rows, sizes, counts, means, shares)

    @classmethod
    def _smoothed(cls, rows: float, sizes: Array, counts: Array, means: Array, shares: Array) -> "Null":
        """Where there are few windows of a size, deviations are pooled; where there are fewer, means follow a line."""
        last = max(int((counts >= _KNOWN).sum()) - 1, 0)
        slope = np.zeros(len(means))
        if len(sizes) > last + 1:
            away, weight = sizes[last + 1 :] - sizes[last], counts[last + 1 :]
            rises = means[:, last + 1 :] - means[:, last : last + 1]
            slope = np.maximum((weight * away * rises).sum(axis=1) / (weight * away**2).sum(), 0.0)
        few = slice(max(int((counts >= _WELL_KNOWN).sum()) - 1, 0), None)
        weight = np.minimum(counts[few], _WELL_KNOWN)
        shares = shares.copy()
        shares[:, few] = (shares[:, few] @ weight / weight.sum())[:, None]
        known = slice(last + 1)
        return cls(rows, sizes[known], counts[known], means[:, known], shares[:, known], slope)

    def p_values(self, index: Array, rows: float) -> NDArray[np.float64]:
        """How often chance alone gives indices [..., D] as large in windows of ``rows`` rows."""
        return self._tail(index / (1 / rows + 1 / self.rows), rows)

    def limits(self, p_value: float, rows: float) -> NDArray[np.float64]:
        """The indices [D] that have this p-value in a window of ``rows`` rows."""
        p = min(max(p_value, _SMALLEST), 1.0)
        mean, deviation = self._root(rows)
        own = np.maximum(mean + self._students(-_NORMAL.inv_cdf(p), rows) * deviation, 0.0) ** 3 if p < 1 else 0 * mean
        least = _NORMAL.inv_cdf(p / 2) ** 2
        return np.maximum(own, least) * (1 / rows + 1 / self.rows)

    def inflation(self, rows: float) -> NDArray[np.float64]:
        """Mean of the index in units of ``1 / n + 1 / m`` in windows of ``rows`` rows, [D]."""
        known = np.stack([np.interp(rows, self.sizes, mean) for mean in self.mean])
        return known + self.slope * max(rows - float(self.sizes[-1]), 0.0)

    def _root(self, rows: float) -> tuple[Array, Array]:
        share = np.stack([np.interp(rows, self.sizes, deviation) for deviation in self.deviation])
        mean = np.cbrt(self.inflation(rows) / (1 + 3 * share**2))
        return mean, share * mean

    def _tail(self, scaled: Array, rows: float) -> NDArray[np.float64]:
        mean, deviation = self._root(rows)
        known = deviation > 0
        own = _above(self._normal((np.cbrt(scaled) - mean) / np.where(known, deviation, 1.0), rows))
        least = _erfc(np.sqrt(scaled / 2))
        return np.where(known, np.maximum(own, least), least)

    def _normal(self, t: Array, rows: float) -> NDArray[np.float64]:
        """The normal quantiles of Student's ``t`` (Wallace 1959): mean and deviation are those of some windows."""
        count = float(np.interp(rows, self.sizes, self.windows))
        degrees = max(count - 1, 1)
        t = t / math.sqrt(1 + 1 / count)
        return np.sign(t) * np.sqrt(degrees * np.log1p(t**2 / degrees)) * (8 * degrees + 1) / (8 * degrees + 3)

    def _students(self, z: float, rows: float) -> float:
        """What :meth:`_normal` gives ``z`` of."""
        count = float(np.interp(rows, self.sizes, self.windows))
        degrees = max(count - 1, 1)
        square = (z * (8 * degrees + 3) / (8 * degrees + 1)) ** 2
        return math.copysign(math.sqrt(degrees * math.expm1(square / degrees) * (1 + 1 / count)), z)

    def to_dict(self) -> list[dict[str, Any]]:
        """Plain data by column, which :meth:`from_dict` reads back."""
        return [
            {"mean": _short(mean), "deviation": _short(deviation), "slope": float(slope)}
            for mean, deviation, slope in zip(self.mean, self.deviation, self.slope, strict=True)
        ]

    @classmethod
    def from_dict(
        cls, rows: float, sizes: Sequence[float], windows: Sequence[float], columns: Sequence[dict[str, Any]]
    ) -> "Null":
        """What :meth:`to_dict` gave."""
        mean, deviation = (np.array([each[name] for each in columns], float) for name in ("mean", "deviation"))
        return cls(
            rows,
            np.array(sizes, float),
            np.array(windows, float),
            mean,
            deviation,
            np.array([each["slope"] for each in columns], float),
        )


def needed(rows: float, roots: Mapping[int, Array], further: int) -> float:
    """The lowest adjusted p-value that a share :data:`LEVEL` of unchanged windows stays below.

    It is not ``LEVEL`` itself, since columns depend on each other and nulls are fitted. Each second window is judged by
    the null of the others. Where few windows are known, it is ``LEVEL``.

    Args:
        rows: of the reference.
        roots: what :func:`roots_by_size` gave of it.
        further: indices that are judged with the columns and of which no windows are known; they count as independent.
    """
    drawn = np.random.default_rng(0)
    halves = [{size: root[side::2] for size, root in roots.items()} for side in (0, 1)]
    nulls = [Null.fitted(rows, half) for half in halves]
    found, weights = [math.log(LEVEL)], [1]
    for size, root in roots.items():
        if len(root) < _CALIBRATED:
            continue
        lowest = []
        for null, half in zip(nulls[::-1], halves, strict=True):
            p = null.p_values(half[size] ** 3 * (1 / size + 1 / rows), size)
            p = np.hstack([p, drawn.random((len(p), further))])
            lowest.append(adjusted(p).min(axis=-1))
        found.append(math.log(max(float(np.quantile(np.concatenate(lowest), LEVEL)), _SMALLEST)))
        weights.append(len(root))
    return math.exp(float(np.average(found, weights=weights)))


def roots_by_size(windows: Array, size: int) -> dict[int, NDArray[np.float64]]:
    """Cube roots of indices, in their units, of windows against the whole that they are part of, by the windows' size.

    Args:
        windows: counts [W, D, K] of successive windows of ``size`` rows, of which larger ones are made.
        size: rows of each.

    Returns:
        ``[windows, D]`` by number of rows, rising.
    """
    factors = [1]
    while len(windows) // (2 * factors[-1]) >= _FEWEST:
        factors.append(2 * factors[-1])
    found = {size * factor: np.empty((len(windows) // factor, windows.shape[1])) for factor in factors}
    for column in range(windows.shape[1]):  # one by one: all at once would take gigabytes
        counts = windows[:, column].astype(np.int64)
        total = counts.sum(axis=0)
        for factor in factors:
            count, of = len(windows) // factor, size * factor
            joined = counts[: count * factor].reshape(count, factor, -1).sum(axis=1)
            found[of][:, column] = _root(total, joined, of)
    return found


def roots_of(total: Array, windows: Array, size: int) -> NDArray[np.float64]:
    """The same [W, D] of some windows [W, D, K] of ``size`` rows against ``total`` [D, K], which they are part of."""
    return np.stack([_root(total[i], windows[:, i], size) for i in range(windows.shape[1])], axis=1)


def _root(total: Array, windows: Array, size: int) -> NDArray[np.float64]:
    return np.cbrt(stability_index(total, windows) / (1 / size - 1 / total.sum()))


def _share(root: Array) -> NDArray[np.float64]:
    mean = root.mean(axis=0)
    return np.where(mean > 0, root.std(axis=0, ddof=1) / np.where(mean > 0, mean, 1), 0.0)


def _short(values: Array) -> list[float]:
    return [float(f"{value:.5g}") for value in values]


_erfc = np.vectorize(math.erfc, otypes=[float])


def _above(z: Array) -> NDArray[np.float64]:
    """The normal distribution's share above ``z``."""
    return _erfc(np.asarray(z) / math.sqrt(2)) / 2
