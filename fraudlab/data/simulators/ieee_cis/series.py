"""Arrays of one block of rows, and the columns made of them."""

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

FORM_SEED = 339  # of what belongs to the form of the data: what the V columns mean, which devices there are


def add(columns: dict[str, pl.Series], name: str, values: NDArray, missing: Mask | None = None) -> None:
    """Add a column of numbers; where ``missing``, it is empty."""
    # Whole numbers are floats in Kaggle's files wherever the column can be empty: 29.0.
    if values.dtype.kind == "f":
        values = values.astype(np.float64) + 0.0  # no -0.0
        if missing is not None:
            values[missing] = np.nan
        columns[name] = pl.Series(name, values, nan_to_null=True)
    else:
        columns[name] = pl.Series(name, values)


def add_labels(
    columns: dict[str, pl.Series], name: str, index: NDArray, labels: Sequence[str], missing: Mask | None = None
) -> None:
    """Add a column of strings, ``labels`` by their index; where ``missing``, it is empty."""
    if missing is not None:
        index = np.where(missing, len(labels), index)
    columns[name] = pl.Series(name, [*labels, None], pl.String).gather(index.astype(np.uint32)).alias(name)


def counted(values: NDArray) -> Floats:
    """Counts: rounded down, at least 0."""
    return np.floor(np.maximum(values, 0)).astype(np.float32)
