"""The 339 V columns: missing in blocks, correlated inside them; which of them tells what is made up."""

import numpy as np
import polars as pl

from fraudlab.data.simulators.ieee_cis.rows import Rows
from fraudlab.data.simulators.ieee_cis.series import FORM_SEED, Floats, counted


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

# What a V column holds. Those in none of these are small counts whose usual value is 0.
_V_ONE = frozenset(_numbers("1 14 41 65 88 107 240-241 305"))  # nearly always 1
_V_ZERO = frozenset(_numbers("27-28 68 89"))  # nearly always 0
_V_FROM_ONE = frozenset(
    _numbers(
        "2-9 13 19-20 23-26 37-38 44-47 53-56 61-62 66-67 77-78 82-83 86-87 108-125 186-198 242 244-245 247-256 "
        "260-262 282 290-292"
    )
)  # small counts whose usual value is 1
_V_LARGE = frozenset(
    _numbers(
        "96-97 99 102-103 143-145 151-152 167-168 170-171 176-180 199-201 217-219 221-222 228-234 243 246 257-259 "
        "280 283 285 294-295 322-324 326-330"
    )
)  # counts with a long tail
_V_MONEY = frozenset(_numbers("126-137 150 159-166 202-216 263-278 306-321 331-339"))  # sums of amounts


def _v_loadings() -> list[Floats]:
    """For each block of V columns, [8, columns]: what a column draws from the rows' factors, of length about 1."""
    rng = np.random.default_rng(FORM_SEED)
    loadings = []
    for block in V_BLOCKS:
        # Three directions a block, and every column a blend of them: so columns of a block correlate.
        directions = rng.dirichlet(np.full(8, 0.5), 3) ** 0.5
        blend = rng.dirichlet(np.full(3, 0.6), len(block)) ** 0.5
        load = (blend @ directions).T
        loadings.append((load / np.linalg.norm(load, axis=0)).astype(np.float32))
    return loadings


_V_LOADINGS = _v_loadings()
_NOISE = 0.4  # share of a V column's spread that is its own


def add_v(columns: dict[str, pl.Series], rows: Rows) -> None:
    log_amount = np.log(rows.amount).astype(np.float32)
    for block, loadings in zip(V_BLOCKS, _V_LOADINGS, strict=True):
        missing = rows.missing[f"V{block[0]}"]
        there = np.flatnonzero(~missing)
        factors = rows.factors[there]
        values = (1 - _NOISE**2) ** 0.5 * (factors @ loadings).T
        values += _NOISE * rows.rng.standard_normal(values.shape, np.float32)
        for column, number in enumerate(block):
            spread = 0.1 * (number * 7 % 10)  # between 0 and 0.9: columns differ in how often they leave their base
            x = values[column]
            if number in _V_ONE:
                value = np.where(x > -3.2, np.float32(1), np.float32(0))
            elif number in _V_ZERO:
                value = np.where(x > 3.5, np.float32(1), np.float32(0))
            elif number in _V_FROM_ONE:
                value = 1 + counted(0.9 * (x - 0.4 * spread))
            elif number in _V_LARGE:
                value = counted(np.exp(1.1 * x + spread))
            elif number in _V_MONEY:
                value = np.where(x > spread, np.round(np.exp(log_amount[there] + 0.8 * x), 2), np.float32(0))
            else:
                value = counted(0.9 * (x + 0.6 - spread))
            whole = np.full(len(rows), np.nan)
            whole[there] = value
            columns[f"V{number}"] = pl.Series(f"V{number}", whole, nan_to_null=True)
