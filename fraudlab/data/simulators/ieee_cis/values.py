"""What the C and V columns hold: shares of 0 and 1 and quantiles of what lies above, by product.

``values.csv`` holds them, measured on the first 1,500 rows of Kaggle's files (one day). A column is drawn as a standard
normal first; these tables turn that into a count or a sum.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import NormalDist

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fraudlab.data.simulators.ieee_cis.clients import PRODUCTS
from fraudlab.data.simulators.ieee_cis.series import Floats, Mask

_LEVELS = (0.0, 0.5, 0.9, 0.998)  # of the quantiles of what lies above 1, or above 0 for sums


@dataclass(frozen=True)
class _Values:
    """What one column holds for some of the products, by where a standard normal draw lies."""

    products: Mask  # [5], in the order of PRODUCTS
    above_zero: float
    above_one: float
    knots: NDArray[np.float64]  # draws of the quantiles; empty: nothing lies above 1
    logs: NDArray[np.float64]  # of the quantiles


def values_of(column: str, latent: Floats, product: NDArray[np.int8]) -> Floats:
    """The column's values, not rounded, for standard normal draws ``latent`` [rows] of rows of these products."""
    values = np.zeros(len(latent), np.float32)
    for of in _tables()[column]:
        rows = of.products[product]
        values[rows & (latent >= of.above_zero)] = 1
        if len(of.knots):
            above = np.flatnonzero(rows & (latent >= of.above_one))
            values[above] = np.exp(np.interp(latent[above], of.knots, of.logs))
    return values


@cache
def _tables() -> Mapping[str, list[_Values]]:
    tables: dict[str, list[_Values]] = {}
    measured = pl.read_csv(Path(__file__).with_name("values.csv"), infer_schema_length=None, glob=False)
    for column, products, zero, one, *quantiles in measured.iter_rows():
        if quantiles[0] is None:  # every value that is not 0 is 1
            at_most_one, quantiles, levels = 1.0, [], np.array([])
        else:
            at_most_one = zero + one
            levels = at_most_one + (1 - at_most_one) * np.array(_LEVELS)
        tables.setdefault(column, []).append(
            _Values(
                products=np.array([name in products for name in PRODUCTS]),
                above_zero=_normal(zero),
                above_one=_normal(at_most_one),
                knots=np.array([_normal(max(level, 1e-4)) for level in levels]),
                logs=np.log(quantiles),
            )
        )
    return tables


def _normal(share: float) -> float:
    return NormalDist().inv_cdf(share) if 0 < share < 1 else np.inf if share > 0 else -np.inf
