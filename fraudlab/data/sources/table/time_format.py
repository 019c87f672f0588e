"""How the values of a time's column are read, once its format, unit and zone are known."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import polars as pl

from fraudlab.config.data import SECONDS
from fraudlab.features.values import is_text

ISO = "iso"
"""Year first, in any form of ISO 8601, also with slashes or dots; time of day and zone are optional."""

_ISO = re.compile(
    r"^(\d{4})(?:[-/.](\d{1,2})[-/.](\d{1,2})|(\d\d)(\d\d))"
    r"(?:[ Tt]+(\d{1,2}):?(\d\d)(?::?(\d\d)(?:[.,](\d{1,9}))?)?)?\s*"
    r"([Zz]|UTC|GMT|[+-]\d\d(?::?\d\d)?)?(?:\[[\w/+-]+\])?$"
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

GMT = " GMT"  # the end of a format whose times are in UTC
EPOCHS = {"epoch_seconds": 1, "milliseconds": 1_000, "microseconds": 1_000_000, "nanoseconds": 1_000_000_000}
DIGITS = {"yyyymmdd": "%Y%m%d", "yyyymmddhhmm": "%Y%m%d%H%M", "yyyymmddhhmmss": "%Y%m%d%H%M%S"}


_EXAMPLE = datetime(2024, 1, 31, 14, 30, 5, tzinfo=UTC)


def written(form: str) -> str:
    """An example of a time in a format, for messages.

    >>> written("%d.%m.%Y %H:%M"), written("%Y-%m-%d %H:%M:%S%.f"), written(ISO)
    ('as 31.01.2024 14:30', 'as 2024-01-31 14:30:05.5', 'year first, as 2024-01-31 14:30:05')
    """
    if form == ISO:
        return f"year first, as {_EXAMPLE:%Y-%m-%d %H:%M:%S}"
    for fraction, digits in (("%.f", ".5"), ("%3f", "500"), ("%6f", "500000"), ("%#z", "%z")):
        form = form.replace(fraction, digits)
    return f"as {_EXAMPLE.strftime(form)}"


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
            text = value.cast(pl.String)
            if self.format is None and self.unit is not None and self.unit not in SECONDS:  # an epoch as text
                number = text.cast(pl.Int64, strict=False)
                return pl.coalesce(self._of_number(number), self._of_number(text.cast(pl.Float64, strict=False)),
                                   self._iso(text))  # fmt: skip
            return self._of_text(text)
        if isinstance(dtype, pl.Datetime):
            return self._in_utc(value, dtype.time_zone is not None).cast(pl.Datetime("us"))
        if dtype == pl.Date:
            return value.cast(pl.Datetime("us"))
        return self._of_number(value)

    def local(self, value: pl.Expr, dtype: Any) -> pl.Expr | None:
        """The moment by the clock of the zone, if one is known, else as it is written; None for a number of seconds."""
        if isinstance(dtype, pl.Datetime) and dtype.time_zone is not None and self.zone is None:
            return value
        if dtype.is_numeric() and (self.unit or "seconds") in SECONDS:
            return None
        if not (is_text(dtype) or dtype.is_numeric() or dtype == pl.Date or isinstance(dtype, pl.Datetime)):
            return None
        moment = self.values(value, dtype)
        if self.zone is None or dtype == pl.Date or dtype.is_numeric():
            return moment
        return moment.dt.replace_time_zone("UTC").dt.convert_time_zone(self.zone).dt.replace_time_zone(None)

    def _of_text(self, value: pl.Expr) -> pl.Expr:
        read = self._iso_values if self.format in (None, ISO) else self._own_values
        return value.map_batches(read, return_dtype=pl.Datetime("us"), is_elementwise=True)

    def _iso(self, value: pl.Expr) -> pl.Expr:
        return value.map_batches(self._iso_values, return_dtype=pl.Datetime("us"), is_elementwise=True)

    def _own_values(self, text: pl.Series) -> pl.Series:
        """Of the format; records and other files may have the year first, which is tried, slowly, of the rest alone."""
        assert self.format is not None
        zoned = "%z" in self.format or "%#z" in self.format
        found = text.str.to_datetime(self.format, time_unit="us", strict=False, ambiguous="earliest",
                                     time_zone="UTC" if zoned else None)  # fmt: skip
        if not self.format.endswith(GMT):
            found = found.to_frame("read").select(self._in_utc(pl.col("read"), zoned)).to_series()
        unread = found.is_null() & text.is_not_null()
        return found.scatter(unread.arg_true(), self._iso_values(text.filter(unread))) if unread.any() else found

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
        if unit in SECONDS:
            return value if SECONDS[unit] == 1 else value * SECONDS[unit]
        if unit in EPOCHS:
            micro = value.cast(pl.Float64) * (1_000_000 / EPOCHS[unit])
            exact = value * (1_000_000 // EPOCHS[unit]) if EPOCHS[unit] <= 1_000_000 else value // 1_000
            whole = exact.cast(pl.Int64, strict=False)
            return pl.coalesce(whole, micro.cast(pl.Int64, strict=False)).cast(pl.Datetime("us"))
        if unit == "excel":
            return ((value - 25_569) * 86_400_000_000).round().cast(pl.Int64, strict=False).cast(pl.Datetime("us"))
        text = value.cast(pl.Int64, strict=False).cast(pl.String)
        if unit == "yyyymmdd":
            return text.str.to_date("%Y%m%d", strict=False).cast(pl.Datetime("us"))
        return text.str.to_datetime(DIGITS[unit], time_unit="us", strict=False)
