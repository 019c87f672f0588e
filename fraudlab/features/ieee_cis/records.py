"""IEEE-CIS features of many records at once: the values that :mod:`.record` finds for each, bit for bit."""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fraudlab.features.contract import Lookups
from fraudlab.features.ieee_cis.columns import (
    CLIENT,
    COUNTED,
    DAY,
    DETAIL,
    EMAILS,
    FRACTION,
    KEYS,
    MOST_NUMBER,
    NOWHERE,
    names_by,
)
from fraudlab.features.ieee_cis.row import EXPRESSIONS

_TEXTS = ("id_30", "id_31", "id_33", "DeviceInfo", "P_emaildomain", "R_emaildomain")


def of_rows(records: pl.DataFrame) -> pl.DataFrame:
    """Features of each record alone; null where a value they need is missing."""
    texts = records.with_columns(pl.col(_TEXTS).cast(pl.String))
    return texts.select(expression.alias(name) for name, expression in EXPRESSIONS.items())


def of_past(records: pl.DataFrame, lookups: Lookups) -> pl.DataFrame:
    """Features of the rows that ``lookups`` (of :func:`fraudlab.features.ieee_cis.past.lookups`) were taken of."""
    seen = max(float(lookups["seen"][0]), 1.0)
    found: dict[str, NDArray[np.float64]] = {}
    for key, number in keys(records, lookups).items():
        there = lookups[f"{key}.keys"]
        names = names_by(key)
        place = np.minimum(there.searchsorted(number), len(there) - 1)
        known = there[place] == number
        values = np.where(known[:, None], lookups[f"{key}.values"][place], [0.0, *[np.nan] * len(names)])
        found[f"{key}_share"] = values[:, 0] / seen
        if key in COUNTED:
            found[f"{key}_count"] = values[:, 0]
        found |= {name: values[:, 1 + i] for i, name in enumerate(names)}
    amount = records["TransactionAmt"].cast(pl.Float64).fill_null(np.nan).to_numpy()
    mean, deviation = found["account_TransactionAmt_mean"], found["account_TransactionAmt_std"]
    return pl.DataFrame({**found, "amount_unlike_account": (amount - mean) / (deviation + 1)}).fill_nan(None)


def keys(records: pl.DataFrame, lookups: Lookups) -> dict[str, NDArray[np.int64]]:
    """``[rows]`` of each key: the numbers by which ``past`` groups the records' rows."""
    number = {name: records[name].cast(pl.Float64) for name in ("addr1", "card1", "card2", "card3")}
    # Beyond 64 bits is no key of any row.
    cards = {
        name: (value.fill_null(-1.0) * FRACTION).cast(pl.Int64, strict=False).fill_null(NOWHERE).to_numpy()
        for name, value in number.items()
    }
    domains = lookups[EMAILS].tolist()
    numbered = {domain: i + 1 for i, domain in enumerate(domains)}
    domain = records["P_emaildomain"].cast(pl.String)
    email = domain.replace_strict(numbered, default=len(domains) + 1, return_dtype=pl.Int64)
    email_number = email.set(domain.is_null(), 0).to_numpy()

    whole = [number[name].fill_null(0.0).to_numpy() for name in ("card1", "addr1")]
    fits = (np.abs(whole) < MOST_NUMBER).all(axis=0)
    card, address = (np.where(fits, value, 0.0).astype(np.int64) for value in whole)
    client = card * CLIENT + address
    time, d1 = (records[name].cast(pl.Float64).fill_null(np.nan).to_numpy() for name in ("TransactionDT", "D1"))
    began = np.clip(np.floor(time // DAY - d1) + DETAIL // 2, 1, DETAIL - 1)
    day = np.where(np.isnan(began), 0, began).astype(np.int64)
    made = (
        cards["addr1"],
        cards["card1"],
        cards["card2"],
        cards["card3"],
        email_number,
        np.where(fits, client, NOWHERE),
        np.where(fits, client * DETAIL + email_number, NOWHERE),
        np.where(fits, client * DETAIL + day, NOWHERE),
    )
    return dict(zip(KEYS, made, strict=True))
