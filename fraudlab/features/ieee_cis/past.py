"""IEEE-CIS features of the rows seen: shares of values, means, deviations, numbers of different values by key.

All of them follow from running totals by key: rows, known values, their sums and squares, values not seen before. A
group's totals are added one row after the other, in order of time, from 0: so the totals before a row are, to the last
bit, those which :mod:`.record` looks up for the next row.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fraudlab.features.ieee_cis.recipe import (
    CLIENT,
    COUNTED,
    DAY,
    DETAIL,
    DIFFERENT,
    EMAILS,
    FRACTION,
    KEYS,
    MATCH_NUMBERS,
    MATCHES,
    MEANS,
    MOMENTS,
    MONTH,
)
from fraudlab.features.ieee_cis.row import EXPRESSIONS

Array = NDArray[np.float64]

_FEW = 64  # rows; larger groups are added up one by one, smaller ones all at once


class Groups:
    """Rows put together by a key; "places" count rows in order of key, then of time.

    Args:
        key: int64 ``[rows]``.
    """

    def __init__(self, key: NDArray[np.int64]) -> None:
        self.order = np.argsort(key, kind="stable")
        ordered = key[self.order]
        self.starts = np.flatnonzero(np.diff(ordered, prepend=ordered[:1] - 1))
        self.sizes = np.diff(self.starts, append=len(key))
        self.keys = ordered[self.starts]

    def before(self, value: Array) -> Array:
        """``[rows, n]``: sums of ``value``, ``[rows, n]`` by place, over each place's group up to the place before."""
        total = np.empty_like(value)
        total[self.starts] = 0.0
        for step in range(1, _FEW):
            here = self.starts[self.sizes > step] + step
            total[here] = total[here - 1] + value[here - 1]
        for start, size in zip(self.starts[self.sizes > _FEW], self.sizes[self.sizes > _FEW], strict=True):
            rest = slice(start + _FEW - 1, start + size - 1)
            first = value[rest].copy()
            first[0] += total[start + _FEW - 1]
            np.cumsum(first, axis=0, out=total[start + _FEW : start + size])
        return total

    def whole(self, total: Array, value: Array) -> Array:
        """``[groups, n]``: sums over whole groups, from ``total``, the sums before each place."""
        last = self.starts + self.sizes - 1
        summed: Array = total[last] + value[last]
        return summed

    def counts(self) -> Array:
        """``[rows]``: rows of the same group before each place."""
        counts = np.arange(len(self.order), dtype=np.float64)
        counts -= np.repeat(self.starts, self.sizes)
        return counts

    def spread(self, value: NDArray[Any]) -> NDArray[Any]:
        """A value of each group, ``[groups, …]``, for each of its places."""
        spread: NDArray[Any] = np.repeat(value, self.sizes, axis=0)
        return spread

    def by_row(self, value: Array) -> Array:
        """``value`` ``[rows]`` by place, by row."""
        rows = np.empty_like(value)
        rows[self.order] = value
        return rows


def parts(frame: pl.LazyFrame, *, whole: bool) -> Iterator[pl.DataFrame]:
    """The features of the rows seen, a few columns at a time.

    Args:
        frame: the table in order of time.
        whole: aggregates see all rows with the same key, not only earlier ones.
    """
    deviation: dict[str, pl.Series] = {}
    for key, groups in _groups(frame):
        rows = len(groups.order)
        counts = groups.counts()
        all_counts = groups.spread(groups.sizes.astype(np.float64)) if whole else counts
        by_row = groups.by_row(all_counts)
        columns = {f"{key}_share": by_row / (rows if whole else np.maximum(np.arange(rows), 1))}
        if key in COUNTED:
            columns[f"{key}_count"] = by_row
        yield pl.DataFrame(columns)
        for names, value in _columns(frame, key, groups):
            total = groups.before(value)
            if whole:
                total = groups.spread(groups.whole(total, value))
            part = pl.DataFrame(
                {
                    name: groups.by_row(each)
                    for name, each in zip(names, _features(names, total, all_counts), strict=True)
                }
            ).fill_nan(None)
            deviation |= {name: part[name] for name in names if name in _AMOUNT_BY_ACCOUNT}
            yield part
    mean, std = (deviation[name] for name in _AMOUNT_BY_ACCOUNT)
    amount = frame.select("TransactionAmt").collect().to_series()
    yield pl.DataFrame({"amount_unlike_account": (amount - mean) / (std + 1)})


_AMOUNT_BY_ACCOUNT = ("account_TransactionAmt_mean", "account_TransactionAmt_std")


