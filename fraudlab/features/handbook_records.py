"""Raw transactions of the Handbook as a store keeps them, one or many."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fraudlab.errors import UserError
from fraudlab.features.live import Event, Layout, WrongField
from fraudlab.features.windows import Array

if TYPE_CHECKING:
    import polars as pl

RAW = ("TRANSACTION_ID", "TX_DATETIME", "CUSTOMER_ID", "TERMINAL_ID", "TX_AMOUNT")
NEEDS = (*RAW[1:], "TX_FRAUD")
MOST_AMOUNT = 1e9
LAYOUT = Layout("TRANSACTION_ID", False, "TX_DATETIME", (("CUSTOMER_ID",), ("TERMINAL_ID",)), ("TX_AMOUNT",))
_INTEGER = {"type": "integer", "required": True, "nullable": False, "why": "the history needs it"}
FIELDS: dict[str, dict[str, Any]] = {
    "TRANSACTION_ID": {**_INTEGER, "role": "id"},
    "TX_DATETIME": {"type": "datetime", "required": True, "nullable": False, "form": "without a zone"},
    "CUSTOMER_ID": _INTEGER,
    "TERMINAL_ID": _INTEGER,
    "TX_AMOUNT": {
        "required": True,
        "nullable": False,
        "form": "whole cents",
        "minimum": -MOST_AMOUNT,
        "maximum": MOST_AMOUNT,
    },
}
"""What a store asks of the raw fields, over what a bundle says of them."""


class Past(NamedTuple):
    """A customer's or a terminal's transactions by time, then id, each ``[N]`` int64; the last is the present one."""

    time: Array  # microseconds since 1970
    cents: Array
    fraud: Array  # 0 or 1; 0 where not known


def event(record: Mapping[str, Any]) -> Event:
    """One raw transaction.

    Its ids are integers (15.0 is one), its time is a naive ``datetime`` or ISO 8601 text, its amount is in whole cents,
    up to 1e9.

    Raises:
        WrongField: a field is missing or not of that kind.
    """
    amount = record.get("TX_AMOUNT")
    cents = None if isinstance(amount, bool) or not isinstance(amount, int | float) else in_cents(amount)
    if cents is None:
        raise WrongField("TX_AMOUNT", f"is {amount!r}; give an amount in whole cents up to 1e9")
    number, time = _integer(record, "TRANSACTION_ID"), _microseconds(record.get("TX_DATETIME"))
    return Event(number, time, (_integer(record, "CUSTOMER_ID"), _integer(record, "TERMINAL_ID")), (cents,))


def _integer(record: Mapping[str, Any], name: str) -> int:
    value = record.get(name)
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # JSON knows one kind of number
    if isinstance(value, bool) or not isinstance(value, int) or not -(2**63) <= value < 2**63:
        raise WrongField(name, f"is {value!r}; give an integer of 64 bits")
    return value


def _microseconds(value: Any) -> int:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
        return (moment - datetime(1970, 1, 1)) // timedelta(microseconds=1)
    except (ValueError, TypeError):
        says = f"is {value!r}; give a date and time without a zone, 2018-07-25T14:30:00"
        raise WrongField("TX_DATETIME", says) from None


def events(rows: "pl.DataFrame") -> "pl.DataFrame":
    """Raw transactions: the columns ``RAW``, sorted by time, and maybe ``TX_FRAUD``, null where it is not told.

    Raises:
        UserError: a column is missing, or values are not of their kind.
    """
    import polars as pl

    if missing := [name for name in RAW if name not in rows.columns]:
        raise UserError(f"the transactions have no column {', '.join(missing)}; give the handbook's raw columns")
    labels = rows["TX_FRAUD"] if "TX_FRAUD" in rows.columns else pl.lit(None, pl.Int8)
    rows = rows.with_columns(TX_FRAUD=labels)
    known = rows.with_columns(pl.col("TX_FRAUD").fill_null(0))
    check(known)
    ids = rows["TRANSACTION_ID"]
    if not ids.dtype.is_integer() or ids.null_count() or ids.n_unique() < len(ids):
        raise UserError("TRANSACTION_ID must give each transaction an integer of its own")
    time, cents, _ = in_numbers(known)
    return pl.DataFrame(
        [
            ids.alias("id"), pl.Series("time", time), rows["CUSTOMER_ID"].alias("key_0"),
            rows["TERMINAL_ID"].alias("key_1"), pl.Series("number_0", cents),
        ]
    ).with_columns(pl.lit(None, pl.Int64).alias("known"), rows["TX_FRAUD"].cast(pl.Int8).alias("fraud"))  # fmt: skip


def in_numbers(table: "pl.DataFrame") -> Past:
    """Time, cents and label of a checked table's rows."""
    return Past(
        table["TX_DATETIME"].dt.epoch("us").to_numpy(),
        np.rint(table["TX_AMOUNT"].to_numpy().astype(np.float64) * 100).astype(np.int64),
        table["TX_FRAUD"].to_numpy().astype(np.int64),
    )


def in_cents(amount: float) -> int | None:
    """One amount in cents, or None where :func:`check` would refuse it."""
    return round(float(amount) * 100) if abs(amount) <= MOST_AMOUNT and _in_whole_cents(np.array(amount)) else None


def check(table: "pl.DataFrame") -> None:
    """Refuse what the sums below would silently get wrong."""
    import polars as pl

    for name in NEEDS:
        if empty := table[name].null_count():
            raise UserError(f"column {name} has no value in {empty} rows; fill them or leave the rows out")
    for name in ("CUSTOMER_ID", "TERMINAL_ID"):
        if not table[name].dtype.is_integer():
            raise UserError(f"column {name} is {table[name].dtype}; number the ids with integers")
    if not np.isin(table["TX_FRAUD"].to_numpy(), (0, 1)).all():
        raise UserError("column TX_FRAUD holds other values than 0 and 1; write 1 for fraud and 0 for the rest")
    if not isinstance(table["TX_DATETIME"].dtype, pl.Datetime):
        raise UserError(f"column TX_DATETIME is {table['TX_DATETIME'].dtype}; make it a date and time")
    if not table["TX_DATETIME"].is_sorted():
        raise UserError("rows are not sorted by TX_DATETIME; sort them by TX_DATETIME, TRANSACTION_ID")
    amount = table["TX_AMOUNT"].cast(pl.Float64).to_numpy()
    wrong = ~_in_whole_cents(amount)
    if wrong.any():
        raise UserError(
            f"TX_AMOUNT holds {table['TX_AMOUNT'][int(wrong.argmax())]}, which is not in whole cents or beyond "
            f"{MOST_AMOUNT:g}; round amounts to 2 decimals and leave out rows without one"
        )


def _in_whole_cents(amount: Array) -> Array:
    cents = amount * 100
    # Amounts of float32 columns miss whole cents by some 1e-7 of their value; NaN and infinity fail here too.
    with np.errstate(invalid="ignore"):
        return (np.abs(cents - np.rint(cents)) <= 0.1) & (np.abs(cents) <= 100 * MOST_AMOUNT)
