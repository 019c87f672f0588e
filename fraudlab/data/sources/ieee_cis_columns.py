"""The columns of Kaggle's IEEE-CIS Fraud Detection: names and types of both files, and the role of each.

The types are the smallest that hold every value Kaggle ships exactly. Whole numbers keep a float type where Kaggle
writes them as ``150.0`` or leaves some out; they and the counts lie far below 2**24, where Float32 is exact.
"""

from datetime import date

import polars as pl

from fraudlab.schema import Column, ColumnType, Role, TableSchema

START = date(2017, 11, 30)  # the day from which TransactionDT is taken to count; Kaggle does not say
SIMULATED = "SIMULATED"  # a file of this name in a folder marks its tables as made up
CLIENT = "client"
ADDR1_LIMIT = 1000  # of addr1, so that client tells card1 and addr1 apart

_FLOAT32, _FLOAT64 = pl.Float32(), pl.Float64()


def _numbered(letter: str, last: int, first: int = 1) -> list[str]:
    return [f"{letter}{number}" for number in range(first, last + 1)]


COUNTS = _numbered("C", 14)
DELAYS = _numbered("D", 15)
MATCHES = _numbered("M", 9)
VESTA = _numbered("V", 339)

# Amounts of money and their sums, and fractions of a day: these have decimals that Float32 would round.
_MONEY = {
    name
    for first, last in ((126, 137), (159, 166), (202, 216), (263, 278), (306, 321), (331, 339))
    for name in _numbered("V", last, first)
}
_DECIMAL = _MONEY | {"D8", "D9", "id_11"}


def _float(name: str) -> pl.DataType:
    return _FLOAT64 if name in _DECIMAL else _FLOAT32


TRANSACTION: dict[str, pl.DataType] = {
    "TransactionID": pl.Int32(),
    "isFraud": pl.Int8(),
    "TransactionDT": pl.Int32(),  # seconds
    "TransactionAmt": _FLOAT64,  # dollars
    "ProductCD": pl.String(),
    "card1": pl.Int32(),
    "card2": _FLOAT32,
    "card3": _FLOAT32,
    "card4": pl.String(),
    "card5": _FLOAT32,
    "card6": pl.String(),
    "addr1": _FLOAT32,
    "addr2": _FLOAT32,
    "dist1": _FLOAT32,
    "dist2": _FLOAT32,
    "P_emaildomain": pl.String(),
    "R_emaildomain": pl.String(),
    **{name: _float(name) for name in COUNTS + DELAYS},
    **dict.fromkeys(MATCHES, pl.String()),
    **{name: _float(name) for name in VESTA},
}
"""Columns of ``train_transaction``, in Kaggle's order."""

_IDS = [f"id_{number:02}" for number in range(1, 39)]
_IDS_OF_TEXT = {f"id_{number}" for number in (12, 15, 16, 23, 27, 28, 29, 30, 31, 33, 34, 35, 36, 37, 38)}

IDENTITY: dict[str, pl.DataType] = {
    "TransactionID": pl.Int32(),
    **{name: pl.String() if name in _IDS_OF_TEXT else _float(name) for name in _IDS},
    "DeviceType": pl.String(),
    "DeviceInfo": pl.String(),
}
"""Columns of ``train_identity``, in Kaggle's order; its test file writes ``id-01`` for ``id_01``."""

CATEGORICAL = (
    "ProductCD",
    *_numbered("card", 6),
    "addr1",
    "addr2",
    "P_emaildomain",
    "R_emaildomain",
    *MATCHES,
    *_IDS[11:],
    "DeviceType",
    "DeviceInfo",
)
"""What Kaggle's data page calls categorical, some of it written as numbers."""

NUMERIC = ("dist1", "dist2", *COUNTS, *DELAYS, *VESTA, *_IDS[:11])

REQUIRED = ("TransactionID", "isFraud", "TransactionDT", "TransactionAmt", "card1")
"""Columns without missing values."""

_ROLES: dict[str, Role] = {
    "TransactionID": "id",
    "isFraud": "label",
    "TransactionDT": "time",
    "TransactionAmt": "amount",
    CLIENT: "card",
    **dict.fromkeys(CATEGORICAL, "categorical"),
    **dict.fromkeys(NUMERIC, "numeric"),
}


def table_schema(name: str, simulated: bool) -> TableSchema:
    """Columns of the joined table: transaction, identity, then ``client``."""
    types = {**TRANSACTION, **IDENTITY, CLIENT: pl.Int32()}
    return TableSchema(
        name,
        tuple(
            Column(
                column,
                _column_type(dtype),
                _ROLES[column],
                nullable=column not in (*REQUIRED, CLIENT),
                minimum=0 if column in (*REQUIRED, CLIENT) else None,
                maximum=1 if column == "isFraud" else None,
            )
            for column, dtype in types.items()
        ),
        simulated,
    )


def _column_type(dtype: pl.DataType) -> ColumnType:
    if dtype == pl.String:
        return "string"
    return "integer" if dtype.is_integer() else "number"
