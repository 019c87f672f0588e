"""The 339 V columns: missing in blocks, correlated as real rows are; which of them tells of fraud is made up."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl

from fraudlab.data.simulators.ieee_cis.rows import Rows
from fraudlab.data.simulators.ieee_cis.series import Floats
from fraudlab.data.simulators.ieee_cis.values import values_of


def _numbers(ranges: str) -> list[int]:
    """``"1-3 7"`` as ``[1, 2, 3, 7]``."""
    numbers: list[int] = []
    for part in ranges.split():
        first, _, last = part.partition("-")
        numbers.extend(range(int(first), int(last or first) + 1))
    return numbers


# V columns that are missing together. Two blocks of one probability (V167... and V169...) differ in few rows.
V_BLOCKS = tuple(
    tuple(_numbers(ranges))
    for ranges in (
        *("1-11", "12-34", "35-52", "53-74", "75-94", "95-137"),
        *("138-142 146-149 153-158 161-163", "143-145 150-152 159-160 164-166"),
        "167-168 172-173 176-179 181-183 186-187 190-193 196 199 202-207 211-216",
        "169-171 174-175 180 184-185 188-189 194-195 197-198 200-201 208-210",
        "217-219 223-226 228-233 235-237 240-244 246-249 252-254 257-258 260-269 273-278",
        "220-222 227 234 238-239 245 250-251 255-256 259 270-272",
        "279-280 284-287 290-295 297-299 302-312 316-321",
        *("281-283 288-289 296 300-301 313-315", "322-339"),
    )
)

_V_MONEY = frozenset(_numbers("126-137 159-160 202-216 263-268 270-278 306-321"))  # sums of amounts; others: counts
_V_NOISE = 0.5  # standard deviation of what the factors behind V have beside the rows' own factors


@cache
def _loadings() -> Mapping[str, Floats]:
    """For each V column, [8]: its correlations with the factors, fitted to Pearson's correlations of real columns."""
    table = pl.read_csv(Path(__file__).with_name("v_loadings.csv"), infer_schema_length=None, glob=False)
    return {column: np.array(loadings, np.float32) for column, *loadings in table.iter_rows()}


def add_v(columns: dict[str, pl.Series], rows: Rows) -> None:
    rng = rows.rng
    factors = (1 - _V_NOISE**2) ** 0.5 * rows.factors
    factors += _V_NOISE * rng.standard_normal(factors.shape, np.float32)
    for block in V_BLOCKS:
        there = np.flatnonzero(~rows.missing[f"V{block[0]}"])
        product = rows.product[there]
        loadings = np.stack([_loadings()[f"V{number}"] for number in block])
        alone = np.sqrt((1 - np.square(loadings).sum(axis=1)).clip(0))
        # No matrix product of a library's, whose last digit, and so a rounded value, follows its number of threads.
        latent = np.einsum("vf,rf->vr", loadings, factors[there], optimize=False)
        latent += alone[:, None] * rng.standard_normal(latent.shape, np.float32)
        for number, drawn in zip(block, latent, strict=True):
            value = values_of(f"V{number}", drawn, product)
            whole = np.full(len(rows), np.nan)
            whole[there] = np.round(value, 2 if number in _V_MONEY else 0)
            columns[f"V{number}"] = pl.Series(f"V{number}", whole, nan_to_null=True)
