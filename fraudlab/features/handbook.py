"""The Fraud Detection Handbook's features (chapter 3) and eight more, as a definition of ``features=history``.

``conf/features/handbook.yaml`` shows the same definition. It stands here as well for what earlier versions wrote, whose
settings call it ``name: handbook`` and ``extended``.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fraudlab.schema import Column, TableSchema

if TYPE_CHECKING:
    from fraudlab.features.history import HistoryFeatures

WINDOWS = (1, 7, 30)  # days

BOOK = (
    "TX_AMOUNT",
    "TX_DURING_WEEKEND",
    "TX_DURING_NIGHT",
    *(f"CUSTOMER_ID_{kind}_{days}DAY_WINDOW" for days in WINDOWS for kind in ("NB_TX", "AVG_AMOUNT")),
    *(f"TERMINAL_ID_{kind}_{days}DAY_WINDOW" for days in WINDOWS for kind in ("NB_TX", "RISK")),
)
EXTENDED = (
    "TX_AMOUNT_OVER_CUSTOMER_AVG_30DAY",
    "TX_AMOUNT_OVER_CUSTOMER_AVG_7DAY",
    "TX_AMOUNT_OVER_CUSTOMER_MEDIAN_30DAY",
    "CUSTOMER_ID_MEDIAN_AMOUNT_30DAY_WINDOW",
    "CUSTOMER_ID_STD_AMOUNT_30DAY_WINDOW",
    "TX_HOUR",
    "CUSTOMER_ID_NB_FRAUD_14DAY_WINDOW",
    "CUSTOMER_ID_NB_FRAUD_30DAY_WINDOW",
)
_CUSTOMER: dict[str, Any] = {"keys": ["CUSTOMER_ID"], "own": True}
_TERMINAL: dict[str, Any] = {"keys": ["TERMINAL_ID"]}
_OF = {
    "count": [{**_CUSTOMER, "as": "CUSTOMER_ID_NB_TX_{days}DAY_WINDOW"}],
    "TX_AMOUNT": [
        {"aggregate": "mean", **_CUSTOMER, "as": "CUSTOMER_ID_AVG_AMOUNT_{days}DAY_WINDOW"},
        {"aggregate": "std", "windows": ["30d"], **_CUSTOMER, "empty": 0, "as": "CUSTOMER_ID_STD_AMOUNT_30DAY_WINDOW"},
        {"aggregate": "median", "windows": ["30d"], **_CUSTOMER, "as": "CUSTOMER_ID_MEDIAN_AMOUNT_30DAY_WINDOW"},
        *(
            {"aggregate": f"ratio_to_{what}", "windows": windows, **_CUSTOMER, "empty": 0, "as": f"TX_AMOUNT_OVER_{of}"}
            for what, windows, of in (
                ("mean", ["7d", "30d"], "CUSTOMER_AVG_{days}DAY"),
                ("median", ["30d"], "CUSTOMER_MEDIAN_30DAY"),
            )
        ),
    ],
    "time": [
        {"aggregate": "weekend", "as": "TX_DURING_WEEKEND"},
        {"aggregate": "night", "as": "TX_DURING_NIGHT"},
        {"aggregate": "hour", "as": "TX_HOUR"},
    ],
    "label": [
        {"aggregate": "known", **_TERMINAL, "as": "TERMINAL_ID_NB_TX_{days}DAY_WINDOW"},
        {"aggregate": "rate", **_TERMINAL, "empty": 0, "as": "TERMINAL_ID_RISK_{days}DAY_WINDOW"},
        {
            **{"aggregate": "count", "windows": ["14d", "30d"], "keys": ["CUSTOMER_ID"]},
            "as": "CUSTOMER_ID_NB_FRAUD_{days}DAY_WINDOW",
        },
    ],
}
_SCHEMA = TableSchema(
    "handbook",
    (
        Column("TRANSACTION_ID", "integer", "id"),
        Column("TX_DATETIME", "datetime", "time"),
        Column("CUSTOMER_ID", "integer", "card"),
        Column("TERMINAL_ID", "integer", "terminal"),
        Column("TX_AMOUNT", "number", "amount"),
        Column("TX_FRAUD", "integer", "label"),
    ),
)


def settings(extended: bool = False) -> dict[str, Any]:
    """What ``features=handbook``, or ``features=handbook_extended``, sets, without the encoder."""
    return {
        "name": "history",
        "keys": {name: [name] for name in ("CUSTOMER_ID", "TERMINAL_ID")},
        "windows": [f"{days}d" for days in WINDOWS],
        "of": _OF,
        "decimals": 2,
        "prior": 0.0,
        "columns": [*BOOK, *(EXTENDED if extended else ())],
        "leave_out": [],
    }


def upgraded(features: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of features that an earlier version wrote, as this one has them."""
    if features.get("name") != "handbook":
        return dict(features)
    others = {key: value for key, value in features.items() if key not in ("name", "extended")}
    return {**settings(features.get("extended", False)), **others}


def recorded(features: Mapping[str, Any], version: int, label_times: bool) -> list[Any]:
    """Settings and version of features by which recorded runs know their data again: those of :func:`upgraded` back."""
    plain = {key: value for key, value in features.items() if key != "columns" or value is not None}
    for extended in (False, True):
        if plain == {**settings(extended), "delay_days": plain.get("delay_days")}:
            old = {"name": "handbook", "extended": extended, "delay_days": plain["delay_days"]}
            return [old, 4 if label_times else 3]
    return [plain, version]


def of_raw_columns() -> "HistoryFeatures":
    """All 23 features of the Handbook's raw columns: what a history without a bundle is for."""
    from fraudlab.features.history import HistoryFeatures

    return HistoryFeatures({**settings(extended=True), "delay_days": 7}, _SCHEMA)
