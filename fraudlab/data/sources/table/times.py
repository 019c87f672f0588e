"""The time column: its format, unit and zone, given or found, and the expression that reads it."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import polars as pl

from fraudlab.errors import UserError
from fraudlab.features.values import is_text

ISO = "iso"
"""Year first, in any form of ISO 8601, also with slashes or dots; time of day and zone are optional."""

_ISO = re.compile(
    r"^(\d{4})(?:[-/.](\d{1,2})[-/.](\d{1,2})|(\d\d)(\d\d))"
    r"(?:[ T]+(\d{1,2}):?(\d\d)(?::?(\d\d)(?:[.,](\d{1,9}))?)?)?\s*(Z|UTC|GMT|[+-]\d\d(?::?\d\d)?)?$"
)
USUAL = {
    "%Y-%m-%d %H:%M:%S": r"^\d{4}-\d\d-\d\d \d\d:\d\d:[0-5]\d$",
    "%Y-%m-%dT%H:%M:%S": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:[0-5]\d$",
    "%Y-%m-%dT%H:%M:%SZ": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:[0-5]\dZ$",
    "%Y-%m-%d %H:%M:%S%.f": r"^\d{4}-\d\d-\d\d \d\d:\d\d:[0-5]\d\.\d{1,6}$",
    "%Y-%m-%dT%H:%M:%S%.f": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:[0-5]\d\.\d{1,6}$",
    "%Y-%m-%d": r"^\d{4}-\d\d-\d\d$",
}
"""ISO formats that one call reads, each with the shape of its values."""

_DATES = (
    *("%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y", "%m.%d.%Y", "%d-%m-%Y", "%m-%d-%Y", "%m/%d/%y", "%d/%m/%y", "%d.%m.%y"),
    *("%d-%b-%Y", "%d-%b-%y", "%d %b %Y", "%d %B %Y", "%b %d %Y", "%b %d, %Y", "%B %d, %Y", "%d%b%Y", "%b-%d-%Y"),
    *("%a %b %d %H:%M:%S %Y", "%a, %d %b %Y"),
)
_CLOCKS = (
    "",
    " %H:%M",
    " %H:%M:%S",
    " %H:%M:%S%.f",
    " %I:%M %p",
    " %I:%M:%S %p",
    ":%H:%M:%S",
    ", %H:%M",
    ", %I:%M:%S %p",
)
FORMATS = tuple(day + clock for day in _DATES for clock in _CLOCKS)

_SECONDS = {"seconds": 1, "minutes": 60, "hours": 3600, "days": 86400, "weeks": 604800}
_EPOCHS = {"epoch_seconds": 1, "milliseconds": 1_000, "microseconds": 1_000_000, "nanoseconds": 1_000_000_000}
_DIGITS = {"yyyymmdd": "%Y%m%d", "yyyymmddhhmm": "%Y%m%d%H%M", "yyyymmddhhmmss": "%Y%m%d%H%M%S"}
_EPOCH_FROM, _EPOCH_TO = 631_152_000, 4_102_444_800  # 1990 to 2100
_EXCEL_FROM, _EXCEL_TO = 30_000, 60_000  # 1982 to 2064
_SAMPLE = 2_000


@dataclass(frozen=True)
class TimeFormat:
    """How a column's values are read as times.

    ``format`` is :data:`ISO` or one of strptime, for text; ``unit`` one of ``config.data.TIME_UNITS``, for numbers;
    ``zone`` is the zone of text without one. A time becomes a date and time in UTC or, for a unit that counts from an
    unknown day, a number of seconds.
    """

    format: str | None = None
    unit: str | None = None
    zone: str | None = None

    def values(self, value: pl.Expr, dtype: Any) -> pl.Expr:
        """Datetime in microseconds, or a number of seconds; null for what cannot be read."""
        if is_text(dtype):
            return self._of_text(value.cast(pl.String))
        if isinstance(dtype, pl.Datetime):
            return self._in_utc(value, dtype.time_zone is not None).cast(pl.Datetime("us"))
        if dtype == pl.Date:
            return value.cast(pl.Datetime("us"))
        return self._of_number(value)

    def local(self, value: pl.Expr, dtype: Any) -> pl.Expr | None:
        """The moment by the clock of the zone, if one is known, else as it is written; None for a number of seconds."""
        if isinstance(dtype, pl.Datetime) and dtype.time_zone is not None and self.zone is None:
            return value
        if dtype.is_numeric() and (self.unit or "seconds") in _SECONDS:
            return None
        if not (is_text(dtype) or dtype.is_numeric() or dtype == pl.Date or isinstance(dtype, pl.Datetime)):
            return None
        moment = self.values(value, dtype)
        if self.zone is None or dtype == pl.Date or dtype.is_numeric():
            return moment
        return moment.dt.replace_time_zone("UTC").dt.convert_time_zone(self.zone).dt.replace_time_zone(None)

    def _of_text(self, value: pl.Expr) -> pl.Expr:
        # Year first is always accepted: records and other files may use it.
        iso = self._iso(value)
        if self.format in (None, ISO):
            return iso
        assert self.format is not None
        zoned = "%z" in self.format or "%#z" in self.format
        given = value.str.to_datetime(self.format, time_unit="us", strict=False, ambiguous="earliest",
                                      time_zone="UTC" if zoned else None)  # fmt: skip
        given = self._in_utc(given, zoned)
        return pl.coalesce(given, iso)

    def _iso(self, value: pl.Expr) -> pl.Expr:
        return value.map_batches(self._iso_values, return_dtype=pl.Datetime("us"), is_elementwise=True)

    def _iso_values(self, text: pl.Series) -> pl.Series:
        """The format of the first value in one call; other formats by a regular expression, 50 times as slow."""
        first = text.drop_nulls().head(1).to_list()
        form = next((form for form, shape in USUAL.items() if first and re.match(shape, first[0])), None)
        if form is None:
            return text.to_frame("text").select(self._iso_of_any(pl.col("text"))).to_series()
        read = text.str.to_datetime(form, time_unit="us", strict=False).to_frame("read")
        found = read.to_series() if form.endswith("Z") else read.select(self._in_utc(pl.col("read"), False)).to_series()
        other = ~text.str.contains(USUAL[form]).fill_null(True)
        if not other.any():
            return found
        rest = text.filter(other).to_frame("text").select(self._iso_of_any(pl.col("text"))).to_series()
        return found.scatter(other.arg_true(), rest)

    def _iso_of_any(self, value: pl.Expr) -> pl.Expr:
        part = value.str.extract_groups(_ISO.pattern).struct
        month, day = pl.coalesce(part["2"], part["4"]), pl.coalesce(part["3"], part["5"])
        micro = pl.coalesce(part["9"], pl.lit("")).str.pad_end(9, "0").str.slice(0, 6)
        number = [text.cast(pl.Int32, strict=False) for text in (part["1"], month, day)]
        clock = [part[key].cast(pl.Int32, strict=False).fill_null(0) for key in ("6", "7", "8")]
        valid = (
            number[1].is_between(1, 12)
            & number[2].is_between(1, 31)
            & (clock[0] < 24)
            & (clock[1] < 60)
            & (clock[2] < 60)
        )
        read = pl.when(valid).then(
            pl.concat_str(
                part["1"], month.str.pad_start(2, "0"), day.str.pad_start(2, "0"),
                *(unit.cast(pl.String).str.pad_start(2, "0") for unit in clock), micro,
            )
        ).str.to_datetime("%Y%m%d%H%M%S%6f", time_unit="us", strict=False)  # fmt: skip
        zone = part["10"]
        sign = pl.when(zone.str.starts_with("-")).then(-1).otherwise(1)
        offset = zone.str.replace_all(r"[+:-]", "")
        minutes = sign * (
            offset.str.slice(0, 2).cast(pl.Int32, strict=False).fill_null(0) * 60
            + offset.str.slice(2, 2).cast(pl.Int32, strict=False).fill_null(0)
        )
        return pl.when(zone.is_null()).then(self._in_utc(read, False)).otherwise(read - pl.duration(minutes=minutes))

    def _in_utc(self, value: pl.Expr, zoned: bool) -> pl.Expr:
        if not zoned:
            if self.zone is None:
                return value
            value = value.dt.replace_time_zone(self.zone, ambiguous="earliest", non_existent="null")
        return value.dt.convert_time_zone("UTC").dt.replace_time_zone(None)

    def _of_number(self, value: pl.Expr) -> pl.Expr:
        unit = self.unit or "seconds"
        if unit in _SECONDS:
            return value if _SECONDS[unit] == 1 else value * _SECONDS[unit]
        if unit in _EPOCHS:
            micro = value.cast(pl.Float64) * (1_000_000 / _EPOCHS[unit])
            exact = value * (1_000_000 // _EPOCHS[unit]) if _EPOCHS[unit] <= 1_000_000 else value // 1_000
            whole = exact.cast(pl.Int64, strict=False)
            return pl.coalesce(whole, micro.cast(pl.Int64, strict=False)).cast(pl.Datetime("us"))
        if unit == "excel":
            return ((value - 25_569) * 86_400_000_000).round().cast(pl.Int64, strict=False).cast(pl.Datetime("us"))
        text = value.cast(pl.Int64, strict=False).cast(pl.String)
        if unit == "yyyymmdd":
            return text.str.to_date("%Y%m%d", strict=False).cast(pl.Datetime("us"))
        return text.str.to_datetime(_DIGITS[unit], time_unit="us", strict=False)


def settle(frame: pl.LazyFrame, name: str, given: TimeFormat, key: str = "data.time") -> tuple[TimeFormat, list[str]]:
    """How column ``name`` is read as the time, and notes on it.

    Args:
        frame: the table.
        name: the column.
        given: the format that the settings give.
        key: the setting that names the column.

    Raises:
        UserError: no format or unit reads the column, or several do and give different times.
    """
    dtype = frame.collect_schema()[name]
    if is_text(dtype):
        found = given if given.format is not None else replace(given, format=_format(frame, name, key))
        said = "year first" if found.format == ISO else f"data.time_format='{found.format}'"
        return found, [f"{key}={name} is read as {said}{_zone_said(frame, name, found, key)}"]
    if isinstance(dtype, pl.Datetime):
        said = "converted to UTC" if dtype.time_zone else _zone(given)
        return given, [f"{key}={name} is a date and time, {said}"]
    if dtype == pl.Date:
        return given, []
    if not dtype.is_numeric():
        raise UserError(f"{key}={name}: type {dtype} is not a time; give a date, text or a number")
    return _unit(frame, name, given, key)


def _zone(given: TimeFormat) -> str:
    return f"in {given.zone}, converted to UTC" if given.zone else "days and hours as they are written (no time zone)"


def _zone_said(frame: pl.LazyFrame, name: str, found: TimeFormat, key: str) -> str:
    if found.format != ISO:
        return f", {'converted to UTC' if '%z' in str(found.format) else _zone(found)}"
    zone = pl.col(name).cast(pl.String).str.contains(r":?\d\d(?:[.,]\d+)?\s*(?:Z|UTC|GMT|[+-]\d\d(?::?\d\d)?)$")
    clock = pl.col(name).cast(pl.String).str.contains(r"\d[ T]+\d")
    zoned, naive = (
        frame.select((zone & clock).sum().alias("zoned"), (~(zone & clock)).sum().alias("naive")).collect().row(0)
    )
    if zoned and naive and found.zone is None:
        raise UserError(
            f"{key}={name}: {naive} rows have no time zone and {zoned} have one; set the zone of those without, "
            "data.time_zone=UTC or e.g. data.time_zone=Europe/Paris"
        )
    return ", converted to UTC" if zoned else f", {_zone(found)}"


def _format(frame: pl.LazyFrame, name: str, key: str) -> str:
    """The one format that reads all values."""
    values = _distinct(frame, name)
    if _unread(values, TimeFormat(ISO)) is None and _unread_in(frame, name, TimeFormat(ISO)) is None:
        return ISO
    fits = dict(fitting(values))
    for fmt in list(fits):
        if _unread_in(frame, name, TimeFormat(fmt)) is not None:
            del fits[fmt]
    if len({tuple(read) for read in fits.values()}) == 1:
        return next(iter(fits))
    if fits:
        lines = " or ".join(f"data.time_format='{fmt}' (the first is {read[0]:%Y-%m-%d})" for fmt, read in fits.items())
        raise UserError(f"{key}={name}: {values[0]!r} can be read in several ways; say {lines}")
    raise UserError(_no_format(frame, name, values, key))


def _no_format(frame: pl.LazyFrame, name: str, values: pl.Series, key: str) -> str:
    best: tuple[int, str] = (0, "")
    for fmt in (ISO, *FORMATS):
        read = len(values) - _read(values, TimeFormat(fmt)).null_count()
        best = max(best, (read, fmt))
    wrong = _unread_in(frame, name, TimeFormat(best[1] or ISO)) or values[0]
    if not best[0]:
        return (
            f"{key}={name}: {wrong!r} is not a time in any known format; give it, e.g. data.time_format='%d.%m.%Y "
            f"%H:%M', or derive a time: data.derive={{when: \"STRPTIME({name}, '%d.%m.%Y')\"}} {key}=when"
        )
    form = "year first" if best[1] == ISO else f"data.time_format='{best[1]}'"
    return (
        f"{key}={name}: {form} reads {best[0]} of {len(values)} values but not {wrong!r}; correct these, or leave "
        f"the rows out, e.g. data.where=\"{name} <> '{wrong}'\""
    )


def fitting(values: pl.Series) -> Iterator[tuple[str, list[datetime]]]:
    """The formats that read all values, each with what it reads; formats without a year first."""
    for fmt in FORMATS:
        read = values.str.to_datetime(fmt, time_unit="us", strict=False)
        # %Y also reads a year of two digits, as in the first century.
        if read.null_count() == 0 and len(read) and read.min().year >= 1900:  # type: ignore[union-attr]
            yield fmt, read.to_list()


def is_time(values: pl.Series) -> bool:
    """Whether all of some words are times."""
    if not len(values) or not values.str.contains(r"\d").all():
        return False
    return _unread(values, TimeFormat(ISO)) is None or next(fitting(values), None) is not None


def _distinct(frame: pl.LazyFrame, name: str) -> pl.Series:
    found = frame.select(pl.col(name).cast(pl.String)).drop_nulls().head(_SAMPLE).collect()[name]
    return found.unique(maintain_order=True)


def _unread(values: pl.Series, form: TimeFormat) -> str | None:
    return next(iter(values.filter(_read(values, form).is_null())), None)


def _read(values: pl.Series, form: TimeFormat) -> pl.Series:
    return values.to_frame("text").select(form.values(pl.col("text"), pl.String)).to_series()


def _unread_in(frame: pl.LazyFrame, name: str, form: TimeFormat) -> str | None:
    """A value of all rows that is not read."""
    value = pl.col(name).cast(pl.String)
    wrong = frame.select(value.filter(value.is_not_null() & form.values(value, pl.String).is_null()).first())
    read: str | None = wrong.collect().item()
    return read


def _unit(frame: pl.LazyFrame, name: str, given: TimeFormat, key: str) -> tuple[TimeFormat, list[str]]:
    value = pl.col(name)
    least, most, whole = (
        frame.select(
            value.min().alias("least"),
            value.max().alias("most"),
            (value == value.cast(pl.Float64).floor()).all().alias("whole"),
        )
        .collect()
        .row(0)
    )
    if least is None:
        return given, []  # the check of missing values refuses it
    if not (math.isfinite(least) and math.isfinite(most)):
        raise UserError(f"{key}={name} holds infinite values; correct these rows, or leave them out with data.where")
    meant = dict(_meanings(least, most, bool(whole)))
    if given.unit is not None:
        if given.unit in meant or given.unit in _SECONDS:
            return given, [f"{key}={name} in {given.unit}: {meant.get(given.unit, '')}".rstrip(": ")]
        raise UserError(f"data.time_unit={given.unit} does not fit {key}={name}, {least} to {most}; {_would(meant)}")
    absolute = [unit for unit in meant if unit not in _SECONDS and unit != "excel"]
    if absolute:
        unit = absolute[0]
        return replace(given, unit=unit), [f"{key}={name} is read as {unit}: {meant[unit]}; data.time_unit changes it"]
    if most >= 86_400:  # hours and days that long would be decades
        return replace(given, unit="seconds"), [
            f"{key}={name} is read as seconds: {meant['seconds']}; data.time_unit changes it"
        ]
    raise UserError(f"{key}={name}: the unit of numbers from {least} to {most} is not clear; {_would(meant)}")


def _would(meant: dict[str, str]) -> str:
    return "say " + ", ".join(f"data.time_unit={unit} ({what})" for unit, what in meant.items())


def _meanings(least: float, most: float, whole: bool) -> Iterator[tuple[str, str]]:
    """The plausible units, each with its meaning; units with a known first day come first."""
    for unit in (*_DIGITS, *_EPOCHS, "excel"):
        low = {"excel": _EXCEL_FROM, "yyyymmdd": 19_000_101, "yyyymmddhhmm": 190_001_010_000}.get(
            unit, 19_000_101_000_000
        )
        high = {"excel": _EXCEL_TO, "yyyymmdd": 99_991_231, "yyyymmddhhmm": 999_912_312_359}.get(
            unit, 99_991_231_235_959
        )
        if unit in _EPOCHS:
            low, high = _EPOCH_FROM * _EPOCHS[unit], _EPOCH_TO * _EPOCHS[unit]
        if low <= least <= most <= high and (whole or unit not in _DIGITS):
            ends = pl.Series([least, most])
            read = ends.to_frame("t").select(TimeFormat(unit=unit).values(pl.col("t"), ends.dtype))["t"]
            if read.null_count() == 0:
                yield unit, " to ".join(f"{day:%Y-%m-%d}" for day in read)
    for unit, seconds in _SECONDS.items():
        span = (most - least) * seconds
        days = span / 86400
        yield unit, f"{days:,.1f} days in all" if days >= 1 else f"{span / 3600:,.1f} hours in all"
