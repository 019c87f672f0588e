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

from fraudlab.features.ieee_cis.columns import (
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
from fraudlab.features.ieee_cis.groups import Array, Groups
from fraudlab.features.ieee_cis.row import EXPRESSIONS
from fraudlab.features.numbers import as_numbers
from fraudlab.features.threads import in_threads


def parts(frame: pl.LazyFrame, *, whole: bool) -> Iterator[pl.DataFrame]:
    """The features of the rows seen, a few columns at a time.

    Args:
        frame: the table in order of time.
        whole: aggregates see all rows with the same key, not only earlier ones.
    """
    columns = _columns(frame)
    deviation: dict[str, pl.Series] = {}
    keys = _keys(columns)
    for name, groups in zip(KEYS, in_threads(Groups, keys.values()), strict=True):
        counts = groups.sizes[groups.group] if whole else groups.count
        by_row = groups.by_row(counts.astype(np.float64))
        seen = len(by_row) if whole else np.maximum(np.arange(len(by_row)), 1)
        part = {f"{name}_share": by_row / seen}
        if name in COUNTED:
            part[f"{name}_count"] = by_row

        def features(total: _Totals, groups: Groups = groups, counts: NDArray[np.int64] = counts) -> list[Array]:
            value = total.of(groups)
            sums = groups.before(value)
            if whole:
                sums = groups.whole(sums, value)[:, groups.group]
            return [groups.by_row(feature) for feature in total.features(sums, counts)]

        totals = _totals(columns, name, keys[name])
        for total, made in zip(totals, in_threads(features, totals), strict=True):
            part |= dict(zip(total.names, made, strict=True))
        found = pl.DataFrame(part).fill_nan(None)
        deviation |= {name: found[name] for name in found.columns if name in _AMOUNT_BY_ACCOUNT}
        yield found
    mean, std = (deviation[name] for name in _AMOUNT_BY_ACCOUNT)
    yield pl.DataFrame({"amount_unlike_account": (columns["TransactionAmt"] - mean) / (std + 1)})


_AMOUNT_BY_ACCOUNT = ("account_TransactionAmt_mean", "account_TransactionAmt_std")


def lookups(frame: pl.LazyFrame) -> dict[str, NDArray[Any]]:
    """What the next row has to know of the rows of ``frame``: for each key, its features as of now.

    ``seen``: float64 ``[1]``, number of rows. ``emails``: the domains, in order, whose position stands in keys. For
    each key ``<key>.keys``, int64 ``[groups]``, rising, and ``<key>.values``, float64 ``[groups, 1 + features]``:
    number of rows, then what ``names_by(key)`` names, NaN where there are too few values.
    """
    columns = _columns(frame)
    found: dict[str, NDArray[Any]] = {
        EMAILS: np.array(_emails(columns).to_list(), dtype="U"),
        "seen": np.array([float(len(columns))]),
    }
    for name, key in _keys(columns).items():
        groups = Groups(key)

        def features(total: _Totals, groups: Groups = groups) -> list[Array]:
            value = total.of(groups)
            return total.features(groups.whole(groups.before(value), value), groups.sizes)

        values = [groups.sizes.astype(np.float64)]
        for made in in_threads(features, _totals(columns, name, key)):
            values += made
        rising = np.argsort(groups.keys)
        found |= {f"{name}.keys": groups.keys[rising], f"{name}.values": np.column_stack(values)[rising]}
    return found


def _columns(frame: pl.LazyFrame) -> pl.DataFrame:
    """All that is read of the table, at once."""
    made = {
        "month": pl.col("TransactionDT") // MONTH,
        "cents": EXPRESSIONS["cents"],
        **{name: pl.col(name).replace_strict(MATCH_NUMBERS, default=None, return_dtype=pl.Float32) for name in MATCHES},
    }
    names = ["TransactionDT", "D1", "P_emaildomain", "addr1", "card1", "card2", "card3"]
    for table in (MOMENTS, MEANS, DIFFERENT):
        names += [name for columns in table.values() for name in columns]
    return frame.select(made.get(name, pl.col(name)).alias(name) for name in dict.fromkeys(names)).collect()


def _emails(columns: pl.DataFrame) -> pl.Series:
    return columns["P_emaildomain"].drop_nulls().unique().sort()


def _keys(columns: pl.DataFrame) -> dict[str, NDArray[np.int64]]:
    """``[rows]`` of each of :data:`KEYS`; :func:`fraudlab.features.ieee_cis.record.keys` makes the same numbers."""
    number = {name: columns[name].cast(pl.Float64).fill_null(-1.0) for name in ("addr1", "card1", "card2", "card3")}
    emails = pl.Enum(_emails(columns))
    email = (columns["P_emaildomain"].cast(emails).to_physical().cast(pl.Int64) + 1).fill_null(0)
    client = columns["card1"].cast(pl.Int64) * CLIENT + columns["addr1"].cast(pl.Int64).fill_null(0)
    day = (columns["TransactionDT"] // DAY - columns["D1"]).floor() + DETAIL // 2
    made = {
        **{name: (value * FRACTION).cast(pl.Int64) for name, value in number.items()},
        "P_emaildomain": email,
        "card1_addr1": client,
        "card1_addr1_email": client * DETAIL + email,
        "account": client * DETAIL + day.clip(1, DETAIL - 1).cast(pl.Int64).fill_null(0),
    }
    return {key: made[key].to_numpy() for key in KEYS}


class _Totals:
    """Something that is added up within groups, and the features that follow from its sums.

    Args:
        names: of the features.
    """

    def __init__(self, *names: str) -> None:
        self.names = names

    def of(self, groups: Groups) -> Array:
        """``[n, rows]``: what is added up, by place."""
        raise NotImplementedError

    def features(self, sums: Array, counts: NDArray[np.int64]) -> list[Array]:
        """Features from sums ``[n, …]`` over ``counts`` rows; NaN where too few values are known."""
        raise NotImplementedError


class _Moments(_Totals):
    """Known values, their sum and, where a deviation is wanted, their squares' sum."""

    def __init__(self, column: pl.Series, *names: str) -> None:
        super().__init__(*names)
        self._column = column

    def of(self, groups: Groups) -> Array:
        value = np.empty((1 + len(self.names), len(groups.row)))
        np.take(as_numbers(self._column), groups.row, out=value[1])
        known = ~np.isnan(value[1])
        value[0] = known
        value[1].view(np.int64)[:] &= -known.astype(np.int64)  # 0 where missing, without a branch a value
        if len(value) > 2:
            np.multiply(value[1], value[1], out=value[2])
        return value

    def features(self, sums: Array, counts: NDArray[np.int64]) -> list[Array]:
        known, total = sums[0], sums[1]
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = np.where(known > 0, total / known, np.nan)
            if len(self.names) == 1:
                return [mean]
            variance = np.maximum(sums[2] - total * total / known, 0.0) / (known - 1)
            return [mean, np.where(known > 1, np.sqrt(variance), np.nan)]


class _Different(_Totals):
    """Values that the group had not before.

    Args:
        new: boolean, ``[rows]``.
        name: of the feature.
    """

    def __init__(self, new: pl.Series, name: str) -> None:
        super().__init__(name)
        self._new = new

    def of(self, groups: Groups) -> Array:
        return self._new.to_numpy()[groups.row].astype(np.float64)[None]

    def features(self, sums: Array, counts: NDArray[np.int64]) -> list[Array]:
        return [np.where(counts > 0, sums[0], np.nan)]


def _totals(columns: pl.DataFrame, key: str, number: NDArray[np.int64]) -> list[_Totals]:
    """What is added up by ``key``, whose values by row are ``number``; features in the order of ``names_by(key)``."""
    different = DIFFERENT.get(key, ())
    seen = columns.with_columns(pl.Series("key", number))
    new = seen.select(
        (pl.struct("key", name).is_first_distinct() & pl.col(name).is_not_null()).alias(name) for name in different
    )
    return [
        *(_Moments(columns[name], f"{key}_{name}_mean", f"{key}_{name}_std") for name in MOMENTS.get(key, ())),
        *(_Moments(columns[name], f"{key}_{name}_mean") for name in MEANS.get(key, ())),
        *(_Different(new[name], f"{key}_{name}_different") for name in different),
    ]
