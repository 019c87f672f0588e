"""A column in the type of its role: for the table, and for derived columns at serving time."""

import polars as pl

from fraudlab.data.sources.table.time_format import TimeFormat
from fraudlab.errors import UserError
from fraudlab.features.values import Spelling, clean, is_text
from fraudlab.schema import Role


def is_plain(dtype: pl.DataType) -> bool:
    """Whether cells of a column may have to be read: text, numbers, true and false."""
    return is_text(dtype) or dtype.is_numeric() or dtype == pl.Boolean


BEYOND_INT64 = (pl.UInt64, pl.Int128, pl.UInt128)


def value_of(name: str, dtype: pl.DataType, role: Role, spelling: Spelling, time: TimeFormat) -> pl.Expr:
    """Column ``name`` in the type of its role; a value that cannot be converted becomes null."""
    value = pl.col(name)
    if role in ("label", "label_time"):
        return value
    if role == "time":
        return time.values(value, dtype)
    if role in ("numeric", "amount", "weight"):
        if is_text(dtype):
            value, dtype = spelling.number(clean(value)), pl.Float64()
        elif dtype == pl.Boolean:
            value, dtype = value.cast(pl.Float64), pl.Float64()
        elif not dtype.is_numeric():
            raise UserError(f"column {name} has type {dtype} and cannot be {role}; derive a number with data.derive")
    if dtype == pl.Date or isinstance(dtype, pl.Datetime):
        value, dtype = TimeFormat().values(value, dtype), pl.Datetime("us")
    elif dtype in (pl.Null, pl.Binary) or is_text(dtype):
        value, dtype = value.cast(pl.String), pl.String()
    elif dtype in BEYOND_INT64 and role in ("id", "card", "terminal", "categorical", "carried"):
        value, dtype = value.cast(pl.String), pl.String()  # as a record and a file to be scored can have it
    elif isinstance(dtype, pl.Decimal) or dtype in BEYOND_INT64:
        value, dtype = value.cast(pl.Float64), pl.Float64()

    if not (dtype.is_numeric() or dtype in (pl.Boolean, pl.String, pl.Datetime)):
        raise UserError(
            f"column {name} has type {dtype}, which cannot be {role}; make it text or a number with "
            f"data.derive.{name}, or leave it out: data.ignored=[{name}]"
        )
    if role == "categorical" and dtype == pl.Datetime:
        raise UserError(f"column {name} is a time and cannot be categorical; derive e.g. its hour with data.derive")
    return value.fill_nan(None) if dtype.is_float() else value
