"""The time column: its format, unit and zone, given or found, and notes on them."""

import zoneinfo
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from difflib import get_close_matches

import polars as pl

from fraudlab.data.sources.table import units
from fraudlab.data.sources.table.names import quoted, to_type
from fraudlab.data.sources.table.time_format import GMT, ISO, TimeFormat, written
from fraudlab.errors import UserError
from fraudlab.features.values import is_text

_DATES = (
    *("%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y", "%m.%d.%Y", "%d-%m-%Y", "%m-%d-%Y", "%m/%d/%y", "%d/%m/%y", "%d.%m.%y"),
    *("%y/%m/%d", "%y-%m-%d", "%y.%m.%d", "%d-%m-%y", "%m-%d-%y"),
    *("%d-%b-%Y", "%d-%b-%y", "%d %b %Y", "%d %B %Y", "%b %d %Y", "%b %d, %Y", "%B %d, %Y", "%d%b%Y", "%b-%d-%Y"),
    *("%d/%b/%Y", "%a %b %d %H:%M:%S %Y", "%a, %d %b %Y"),
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
    ", %H:%M:%S",
    ", %I:%M:%S %p",
    " %H:%M:%S,%3f",
    " %H:%M:%S,%6f",
    " %H.%M.%S",
    " %I.%M.%S %p",
    " %I.%M.%S%.f %p",
    " %H:%M:%S %z",
    ":%H:%M:%S %z",
    " %H:%M:%S GMT",
)
_ISO_CLOCKS = (" %I:%M:%S %p", " %I:%M %p", "T%I:%M:%S %p")
FORMATS = (
    *(day + clock for day in _DATES for clock in _CLOCKS),
    *(day + clock for day in ("%Y-%m-%d", "%Y/%m/%d") for clock in _ISO_CLOCKS),
)
_MONTHS = ("%Y-%m", "%Y/%m", "%m/%Y", "%m-%Y", "%m.%Y", "%b-%y", "%b-%Y", "%b %Y", "%B %Y", "%b %y")
_SAMPLE = 2_000
_LONG_SPAN = 5 * 365  # days


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
    _check(given)
    if is_text(dtype):
        if given.format is None and _is_epoch(frame, name):
            return units.settle(frame.with_columns(pl.col(name).cast(pl.Float64)), name, given, key)
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
    return units.settle(frame, name, given, key)


def _check(given: TimeFormat) -> None:
    """Refuse a format that is none, and a zone that is none."""
    if given.format is not None and given.format != ISO and "%" not in given.format:
        raise UserError(
            f"data.time_format={given.format} is no format: it is written as in strptime, e.g. '%d/%m/%Y %H:%M:%S'; "
            "null finds it"
        )
    if given.zone is not None and given.zone not in (zones := zoneinfo.available_timezones() | {"UTC"}):
        near = get_close_matches(given.zone, sorted(zones), 1)
        hint = f"did you mean {near[0]}?" if near else "such as UTC or Europe/Paris"
        raise UserError(f"data.time_zone={given.zone}: no such time zone; {hint}")


def _is_epoch(frame: pl.LazyFrame, name: str) -> bool:
    """Whether text holds numbers alone, and no days as 20240131."""
    values = _distinct(frame, name)
    number = values.cast(pl.Float64, strict=False)
    return len(values) > 0 and number.null_count() == 0 and _unread(values, TimeFormat(ISO)) is not None


def _zone(given: TimeFormat) -> str:
    return f"in {given.zone}, converted to UTC" if given.zone else "days and hours as they are written (no time zone)"


def _zone_said(frame: pl.LazyFrame, name: str, found: TimeFormat, key: str) -> str:
    if found.format != ISO:
        zoned = str(found.format).endswith(("%z", GMT))
        return f", {'converted to UTC' if zoned else _zone(found)}"
    text = pl.col(name).cast(pl.String)
    zone = text.str.contains(r":?\d\d(?:[.,]\d+)?\s*(?:[Zz]|UTC|GMT|[+-]\d\d(?::?\d\d)?)(?:\[.*\])?$")
    clock = text.str.contains(r"\d[ Tt]+\d")
    zoned, naive = (
        frame.select((zone & clock).sum().alias("zoned"), (~(zone & clock)).sum().alias("naive")).collect().row(0)
    )
    if zoned and naive and found.zone is None:
        raise UserError(
            f"{key}={name}: {naive} rows have no time zone and {zoned} have one; set the zone of those without, "
            "data.time_zone=UTC or e.g. data.time_zone=Europe/Paris"
        )
    return ", converted to UTC" if zoned else f", {_zone(found)}"


def why_unread(value: str, form: str | None, zone: str | None) -> str:
    """Why a text is no time, which others of its column are."""
    one = pl.Series([value])
    if zone is not None and (_unread(one, TimeFormat(form or ISO)) is None or next(fitting(one), None) is not None):
        return (
            f"{value!r} does not exist in {zone}, whose clocks were put forward then; correct it, or say in which zone "
            "the times were written, e.g. data.time_zone=UTC"
        )
    given = "" if form in (None, ISO) else f" (data.time_format='{form}')"
    return f"{value!r} is not a time written {written(form or ISO)}{given}; correct it, or leave the row out"


