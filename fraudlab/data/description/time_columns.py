"""The columns whose name and values are those of a time."""

from collections.abc import Collection

import polars as pl

from fraudlab.data.sources.table import times, units
from fraudlab.data.sources.table.names import is_after, words
from fraudlab.data.sources.table.time_format import DIGITS, EPOCHS, TimeFormat
from fraudlab.features.values import is_text

# Words of names.
NUMBERS = {"time", "datetime", "timestamp", "ts", "dt", "step", "epoch", "unix", "unixtime", "date"}
NAMES = {"time", "datetime", "timestamp", "ts", "dt", "date", "when", "at", "moment"}
EVENT = {
    *("transaction", "trans", "tx", "txn", "trx", "event", "purchase", "order", "payment", "booking", "auth", "step"),
    *("operation", "posted", "filed", "incident", "accident", "claim", "created"),
}
NEVER = {
    *("birth", "dob", "born", "expiry", "expires", "expiration", "exp", "valid", "since", "between", "end"),
    *("last", "first", "previous", "prev"),
}
OTHER = {  # of another moment than the transaction's, unless the rows are sign-ups or applications
    *NEVER,
    *("issued", "opened", "open", "signup", "bind", "registered", "registration", "joined", "delivery"),
    *("updated", "update", "policy", "card", "account"),
}
_SAMPLE = 500


def rank(values: pl.Series, name: str, given: TimeFormat, others: Collection[str] = OTHER) -> float:
    """How likely a column is the time of a transaction: 0, or more than 0; words of ``others`` rule it out."""
    parts = set(words(name))
    if values.dtype.is_nested() or parts & {*others} or is_after(name) or values.n_unique() < 2:
        return 0.0
    if (given.unit and not values.dtype.is_numeric()) or (given.format and not is_text(values.dtype)):
        return 0.0
    named = bool(NAMES & parts) + 2 * bool(EVENT & parts)
    if values.dtype.is_numeric():
        if not (NUMBERS & parts or (NAMES & parts and are_moments(values))) or (values.quantile(0.05) or 0) < 0:
            return 0.0
        return 3.0 + named + 2 * values.is_sorted()
    if not (_reads(given.format, values) if given.format else is_temporal(values)):
        return 0.0
    clock = values.dtype != pl.Date and (not is_text(values.dtype) or bool(values.head(100).str.contains(":").any()))
    return 6.0 + named + 2 * clock


def are_moments(values: pl.Series) -> bool:
    """Whether all numbers are moments since 1970 of the years 1990 to 2100, or dates such as 20240131."""
    least, most = (float(each or 0) for each in (values.min(), values.max()))  # type: ignore[arg-type]
    for unit in (*EPOCHS, *DIGITS):
        low, high = units.RANGES[unit]
        if low <= least and most <= high:
            read = TimeFormat(unit=unit).values(pl.col("number"), values.dtype)
            return values.drop_nulls().to_frame("number").select(read.null_count() == 0).item() is True
    return False


def is_temporal(values: pl.Series) -> bool:
    """Whether values are dates, as such or as text."""
    if values.dtype in (pl.Date, pl.Datetime):
        return True
    if not is_text(values.dtype):
        return False
    some = distinct(values)
    return times.is_time(some.head(20)) and times.is_time(some)


def _reads(form: str, values: pl.Series) -> bool:
    some = distinct(values)
    try:
        return len(some) > 0 and some.str.to_datetime(form, strict=False).null_count() == 0
    except pl.exceptions.PolarsError:  # the format itself is wrong
        return False


def distinct(values: pl.Series) -> pl.Series:
    """Some of the different values, as text."""
    return values.drop_nulls().cast(pl.String).head(4 * _SAMPLE).unique(maintain_order=True).head(_SAMPLE)


def holds_moments(values: pl.Series, name: str) -> bool:
    """Whether values are moments without gaps, those of a transaction or others."""
    real = not values.dtype.is_numeric() or are_moments(values)
    return real and not values.null_count() and rank(values, name, TimeFormat(), NEVER) > 0
