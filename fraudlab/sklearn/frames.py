"""What scikit-learn calls X, of any kind, as a Polars frame of numbers, text and booleans."""

from collections.abc import Sequence
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fraudlab.features.categories import word


def frame_of(X: Any, names: Sequence[str]) -> pl.DataFrame:
    """A table with columns of these names, each Float64 or integer (numbers), String or Boolean (categories).

    Args:
        X: a Polars or pandas frame, or an array [N, F] of numbers, text or objects.
        names: of its columns.

    Raises:
        TypeError: a column holds neither numbers nor text.
    """
    if isinstance(X, pl.DataFrame):
        return pl.DataFrame([_plain(name, column) for name, column in zip(names, X.get_columns(), strict=True)])
    if hasattr(X, "iloc"):  # pandas, without importing it
        columns = [X.iloc[:, number] for number in range(X.shape[1])]
        arrays = [
            _words(column.to_numpy()) if str(column.dtype) == "category" else column.to_numpy() for column in columns
        ]
    else:
        arrays = [X[:, number] for number in range(X.shape[1])]
    return pl.DataFrame([_series(name, array) for name, array in zip(names, arrays, strict=True)])


def _plain(name: str, column: pl.Series) -> pl.Series:
    column = column.rename(name)
    kind = column.dtype
    if kind in (pl.Categorical, pl.Enum):
        return column.cast(pl.String)
    if kind == pl.Null or kind.is_decimal():
        return column.cast(pl.Float64)
    if kind == pl.Object:
        return _series(name, column.to_numpy())
    if kind.is_numeric() or kind in (pl.String, pl.Boolean):
        return column
    raise _refused(name, str(kind))


def _series(name: str, values: NDArray[Any]) -> pl.Series:
    kind = values.dtype.kind
    if kind == "f":
        return pl.Series(name, values.astype(np.float64))
    if kind in "iub":
        return pl.Series(name, np.ascontiguousarray(values))
    if kind in "US":
        return pl.Series(name, values.astype(str).tolist(), pl.String)
    if kind not in ("O", "T"):
        raise _refused(name, str(values.dtype))
    known = [None if _missing(value) else value for value in values.tolist()]
    types: set[Any] = {type(value) for value in known if value is not None}
    if types <= {bool, np.bool_}:
        return pl.Series(name, known, pl.Boolean if types else pl.Float64)
    if all(issubclass(one, Real | Decimal) and one is not bool for one in types):
        return pl.Series(name, [None if value is None else float(value) for value in known], pl.Float64)
    if strange := [one.__name__ for one in types if not issubclass(one, str | Real)]:
        raise _refused(name, ", ".join(sorted(strange)))
    return pl.Series(name, _words(known), pl.String)


def _words(values: Any) -> NDArray[np.object_]:
    words = np.empty(len(values), object)
    words[:] = [None if _missing(value) else word(value) for value in values]
    return words


def _missing(value: Any) -> bool:
    """Whether it is None, NaN, NaT or pandas' NA, which alone does not say whether it differs from itself."""
    try:
        return value is None or bool(value != value)
    except TypeError:
        return True
    except ValueError:  # an array, which the caller refuses
        return False


def _refused(name: str, kind: str) -> TypeError:
    return TypeError(
        f"column {name} holds {kind}; a model takes numbers and text: make numbers of it, such as the hour and the "
        "weekday of a time, or leave it out"
    )
