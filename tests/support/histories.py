"""Stores of transactions, and what the batch path makes of the same rows."""

from datetime import datetime
from pathlib import Path

import polars as pl

from fraudlab.config import HandbookConfig
from fraudlab.data.sources.handbook import simulate
from fraudlab.features.history import HistoryFeatures
from fraudlab.monitoring.labels import Label
from fraudlab.serving.history import History, build
from tests.support.handbook import features as features_of
from tests.support.handbook import of_table

EXTENDED = features_of(7, extended=True)
DAY = 86_400_000_000  # microseconds
RECORD = {
    "TRANSACTION_ID": 7,
    "TX_DATETIME": "2018-07-25T14:30:00",
    "CUSTOMER_ID": 1,
    "TERMINAL_ID": 2,
    "TX_AMOUNT": 12.34,
}


def empty(path: str | Path, features: HistoryFeatures = EXTENDED) -> History:
    build(path, pl.DataFrame({**RECORD, "TX_DATETIME": datetime(2018, 7, 25)})[:0])
    return History.open(path, features)


def label(transaction: int, fraud: int, event_time: int | None = None, source: str = "test") -> Label:
    return Label(transaction, None, None, bool(fraud), source, event_time)


def batch(features: HistoryFeatures, table: pl.DataFrame) -> list[dict[str, float]]:
    return of_table(table, features).select(features.computed).to_dicts()


def simulated() -> pl.DataFrame:
    """Simulated: 10,000 transactions of 120 customers at 300 terminals over some weeks."""
    return simulate(HandbookConfig(customers=120, terminals=300, radius=15.0, days=60))[:10_000]
