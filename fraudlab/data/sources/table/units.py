"""The unit of a time's column of numbers, given or found."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace

import polars as pl

from fraudlab.config.data import SECONDS
from fraudlab.data.sources.table.names import quoted, to_type
from fraudlab.data.sources.table.time_format import DIGITS, EPOCHS, TimeFormat
from fraudlab.errors import UserError

_EPOCH_FROM, _EPOCH_TO = 631_152_000, 4_102_444_800  # 1990 to 2100
_EXCEL_FROM, _EXCEL_TO = 30_000, 60_000  # 1982 to 2064
RANGES = {
    **{unit: (_EPOCH_FROM * each, _EPOCH_TO * each) for unit, each in EPOCHS.items()},
    "yyyymmdd": (19_000_101, 99_991_231),
    "yyyymmddhhmm": (190_001_010_000, 999_912_312_359),
    "yyyymmddhhmmss": (19_000_101_000_000, 99_991_231_235_959),
    "excel": (_EXCEL_FROM, _EXCEL_TO),
}
_OTHER_DIGITS = {"%Y%m%d%H": 10, "%Y%m": 6, "%y%m%d": 6, "%d%m%y": 6, "%Y%j": 7, "%d%m%Y": 8, "%m%d%Y": 8}
"""Dates as whole numbers that no unit reads, and how many digits they have."""
_FEWEST = 3  # different numbers, of which all are dates, that make it likely
_DECADES = 30 * 365.25 * 86_400
_BULK = 0.5  # share of numbers whose unit is that of all


class Unclear(UserError):
    """The numbers count from an unknown day, in a unit that they do not show."""


def settle(frame: pl.LazyFrame, name: str, given: TimeFormat, key: str) -> tuple[TimeFormat, list[str]]:
    """The unit of column ``name``, and notes on it; as :func:`.times.settle`.

    Raises:
        Unclear: the unit may be one of several that count from an unknown day.
        UserError: the numbers are no times, or some of them have another unit than most.
    """
    value = pl.col(name)
    whole = (value == value.cast(pl.Float64).floor()).all()
    fits = {unit: _fits(value, unit) for unit in RANGES}
    facts = frame.select(
        value.min().alias("least"), value.max().alias("most"), whole.alias("whole"), value.count().alias("rows"),
        *(fit.sum().alias(unit) for unit, fit in fits.items()),
    ).collect(engine="streaming").row(0, named=True)  # fmt: skip
    least, most = facts["least"], facts["most"]
    if least is None:
        return given, []  # the check of missing values refuses it
    if not (math.isfinite(least) and math.isfinite(most)):
        raise UserError(f"{key}={name} holds infinite values; correct these rows, or leave them out with data.where")
    rows = facts["rows"]
    meant = dict(_meanings(least, most, {unit for unit in RANGES if facts[unit] == rows}))
    if given.unit is not None:
        if given.unit in meant:
            return given, [f"{key}={name} in {given.unit}: {meant[given.unit]}"]
        if facts[given.unit] >= _BULK * rows:
            raise UserError(_odd(frame, name, {given.unit: facts[given.unit]}, rows, key))
        raise UserError(f"data.time_unit={given.unit} does not fit {key}={name}, {least} to {most}; {_would(meant)}")
    absolute = [unit for unit in meant if unit not in SECONDS and unit != "excel"]
    if facts["whole"] and absolute[:1] in ([], ["epoch_seconds"]):
        _refuse_digits(frame, name, key, meant)
    if absolute:
        unit = absolute[0]
        return replace(given, unit=unit), [f"{key}={name} is read as {unit}: {meant[unit]}; data.time_unit changes it"]
    known = {unit: facts[unit] for unit in (*DIGITS, *EPOCHS) if facts[unit]}
    if sum(known.values()) >= _BULK * rows:
        raise UserError(_odd(frame, name, known, rows, key))
    if most - least > _DECADES:
        raise UserError(
            f"{key}={name}: numbers from {least} to {most} span more than {_DECADES / 86_400 / 365.25:.0f} years in "
            f"seconds; {_would(meant)}"
        )
    if most >= 86_400:  # hours and days that long would be decades
        return replace(given, unit="seconds"), [
            f"{key}={name} is read as seconds: {meant['seconds']}; data.time_unit changes it"
        ]
    month, year = value.floor(), (value - value.floor()) * 10_000
    written = month.is_between(1, 12) & year.round().is_between(1900, 2099) & ((year - year.round()).abs() < 1e-6)
    if frame.select(written.all()).collect(engine="streaming").item():
        number = f"CAST(ROUND({quoted(name)} * 10000) AS INT) + 1000000"
        made = to_type("+data.derive.moment", f"STRPTIME('0' || CAST({number} AS VARCHAR), '%d%m%Y')")
        raise UserError(
            f"{key}={name}: numbers such as {least:07.4f} are a month without a day; derive its first day, {made} "
            f"{key}=moment"
        )
    raise Unclear(f"{key}={name}: the unit of numbers from {least} to {most} is not clear; {_would(meant)}")


def _fits(value: pl.Expr, unit: str) -> pl.Expr:
    low, high = RANGES[unit]
    inside = value.is_between(low, high)
    if unit not in DIGITS:
        return inside
    number = pl.when(inside & (value == value.cast(pl.Float64).floor())).then(value)
    return TimeFormat(unit=unit).values(number, pl.Int64()).is_not_null()


def _odd(frame: pl.LazyFrame, name: str, known: Mapping[str, int], rows: int, key: str) -> str:
    """Says which numbers have another unit than most."""
    unit = max(known, key=lambda each: known[each])
    value = pl.col(name)
    odd = frame.filter(value.is_not_null() & ~_fits(value, unit)).select(value).unique().sort(name).head(6)
    words = [f"{word}" for word in odd.collect(engine="streaming")[name].to_list()]
    shown = ", ".join(words[:5]) + (", …" if len(words) > 5 else "")
    column = quoted(name)
    where = f"{column} NOT IN ({', '.join(words)})" if len(words) <= 5 else f"{column} BETWEEN <first> AND <last>"
    return (
        f"{key}={name}: {known[unit]:,} of {rows:,} numbers are times in {unit}, but others are not: {shown}; correct "
        f"them, or leave these rows out, {to_type('data.where', where)}; if the numbers count from an unknown day, "
        "data.time_unit=seconds says so"
    )


def _refuse_digits(frame: pl.LazyFrame, name: str, key: str, meant: Mapping[str, str]) -> None:
    """Refuse whole numbers of which all are dates in a form that no unit reads."""
    text = pl.col(name).cast(pl.Int64, strict=False).cast(pl.String)
    parts: list[pl.Expr] = [pl.col(name).n_unique().alias("different")]
    for form, digits in _OTHER_DIGITS.items():
        parts.append(_of_digits(text, form, digits).all(ignore_nulls=False).alias(form))
    facts = frame.drop_nulls(name).select(parts).collect(engine="streaming").row(0, named=True)
    if facts.pop("different") < _FEWEST or not (forms := [form for form, fits in facts.items() if fits]):
        return
    digits, form = _OTHER_DIGITS[forms[0]], forms[0]
    column = quoted(name)
    padded = f"RIGHT('0' || CAST({column} AS VARCHAR), {digits})" if form[1] in "dm" else f"CAST({column} AS VARCHAR)"
    made = f"STRPTIME({padded} || '00', '{form}%M')" if form.endswith("%H") else f"STRPTIME({padded}, '{form}')"
    raise UserError(
        f"{key}={name}: all numbers are dates in the form {' or '.join(forms)}, but may also count time; if they are "
        f"dates, derive the time, {to_type('+data.derive.moment', made)} {key}=moment; else {_would(meant)}"
    )


def _of_digits(text: pl.Expr, form: str, digits: int) -> pl.Expr:
    whole = text.str.pad_start(digits, "0") if form[1] in "dm" else text
    read = (
        (whole + "00").str.to_datetime(f"{form}%M", time_unit="us", strict=False)
        if form.endswith("%H")
        else whole.str.to_date(form, strict=False)
    )
    return (whole.str.len_chars() == digits) & read.is_not_null() & read.dt.year().is_between(1990, 2099)


def _would(meant: Mapping[str, str]) -> str:
    return "say " + ", ".join(f"data.time_unit={unit} ({what})" for unit, what in meant.items())


def _meanings(least: float, most: float, fits: set[str]) -> Iterator[tuple[str, str]]:
    """The plausible units, each with its meaning; units with a known first day come first."""
    for unit in (*DIGITS, *EPOCHS, "excel"):
        if unit in fits:
            ends = pl.Series([least, most])
            read = ends.to_frame("t").select(TimeFormat(unit=unit).values(pl.col("t"), ends.dtype))["t"]
            yield unit, " to ".join(f"{day:%Y-%m-%d}" for day in read)
    for unit, seconds in SECONDS.items():
        span = (most - least) * seconds
        days = span / 86400
        yield unit, f"{days:,.1f} days in all" if days >= 1 else f"{span / 3600:,.1f} hours in all"
