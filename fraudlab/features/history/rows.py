"""Rows of a table, and one row with its past, in the numbers that aggregates are made of."""

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from fraudlab.errors import UserError
from fraudlab.features.categories import word
from fraudlab.features.history.definition import Definition
from fraudlab.features.history.streams import Integers, Rows
from fraudlab.features.live import DAY, MISSING, SEPARATOR, Earlier, Event, WrongField
from fraudlab.features.numbers import as_number, as_numbers

if TYPE_CHECKING:  # a record is read without it
    import polars as pl

_MOST = 2**53  # beyond it a float does not hold every integer
_MOST_MICRO = 2**62  # windows and delays added to it stay within 64 bits
_START = datetime(1970, 1, 1)
_UNITS = {
    **{"seconds": 1e6, "minutes": 6e7, "hours": 3.6e9, "days": 8.64e10, "weeks": 6.048e11},
    **{"epoch_seconds": 1e6, "milliseconds": 1e3, "microseconds": 1.0},
}
"""Microseconds that a number of each ``data.time_unit`` counts; others are read of tables alone."""


@dataclass(frozen=True)
class TimeReading:
    """How the time of one record is read, as that of the table was.

    Attributes:
        zone: of times without one, where the table's times are in UTC.
        unit: microseconds that a number counts, of whole ones; None: numbers are no times here.
    """

    zone: str | None = None
    unit: float | None = 1e6

    @classmethod
    def of(cls, time: Mapping[str, Any]) -> "TimeReading":
        """As ``Reading.time`` of a table's schema says."""
        return cls(time.get("zone"), _UNITS.get(time.get("unit") or "seconds"))

    def moment(self, name: str, value: Any) -> int:
        """Microseconds of one value, as :func:`moments` has those of a column.

        Raises:
            WrongField: it is no time.
        """
        says = f"is {value!r}; give a date and time, 2018-07-25T14:30:00"
        says = says if self.unit is None else f"{says}, or a number"
        try:
            micro = self._micro(value)
        except (ValueError, TypeError, AttributeError, OverflowError):
            raise WrongField(name, says) from None
        if abs(micro) >= _MOST_MICRO:
            raise WrongField(name, f"is {value!r}, beyond any time")
        return micro

    def _micro(self, value: Any) -> int:
        number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if number and self.unit is not None:
            return round(value * self.unit)
        given = datetime.fromisoformat(value) if isinstance(value, str) else value
        if type(given) is date:
            given = datetime(given.year, given.month, given.day)
        if given.tzinfo is None and self.zone is not None:
            given = given.replace(tzinfo=ZoneInfo(self.zone))
        naive: datetime = given if given.tzinfo is None else given.astimezone(UTC).replace(tzinfo=None)
        return (naive - _START) // timedelta(microseconds=1)


def event(definition: Definition, record: Mapping[str, Any], id_: int | str | None, reading: TimeReading) -> Event:
    """A record as a store keeps it.

    Args:
        definition: of the features.
        record: a row's columns; the time is a ``datetime``, ISO 8601 text or a number.
        id_: of the row.
        reading: how times are read.

    Raises:
        WrongField: the time is missing or none, or a number is none.
    """
    return Event(
        id_,
        reading.moment(definition.time, record.get(definition.time)),
        tuple(_key(record, columns) for columns in definition.keys.values()),
        tuple(_unit(name, record.get(name), definition.decimals) for name in definition.numbers),
        tuple(word(record.get(name)) for name in definition.categories),
    )


def _key(record: Mapping[str, Any], columns: Sequence[str]) -> str | None:
    words = [word(record.get(name)) for name in columns]
    return None if None in words else SEPARATOR.join(map(str, words))


def _unit(name: str, value: Any, decimals: int) -> int:
    try:
        number = as_number(name, value)
    except UserError:
        raise WrongField(name, f"is {value!r}; give a number, or leave it out if missing") from None
    if not math.isfinite(number):
        return MISSING
    whole = float(np.rint(number * 10.0**decimals))
    if abs(whole) > _MOST:
        raise WrongField(name, _beyond(number, decimals))
    return int(whole)