def _format(frame: pl.LazyFrame, name: str, key: str) -> str:
    """The one format that reads all values."""
    values = _distinct(frame, name)
    if _unread(values, TimeFormat(ISO)) is None and _unread_in(frame, name, TimeFormat(ISO)) is None:
        return ISO
    fits = dict(fitting(values))
    for fmt in list(fits):
        if _unread_in(frame, name, TimeFormat(fmt)) is not None:
            del fits[fmt]
    fits = _plausible(fits)
    if len({tuple(read) for read in fits.values()}) == 1:
        return next(iter(fits))
    if fits:
        lines = " or ".join(f"data.time_format='{fmt}' (the first is {read[0]:%Y-%m-%d})" for fmt, read in fits.items())
        raise UserError(f"{key}={name}: {values[0]!r} can be read in several ways; say {lines}")
    raise UserError(_no_format(frame, name, values, key))


def _plausible(fits: dict[str, list[datetime]]) -> dict[str, list[datetime]]:
    """The formats without those that take days for years: by them the times span years, by others far less."""
    spans = {form: (max(read) - min(read)).days for form, read in fits.items()}
    least = min(spans.values(), default=0)
    return {form: read for form, read in fits.items() if spans[form] <= max(_LONG_SPAN, 3 * least)}


def _no_format(frame: pl.LazyFrame, name: str, values: pl.Series, key: str) -> str:
    if (form := next((f for f in _MONTHS if _reads_months(values, f)), None)) is not None:
        made = to_type("+data.derive.moment", f"STRPTIME('1 ' || {quoted(name)}, '%d {form}')")
        return f"{key}={name}: {values[0]!r} is a month without a day; derive its first day, {made} {key}=moment"
    best, reads = nearest(values)
    wrong = _unread_in(frame, name, TimeFormat(best)) or values[0]
    others = values.filter(read(values, TimeFormat(ISO)).is_null())
    if 0 < len(others) < len(values):
        fits = [f for f in _plausible(dict(fitting(others))) if _unread_in(frame, name, TimeFormat(f)) is None]
        if fits:
            said = " or ".join(f"data.time_format='{form}'" for form in fits)
            return (
                f"{key}={name}: {len(values) - len(others)} of {len(values)} values have the year first, others not "
                f"({others[0]!r}); {said} reads both, if the days of those with the year first are right: Excel "
                "takes some days for months"
            )
    if not reads:
        return (
            f"{key}={name}: {wrong!r} is not a time in any known format; give its parts in order: %Y year, %m month, "
            "%d day, %H hour, %M minute, %S second, e.g. data.time_format='%d.%m.%Y %H:%M' for 31.01.2024 14:30"
        )
    form = written(ISO) if best == ISO else f"data.time_format='{best}' ({written(best)})"
    return (
        f"{key}={name}: {form} reads {reads} of {len(values)} values but not {wrong!r}; correct these, or leave "
        f"the rows out, e.g. data.where=\"{name} <> '{wrong}'\""
    )


def _reads_months(values: pl.Series, form: str) -> bool:
    return _are_likely(("1 " + values).str.to_date(f"%d {form}", strict=False))


def _are_likely(read: pl.Series) -> bool:
    """Whether all were read, in years of four digits; %Y also reads those of two, as of the first century, and five."""
    return read.null_count() == 0 and read.dt.year().is_between(1900, 9999).all()


def fitting(values: pl.Series) -> Iterator[tuple[str, list[datetime]]]:
    """The formats that read all values, each with what it reads; formats without a year first."""
    for fmt in FORMATS:
        read = values.str.to_datetime(fmt, time_unit="us", strict=False)
        if len(read) and _are_likely(read):
            yield fmt, read.dt.replace_time_zone(None).to_list()


def is_time(values: pl.Series) -> bool:
    """Whether all of some words are times."""
    if not len(values) or not values.str.contains(r"\d").all():
        return False
    return _unread(values, TimeFormat(ISO)) is None or next(fitting(values), None) is not None


def _distinct(frame: pl.LazyFrame, name: str) -> pl.Series:
    found = frame.select(pl.col(name).cast(pl.String)).drop_nulls().head(_SAMPLE).collect()[name]
    return found.unique(maintain_order=True)


def nearest(values: pl.Series) -> tuple[str, int]:
    """The format that reads most of some words, and how many; the year first is read in any format."""
    iso = read(values, TimeFormat(ISO)).is_not_null()
    best = ISO, int(iso.sum())
    for form in FORMATS if values.str.contains(r"\d").any() else ():
        reads = int((iso | values.str.to_datetime(form, time_unit="us", strict=False).is_not_null()).sum())
        best = max(best, (form, reads), key=lambda each: each[1])
    return best


def read(values: pl.Series, form: TimeFormat) -> pl.Series:
    """The times that words stand for; null for what is none."""
    return values.to_frame("text").select(form.values(pl.col("text"), pl.String)).to_series()


def _unread(values: pl.Series, form: TimeFormat) -> str | None:
    return next(iter(values.filter(read(values, form).is_null())), None)


def _unread_in(frame: pl.LazyFrame, name: str, form: TimeFormat) -> str | None:
    """A value of all rows that is not read."""
    value = pl.col(name).cast(pl.String)
    wrong = frame.select(value.filter(value.is_not_null() & form.values(value, pl.String).is_null()).first())
    read: str | None = wrong.collect().item()
    return read
