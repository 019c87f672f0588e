"""Finds the column of the time of a transaction and how to read it."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product

import polars as pl

from fraudlab.config import TableConfig
from fraudlab.config.data import SECONDS
from fraudlab.config.overrides import literal_text
from fraudlab.data.description import roles
from fraudlab.data.description.time_columns import (
    EVENT,
    NAMES,
    NEVER,
    NUMBERS,
    OTHER,
    are_moments,
    distinct,
    holds_moments,
    is_temporal,
    rank,
)
from fraudlab.data.sources.table import derive, times, units
from fraudlab.data.sources.table.names import enclosed, is_after, words
from fraudlab.data.sources.table.time_format import ISO, TimeFormat
from fraudlab.errors import UserError
from fraudlab.features.values import is_text

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_CLOCK = {"time", "clock", "hour", "hours", "tod", "at", "uhrzeit", "hora", "heure"}  # of a time of day
_DAYS = ("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%Y%m%d")
_HOURS = ("%H:%M:%S", "%H:%M", "%H:%M:%S%.f", "%I:%M:%S %p", "%I:%M %p")
_LEAST_DAYS = 28  # least span of numbers in an unknown unit
_PAYSIM = {"nameOrig", "nameDest"}  # columns of PaySim, whose steps are hours
_A_DAY = {"seconds": 86_400, "minutes": 1_440, "hours": 24}
_GAPS = 0.01  # share of rows without a time, which are left out


@dataclass(frozen=True)
class Clock:
    """The time column, its format, the expressions that derive it; ``gaps``: rows without one; ``doubt``: a note."""

    column: str
    form: TimeFormat
    why: str
    derive: Mapping[str, str] = field(default_factory=dict)
    gaps: int = 0
    doubt: str = ""


def find(sample: pl.DataFrame, taken: Collection[str], given: TimeFormat) -> Clock | None:
    """The time of a transaction; None if no column holds it.

    Args:
        sample: rows in types, in the order of the files.
        taken: columns with another role.
        given: the format that the settings give.

    Raises:
        UserError: its values can be read in several ways (the message has the settings to choose from), or no column
            can be read in the given way.
    """
    left = [name for name in sample.columns if name not in taken]
    ranks = {name: likely for name in left if (likely := rank(sample[name], name, given)) > 0}
    for name in sorted(ranks, key=lambda name: -ranks[name]):
        if (gaps := sample[name].null_count()) > _GAPS * len(sample):
            continue
        form = of(sample.drop_nulls(name), name, given)
        joined = _with_time_of_day(sample, name, form, left)
        known = "; PaySim counts hours" if _is_paysim(sample.columns) and form.unit == "hours" else ""
        return joined or Clock(name, form, f"by its name and values{known}", gaps=gaps)
    if said := [f"data.{key}={value}" for key, value in setting(given).items() if key != "time_zone"]:
        raise UserError(
            f"{said[0]}: no column has the name and values of a time in this format; name it: data.time=<column>"
        )
    return next(_of_parts(sample, taken, given.zone), None) or next(_in_order(sample, left, given), None)


def _in_order(sample: pl.DataFrame, names: Collection[str], given: TimeFormat) -> Iterator[Clock]:
    """The moments in whose order the rows are, though their names may mean another; but none that belongs to a card."""
    owned_by = roles.owners(sample)
    for name in names:
        if not (OTHER & {*words(name)} and holds_moments(sample[name], name)):
            continue
        form = of(sample, name, given)
        owners = (sample.select(key, name).n_unique() == sample[key].n_unique() for key in owned_by if key != name)
        if sample.select(form.values(pl.col(name), sample.schema[name])).to_series().is_sorted() and not any(owners):
            doubt = (
                f"{name} is taken for the time, since the rows are in its order, but its name may mean another moment "
                "than the transaction's: if so, describe with data.time=<column>, or with "
                f"data.carried=[{literal_text(name)}] if there is none"
            )
            yield Clock(name, form, "the rows are in its order", doubt=doubt)


def _with_time_of_day(sample: pl.DataFrame, day: str, form: TimeFormat, names: Collection[str]) -> Clock | None:
    """The time derived from a column of days and one of times of day, if the table has both."""
    made = "when" if "when" not in sample.columns else "moment"
    days = sample[day]
    if not (is_text(days.dtype) or days.dtype == pl.Date) or days.cast(pl.String).str.contains(":").any():
        return None
    clocks = sorted(
        (name for name in names if name != day and _names_clock(name) and _is_time_of_day(sample[name])),
        key=lambda name: (not EVENT & {*words(name)} & {*words(day)}, not EVENT & {*words(name)}),
    )
    forms = _DAYS if form.format in (None, ISO) else (str(form.format),)
    for clock, written, hours in product(clocks, forms, _HOURS):
        both = " || ' ' || ".join(
            enclosed(name) if is_text(sample.schema[name]) else f"CAST({enclosed(name)} AS VARCHAR)"
            for name in (day, clock)
        )
        expression = f"STRPTIME({both}, '{written} {hours}')"
        try:
            read = sample.lazy().select(pl.sql_expr(expression).alias(made)).collect()[made]
        except pl.exceptions.PolarsError:  # not in this form
            continue
        gaps = read.null_count()
        if gaps <= _GAPS * len(read) and read.n_unique() > 1:
            return Clock(made, TimeFormat(zone=form.zone), f"from {day} and {clock}", {made: expression}, gaps)
    return None


def _names_clock(name: str) -> bool:
    """Whether a name means the time of day of the event; other words tell of another time, or of a duration."""
    parts = {*words(name)}
    return bool(_CLOCK & parts) and parts <= _CLOCK | NAMES | EVENT | {"of", "day"}


def _is_time_of_day(values: pl.Series) -> bool:
    return values.dtype == pl.Time or (
        is_text(values.dtype)
        and bool(values.cast(pl.String).str.contains(r"^\d{1,2}:\d\d(:\d\d(\.\d+)?)?( ?[APap][Mm])?$").all())
    )


def passed_over(sample: pl.DataFrame, taken: Collection[str]) -> Iterator[str]:
    """Notes on columns with the name of a time which are not taken for it: most of whose values are times, or none."""
    for name in sample.columns:
        values, parts = sample[name], set(words(name))
        if name in taken or not (NAMES | EVENT | NUMBERS) & parts or NEVER & parts or is_after(name):
            continue
        if holds_moments(values, name):
            yield (
                f"no time is taken, and rows are split at random: {name} holds times, but its name may mean another "
                f"moment than the transaction's; if it is that, say data.time={name}"
            )
            continue
        if OTHER & parts:
            continue
        known = values.drop_nulls()
        if values.dtype in (pl.Date, pl.Datetime):
            read = values.is_not_null()
        elif is_text(values.dtype):
            some = values.cast(pl.String)
            read = times.read(some, TimeFormat(times.nearest(some.drop_nulls().head(20))[0])).is_not_null()
        elif values.dtype.is_numeric():
            read = pl.repeat(False, len(values), eager=True)
        else:
            continue
        if 2 * (found := int(read.sum())) > len(known) > 0:
            odd = next(iter(values.filter(~read & values.is_not_null())), None)
            empty = f"{len(values) - len(known):,} are empty" if len(known) < len(values) else "all are equal"
            other = empty if odd is None else f"others not, such as {odd!r}"
            yield (
                f"no time is taken, and rows are split at random: {found:,} of {len(values):,} values of {name} are "
                f"times, but {other}; correct them, or leave these rows out with data.where and say data.time={name}"
            )
        elif NAMES & parts and known.n_unique() > 2 and known.cast(pl.String).str.contains(r"\d").all():
            how = "time_unit, what its numbers count" if values.dtype.is_numeric() else "time_format"
            yield (
                f"no time is taken, and rows are split at random: {name} has the name of a time, but it is not known "
                f"how values such as {known[0]!r} are read; if it is the time, say data.time={name} and data.{how}"
            )


def as_numbers(sample: pl.DataFrame, taken: Collection[str]) -> list[str]:
    """Columns with the name of a time whose numbers all are moments since 1970 or dates."""
    named = [n for n in sample.columns if n not in taken and sample[n].dtype.is_numeric()]
    return [n for n in named if (NAMES | NUMBERS) & {*words(n)} and are_moments(sample[n])]


def guessed_unit(config: TableConfig, given: TimeFormat, columns: Collection[str]) -> Iterator[str]:
    """A note on the unit of a time that counts from an unknown day, if its span alone tells it."""
    unit, known = config.time_unit, given.unit is not None or _is_paysim(columns)
    if unit in ("hours", "days", "weeks") and not known and not {unit, unit[:-1]} & {*words(str(config.time))}:
        yield f"the unit of {config.time} is a guess, {unit}: data.time_unit=hours, days or weeks changes it"


def moments(sample: pl.DataFrame) -> list[str]:
    """The columns that hold a date, with or without a time of day, whatever they mean."""
    return [name for name in sample.columns if is_temporal(sample[name])]


def of(sample: pl.DataFrame, name: str, given: TimeFormat) -> TimeFormat:
    """How a column is read as the time.

    Raises:
        UserError: its text is not a time, or can be read in several ways.
    """
    frame, values = sample.lazy(), sample[name]
    try:
        return times.settle(frame, name, given)[0]
    except units.Unclear:
        unit = "hours" if _is_paysim(sample.columns) else _unit(values, name)
        return TimeFormat(unit=unit, zone=given.zone)
    except UserError:
        if is_text(values.dtype):
            formats = [form for form in (f for f, _ in times.fitting(distinct(values))) if _is_sorted(values, form)]
            if len(formats) == 1:  # of several ways to read it, the one in which the rows are in order
                return TimeFormat(formats[0], zone=given.zone)
        raise


def _is_paysim(columns: Collection[str]) -> bool:
    return {*columns} >= _PAYSIM


def _is_sorted(values: pl.Series, form: str) -> bool:
    read = times.read(values, TimeFormat(form))
    return read.null_count() == 0 and read.is_sorted()


def _unit(values: pl.Series, name: str) -> str:
    """For numbers that count from an unknown day: the smallest unit in which they span a month."""
    parts = set(words(name))
    for unit in ("seconds", "minutes", "hours", "days", "weeks"):
        if {unit, unit[:-1]} & parts:
            return unit
    least, most = values.min(), values.max()
    assert isinstance(least, int | float)
    assert isinstance(most, int | float)
    if "date" in parts and 30_000 < least <= most < 60_000:
        return "excel"
    days = {"hours": 1 / 24, "days": 1.0}
    return next((unit for unit, length in days.items() if (most - least) * length >= _LEAST_DAYS), "weeks")


def _of_parts(sample: pl.DataFrame, taken: Collection[str], zone: str | None) -> Iterator[Clock]:
    """A time derived from a year, a month and further parts in separate columns."""
    own = {words(name): name for name in sample.columns if name not in taken}
    year, month, day = (own.get((part,)) for part in ("year", "month", "day"))
    made = "when" if "when" not in sample.columns else "moment"
    if month is not None and year is None and sample[month].dtype.is_integer():
        expression = f"{enclosed(month)} * 2592000"
        yield Clock(made, TimeFormat(unit="seconds"), f"{month}, months of 30 days", {made: expression})
        return
    if year is None or month is None:
        return
    time = next((n for p, n in own.items() if p == ("time",) and is_text(sample[n].dtype)), None)
    parts, form = (
        [enclosed(year), "'-'", enclosed(month), "'-'"],
        "%Y-%b" if is_text(sample[month].dtype) else "%Y-%m",
    )
    numbered = day is not None and sample[day].dtype.is_integer()
    parts.append(enclosed(str(day)) if numbered else "'1'")
    form += "-%d"
    if time is not None and sample[time].str.contains(r"^\d\d?:\d\d$").all():
        parts += ["' '", enclosed(time)]
        form += " %H:%M"
    expression = f"STRPTIME({' || '.join(parts)}, '{form}')"  # null if any part is null, unlike CONCAT
    try:
        read = sample.lazy().select(pl.sql_expr(expression).alias(made)).collect()[made]
    except pl.exceptions.PolarsError:
        return
    if read.null_count() <= _GAPS * len(read) and read.n_unique() > 1:
        of = ", ".join(name for name in (year, month, day if numbered else None, time) if name is not None)
        why = f"from {of}" if numbered else f"from {of}, the first of the month"
        yield Clock(made, TimeFormat(zone=zone), why, {made: expression}, read.null_count())


def parts(sample: pl.DataFrame, clock: Clock) -> dict[str, str]:
    """SQL for the hour and the weekday of the time, if it has them and the table has no such columns.

    Args:
        sample: rows in types.
        clock: the time.
    """
    names = {name.lower() for name in sample.columns}
    made = {name: made for name, made in _hour_and_weekday(sample, clock).items() if name not in names}
    read = None if clock.derive else derive.Time(clock.column, clock.form)
    found = {}
    day = f"EXTRACT(day FROM {enclosed(clock.column)})"  # a weekday of first days of months tells nothing
    for name, expression in made.items():
        wanted = {name: expression, **({"_day": day} if name == "weekday" else {})}
        try:
            derived = derive.derived(sample.lazy(), {**clock.derive, **wanted}, read)
            values = derived.select(*wanted).collect()
        except (UserError, pl.exceptions.PolarsError):
            continue
        varied = all(each.drop_nulls().n_unique() > 1 for each in values)
        if varied and values[name].null_count() <= _GAPS * len(values):
            found[name] = expression
    return found


def _hour_and_weekday(sample: pl.DataFrame, clock: Clock) -> dict[str, str]:
    column, dtype = enclosed(clock.column), sample.schema.get(clock.column, pl.Datetime())
    if dtype.is_numeric() and (clock.form.unit or "seconds") in SECONDS:
        day = _A_DAY.get(clock.form.unit or "seconds")
        return {} if day is None else {"hour": f"{column} % {day}" + ("" if day == 24 else f" / {day / 24}")}
    return {"hour": f"EXTRACT(hour FROM {column})", "weekday": f"EXTRACT(isodow FROM {column})"}


def setting(form: TimeFormat) -> dict[str, str]:
    """The settings of ``data`` that say how the time is read."""
    said = {"time_format": form.format if form.format != ISO else None, "time_unit": form.unit, "time_zone": form.zone}
    return {key: value for key, value in said.items() if value is not None}
