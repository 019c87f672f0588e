"""The Handbook's features of tables that tests make."""

from typing import Any

import polars as pl

from fraudlab.features import handbook
from fraudlab.features.contract import with_features
from fraudlab.features.history import HistoryFeatures
from fraudlab.schema import Column, TableSchema

RAW = ("TRANSACTION_ID", "TX_DATETIME", "CUSTOMER_ID", "TERMINAL_ID", "TX_AMOUNT")


def features(
    delay_days: int = 7, extended: bool = False, label_time: str | None = None, **changed: Any
) -> HistoryFeatures:
    """The book's 15 or, ``extended``, 23; or with settings that are ``changed``."""
    columns = (
        Column("TRANSACTION_ID", "integer", "id"),
        Column("TX_DATETIME", "datetime", "time"),
        Column("CUSTOMER_ID", "integer", "card"),
        Column("TERMINAL_ID", "integer", "terminal"),
        Column("TX_AMOUNT", "number", "amount"),
        Column("TX_FRAUD", "integer", "label"),
        *([Column(label_time, "datetime", "label_time")] if label_time else []),
    )
    given = {**handbook.settings(extended), "delay_days": delay_days, **changed}
    return HistoryFeatures(given, TableSchema("handbook", columns))


def of_table(frame: pl.DataFrame, made: HistoryFeatures | None = None) -> pl.DataFrame:
    """The table with its features."""
    return with_features(made or features(), frame.lazy())
