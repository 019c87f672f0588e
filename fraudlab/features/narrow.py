"""Columns that a table holds as float32: a record's value has to pass through it too, to be what the row's is."""

from collections.abc import Mapping
from operator import ne
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fraudlab.errors import UserError
from fraudlab.features.live import WrongField
from fraudlab.features.numbers import as_number

if TYPE_CHECKING:
    import polars as pl

NARROW = "narrow"
"""Name of the lookup that lists such columns."""


def narrow_columns(frame: "pl.LazyFrame") -> NDArray[Any]:
    """Names of the float32 columns, an array of text."""
    import polars as pl

    return np.array([name for name, dtype in frame.collect_schema().items() if dtype == pl.Float32], dtype="U")


def narrowed(record: Mapping[str, Any], lookups: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """The record with its numbers rounded where the table rounds them, and None for NaN.

    Raises:
        WrongField: a value is no number where the table has numbers, or beyond what the table can hold.
    """
    made = dict(record)
    if any(map(ne, made.values(), made.values())):  # NaN alone is not what it is
        made = {name: None if value != value else value for name, value in made.items()}
    names = [name for name in _names(lookups) if made.get(name) is not None]
    values = [made[name] for name in names]
    try:
        wide = np.array(values, np.float64)
    except (TypeError, ValueError, OverflowError):
        wide = np.array([_number(*each) for each in zip(names, values, strict=True)], np.float64)
    with np.errstate(over="ignore"):
        narrow = wide.astype(np.float32).astype(np.float64)
    beyond = np.isinf(narrow) & np.isfinite(wide)
    if beyond.any():
        place = int(beyond.argmax())
        raise _beyond(names[place], wide[place])
    if set(map(type, values)) <= {float}:  # whole numbers, as most are, stay what they are
        for place in np.flatnonzero(narrow != wide).tolist():
            made[names[place]] = float(narrow[place])
    else:
        made.update(zip(names, narrow.tolist(), strict=True))
    return made


def narrowed_rows(records: "pl.DataFrame", lookups: Mapping[str, NDArray[Any]]) -> "pl.DataFrame":
    """Many records as :func:`narrowed` has each: float32 where the table has it, else 64 bits; null for NaN."""
    import polars as pl
    from polars import selectors

    types = records.schema
    names = [name for name in _names(lookups) if name in types]
    done = [name for name in names if types[name] == pl.Float32]
    wide = records.with_columns(
        selectors.integer().cast(pl.Int64),
        selectors.by_name(done).fill_nan(None),
        (selectors.float() - selectors.by_name(done)).cast(pl.Float64).fill_nan(None),
    )
    # By way of float64, as one record's value comes.
    others = [name for name in names if types[name] != pl.Float32]
    doubles = wide.select(pl.col(others).cast(pl.Float64))
    singles = doubles.cast(pl.Float32)
    for name in others:
        beyond = (singles[name].is_infinite() & doubles[name].is_finite()).fill_null(False)
        if beyond.any():
            raise _beyond(name, doubles[name].filter(beyond)[0])
    return wide.with_columns(singles.get_columns())


def _names(lookups: Mapping[str, NDArray[Any]]) -> list[str]:
    """None where the bundle is of a version that did not list them."""
    return lookups[NARROW].tolist() if NARROW in lookups else []


def _number(name: str, value: Any) -> float:
    try:
        return as_number(name, value)
    except UserError:
        raise WrongField(name, f"is {value!r}; give a number, or leave it out if missing") from None


def _beyond(name: str, value: float) -> WrongField:
    return WrongField(name, f"is {value:g}, beyond the single precision that the training table holds it in")