def _beyond(number: float, decimals: int) -> str:
    most = _MOST / 10.0**decimals
    return f"is {number:g}, beyond the {most:.3g} of features.decimals={decimals}; lower features.decimals"


def one_row(definition: Definition, present: Event, earlier: Earlier, known: tuple[int, int]) -> Rows:
    """The present row behind the earlier rows of one of its keys.

    Args:
        definition: of the features.
        present: the row whose features are asked for.
        earlier: the rows before it; those that no window reaches may lack.
        known: number of rows of any key whose label was known when the day of ``present`` began, and of frauds.
    """
    count, frauds = known
    return Rows(
        _followed(earlier.time, present.time),
        np.array([len(earlier.time)]),
        dict(zip(definition.numbers, map(_followed, earlier.numbers, present.numbers), strict=True)),
        {
            name: _codes([*values, value])
            for name, values, value in zip(definition.categories, earlier.categories, present.categories, strict=True)
        },
        10.0**definition.decimals,
        _followed(earlier.known, present.time + definition.delay),
        _followed(earlier.fraud, 0),
        np.array([frauds / count if count else 0.0]),
        definition.prior,
    )


def _followed(values: Integers, last: int) -> Integers:
    """As ``numpy.append``, which takes some times as long."""
    made = np.empty(len(values) + 1, np.int64)
    made[:-1], made[-1] = values, last
    return made


def _codes(values: Sequence[Hashable]) -> Integers:
    known = {value: number for number, value in enumerate(dict.fromkeys(v for v in values if v is not None))}
    return np.array([-1 if value is None else known[value] for value in values], np.int64)


def moments(column: "pl.Series") -> Integers:
    """``[N]`` microseconds of a column of dates, times or numbers of seconds; a missing one is 0."""
    import polars as pl

    if column.dtype.is_temporal():
        return column.cast(pl.Datetime("us")).dt.epoch("us").fill_null(0).to_numpy()
    if column.dtype.is_integer():
        return column.cast(pl.Int64).fill_null(0).to_numpy() * 1_000_000
    return np.rint(np.nan_to_num(as_numbers(column)) * 1_000_000).astype(np.int64)


def table(definition: Definition, frame: "pl.DataFrame", label: str, label_time: str | None, shares: "Shares") -> Rows:
    """Rows of a table, in order of time, all of them asked for.

    Raises:
        UserError: numbers are too large for exact sums.
    """
    time = moments(frame[definition.time])
    known, fraud, share = time, np.zeros(0, np.int64), np.zeros(0)
    if definition.reads_labels:
        known, fraud = labels(definition, time, frame[label], frame[label_time] if label_time else None)
        share = shares.at(time)
    return Rows(
        time,
        np.arange(len(time)),
        {name: units(frame[name], definition.decimals) for name in definition.numbers},
        {name: _numbered(frame[name]) for name in definition.categories},
        10.0**definition.decimals,
        known,
        fraud,
        share,
        definition.prior,
    )


def labels(
    definition: Definition, time: Integers, label: "pl.Series", label_time: "pl.Series | None"
) -> tuple[Integers, Integers]:
    """``[N]`` each: microseconds at which a row's label is known, and the label; a missing one is genuine."""
    known = time + definition.delay
    if label_time is not None:
        known = np.where(label_time.is_null().to_numpy(), known, np.maximum(moments(label_time), time))
    return known, label.fill_null(0).to_numpy().astype(np.int64)


