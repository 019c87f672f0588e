"""Many records at once have the columns that each has alone, bit for bit, whatever stands in them."""

from typing import Any

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from fraudlab.features.ieee_cis import IEEECISFeatures
from tests.support.ieee_cis_rows import SCHEMA, table

_NUMBERS = st.one_of(
    st.none(),
    st.integers(0, 6).map(float),
    st.floats(-1e6, 1e6),
    st.sampled_from([1e9, -1e9, 1e15, 1e18, -2.5, 1e-9, 16777217.0, float("nan")]),
)
_TEXTS = st.one_of(
    st.none(),
    st.sampled_from(
        ["gmail.com", "yahoo.co.uk", "never.seen", "2220x1080", "x1", "SAMSUNG SM", "iOS 11", "", ".", "a.b.c"]
    ),
    st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=6),
)
_FIELDS = {
    **dict.fromkeys(("addr1", "card2", "card3", "D1", "D4", "D15", "D9", "C14", "V314", "dist1", "id_02"), _NUMBERS),
    **dict.fromkeys(("P_emaildomain", "R_emaildomain", "id_30", "id_31", "id_33", "DeviceInfo"), _TEXTS),
    "card1": st.one_of(st.integers(0, 5), st.sampled_from([2**31, 10**12, -1])),
    "TransactionDT": st.integers(0, 400 * 86400),
    "TransactionAmt": st.one_of(
        st.integers(1, 10**6).map(lambda mils: mils / 1000), st.sampled_from([1e12, 0.0, 1e-6])
    ),
}
_RECORD = st.fixed_dictionaries({}, optional=_FIELDS)


def _bits(value: Any) -> Any:
    """What tells values apart to the last bit, and a number from none."""
    if isinstance(value, int | float):
        return "missing" if value != value else np.float64(value).tobytes()
    return "missing" if value is None else value


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), changes=st.lists(_RECORD, min_size=1, max_size=12))
def test_rows_of_a_block_are_records(seed: int, changes: list[dict[str, Any]]) -> None:
    features = IEEECISFeatures(SCHEMA)
    known = table(200, seed)
    lookups = features.lookups(known.lazy())
    frame = table(len(changes), seed + 1).drop("isFraud", "client")
    # As a file of transactions is read: integers and numbers of 64 bits, and text.
    wide = frame.with_columns(pl.selectors.integer().cast(pl.Int64), pl.selectors.float().cast(pl.Float64))
    records = [{**row, **change} for row, change in zip(wide.to_dicts(), changes, strict=True)]
    block = features.of_records(pl.DataFrame(records, schema=wide.schema), lookups).to_dicts()
    names = [*features.categorical, *features.numeric]
    for record, row in zip(records, block, strict=True):
        alone = features.of_record(record, lookups)
        assert {n: _bits(row[n]) for n in names} == {n: _bits(alone[n]) for n in names}