def look_ups(frame: pl.LazyFrame) -> dict[str, NDArray[Any]]:
    """What the next row has to know of the rows of ``frame``: for each key, its features as of now.

    ``seen``: float64 ``[1]``, number of rows. ``emails``: the domains, in order, whose position stands in keys. For
    each key ``<key>.keys``, int64 ``[groups]``, rising, and ``<key>.values``, float64 ``[groups, 1 + features]``:
    number of rows, then what ``names_by(key)`` names, NaN where there are too few values.
    """
    found: dict[str, NDArray[Any]] = {EMAILS: _emails(frame)}
    for key, groups in _groups(frame):
        counts = groups.sizes.astype(np.float64)
        values = [counts]
        for names, value in _columns(frame, key, groups):
            values += _features(names, groups.whole(groups.before(value), value), counts)
        found |= {f"{key}.keys": groups.keys, f"{key}.values": np.column_stack(values)}
        found["seen"] = np.array([counts.sum()])
    return found


def _emails(frame: pl.LazyFrame) -> NDArray[Any]:
    domains = frame.select(pl.col("P_emaildomain").drop_nulls().unique().sort()).collect().to_series()
    return np.array(domains.to_list(), dtype="U")


def _groups(frame: pl.LazyFrame) -> Iterator[tuple[str, Groups]]:
    """The groups of each of :data:`KEYS`; :func:`fraudlab.features.ieee_cis.record.keys` makes the same numbers."""
    columns = frame.select("TransactionDT", "D1", "P_emaildomain", "addr1", "card1", "card2", "card3").collect()
    number = {name: columns[name].cast(pl.Float64).fill_null(-1.0) for name in ("addr1", "card1", "card2", "card3")}
    email = columns["P_emaildomain"].rank("dense").cast(pl.Int64).fill_null(0)
    client = columns["card1"].cast(pl.Int64) * CLIENT + columns["addr1"].cast(pl.Int64).fill_null(0)
    day = (columns["TransactionDT"] // DAY - columns["D1"]).floor() + DETAIL // 2
    day = day.clip(1, DETAIL - 1).cast(pl.Int64).fill_null(0)
    for key in KEYS:
        if key in number:
            made = (number[key] * FRACTION).cast(pl.Int64)
        elif key == "P_emaildomain":
            made = email
        elif key == "card1_addr1":
            made = client
        else:
            made = client * DETAIL + (
                email if key == "card1_addr1_email" else day.clip(1, DETAIL - 1).cast(pl.Int64).fill_null(0)
            )
        yield key, Groups(made.to_numpy())


def _columns(frame: pl.LazyFrame, key: str, groups: Groups) -> Iterator[tuple[list[str], Array]]:
    """What is added up by ``key``, as ``[rows, n]`` by place, with the names of the features it gives."""
    for column in MOMENTS.get(key, ()):
        value, known = _known(frame, column, groups)
        yield [f"{key}_{column}_mean", f"{key}_{column}_std"], np.column_stack([known, value, value * value])
    for column in MEANS.get(key, ()):
        value, known = _known(frame, column, groups)
        yield [f"{key}_{column}_mean"], np.column_stack([known, value])
    group = pl.Series(groups.spread(groups.keys))
    for column in DIFFERENT.get(key, ()):
        pairs = pl.DataFrame({"value": _column(frame, column)[groups.order], "group": group})
        new = pairs.select(pl.struct("group", "value").is_first_distinct() & pl.col("value").is_not_null())
        yield [f"{key}_{column}_different"], new.to_series().cast(pl.Float64).to_numpy()[:, None]


def _known(frame: pl.LazyFrame, name: str, groups: Groups) -> tuple[Array, Array]:
    """A column by place, 0 where it is missing, and 1 where it is not."""
    value = _column(frame, name).cast(pl.Float64)
    known = value.is_not_null().cast(pl.Float64).to_numpy()
    return value.fill_null(0.0).to_numpy()[groups.order], known[groups.order]


def _column(frame: pl.LazyFrame, name: str) -> pl.Series:
    if name == "month":
        return frame.select(pl.col("TransactionDT") // MONTH).collect().to_series()
    if name == "cents":
        return frame.select(EXPRESSIONS["cents"].alias(name)).collect().to_series()
    if name in MATCHES:
        return (
            frame.select(pl.col(name).replace_strict(MATCH_NUMBERS, default=None, return_dtype=pl.Float64))
            .collect()
            .to_series()
        )
    return frame.select(name).collect().to_series()


def _features(names: list[str], total: Array, counts: Array) -> list[Array]:
    """Features from totals ``[…, n]`` over ``counts`` rows; NaN where too few values are known."""
    if names[0].endswith("_different"):
        return [np.where(counts > 0, total[:, 0], np.nan)]
    known, sums = total[:, 0], total[:, 1]
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(known > 0, sums / known, np.nan)
        if len(names) == 1:
            return [mean]
        variance = np.maximum(total[:, 2] - sums * sums / known, 0.0) / (known - 1)
        return [mean, np.where(known > 1, np.sqrt(variance), np.nan)]