class Shares:
    """Share of frauds among all rows whose label was known when a day began.

    Args:
        labels: ``known`` and ``fraud`` of stretches of the table, as :func:`labels` gives them.
    """

    def __init__(self, labels: Iterable[tuple[Integers, Integers]]) -> None:
        import polars as pl

        def counted(frames: list[pl.DataFrame]) -> pl.DataFrame:
            empty = pl.DataFrame(schema={"day": pl.Int64, "count": pl.Int64, "frauds": pl.Int64})
            return pl.concat([empty, *frames]).group_by("day").agg(pl.col("count").sum(), pl.col("frauds").sum())

        days = [
            counted([pl.DataFrame({"day": known // DAY, "count": np.ones(len(known), np.int64), "frauds": fraud})])
            for known, fraud in labels
        ]
        by_day = counted(days).sort("day")
        self._day = by_day["day"].to_numpy()
        self._count, self._frauds = (np.append(0, np.cumsum(by_day[name].to_numpy())) for name in ("count", "frauds"))

    def at(self, time: Integers) -> NDArray[np.float64]:
        """``[N]`` of the days of some microseconds; 0 where no label was known."""
        before = np.searchsorted(self._day, time // DAY)
        count = self._count[before]
        return np.divide(self._frauds[before], count, out=np.zeros(len(time)), where=count > 0)


def units(column: "pl.Series", decimals: int) -> Integers:
    """``[N]``: the numbers in units of 10^-decimals; what is missing or infinite is ``MISSING``."""
    number = as_numbers(column)
    known = np.isfinite(number)
    scaled = np.rint(np.where(known, number, 0.0) * 10.0**decimals)
    if len(scaled) and np.abs(scaled).max() > _MOST:
        raise WrongField(f"column {column.name}", _beyond(float(number[np.abs(scaled).argmax()]), decimals))
    return np.where(known, scaled.astype(np.int64), MISSING)


def _numbered(column: "pl.Series") -> Integers:
    """``[N]``: a number from 0 for each value; -1: missing."""
    import polars as pl

    if column.dtype.is_float():
        column = column.fill_nan(None)
    if column.dtype == pl.Boolean:
        column = column.cast(pl.Int8)
    if column.dtype == pl.String:
        return column.cast(pl.Categorical).to_physical().cast(pl.Int64).fill_null(-1).to_numpy()
    if column.dtype.is_integer() and len(column) > column.null_count():
        least, most = int(column.min() or 0), int(column.max() or 0)  # type: ignore[arg-type]
        if most - least < 2**31:
            return (column.cast(pl.Int64) - least).fill_null(-1).to_numpy()
    return column.rank("dense").cast(pl.Int64).fill_null(0).to_numpy() - 1


def group(frame: "pl.DataFrame", columns: Sequence[str]) -> Integers:
    """``[N]``: a number from 0 for each value of a key; -1: one of its columns is missing."""
    made = _numbered(frame[columns[0]])
    for name in columns[1:]:
        value = _numbered(frame[name])
        both = made * (int(value.max(initial=0)) + 1) + value
        known = (made >= 0) & (value >= 0)
        values = np.unique(both[known])
        made = np.where(known, np.searchsorted(values, both), -1)
    return made


def kept(definition: Definition, rows: "pl.DataFrame") -> "dict[str, pl.Series | Integers]":
    """The columns of :meth:`.live.Live.events` that :func:`event` makes of each row."""
    made: dict[str, pl.Series | Integers] = {"time": moments(rows[definition.time])}
    for position, columns in enumerate(definition.keys.values()):
        text = [words(rows[name]) for name in columns]
        key = text[0]
        for other in text[1:]:
            key = key + SEPARATOR + other
        made[f"key_{position}"] = key
    made |= {f"number_{i}": units(rows[n], definition.decimals) for i, n in enumerate(definition.numbers)}
    return made | {f"category_{i}": words(rows[n]) for i, n in enumerate(definition.categories)}


def words(column: "pl.Series") -> "pl.Series":
    """The text form of each value."""
    import polars as pl

    values = column.unique().to_list()
    return column.replace_strict(values, [word(value) for value in values], return_dtype=pl.String).cast(pl.String)
