"""The book's features: equal to the book's own, equal to a plain reference, and blind to the future."""

import statistics
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fraudlab.features.handbook import BOOK, EXTENDED, HandbookFeatures

DAY = 86400


def table(rows: int, seed: int, days: int = 60, coarse: bool = False) -> pl.DataFrame:
    """Few customers and terminals, so that windows fill; ``coarse`` makes many rows fall on one second."""
    draw = np.random.default_rng(seed)
    unit = DAY // 2 if coarse else 1
    seconds = np.sort(draw.integers(0, days * DAY // unit, rows)) * unit
    return pl.DataFrame(
        {
            "TRANSACTION_ID": np.arange(rows),
            "TX_DATETIME": [datetime(2020, 1, 1) + timedelta(seconds=int(s)) for s in seconds],
            "CUSTOMER_ID": draw.integers(0, 3, rows),
            "TERMINAL_ID": draw.integers(0, 3, rows),
            "TX_AMOUNT": np.round(draw.gamma(2.0, 30.0, rows), 2),
            "TX_FRAUD": (draw.random(rows) < 0.3).astype(np.int8),
        }
    )


def features(frame: pl.DataFrame, delay_days: int = 7) -> pl.DataFrame:
    return HandbookFeatures(delay_days, extended=True).apply(frame.lazy()).collect().select(BOOK + EXTENDED)


def by_hand(frame: pl.DataFrame, row: int, delay: int) -> dict[str, float]:
    """The definitions, one row at a time."""
    rows = frame.to_dicts()
    me = rows[row]
    age = [(me["TX_DATETIME"] - other["TX_DATETIME"]).total_seconds() / DAY for other in rows[: row + 1]]

    def window(key: str, newer: float, older: float) -> list[dict]:
        return [o for o, a in zip(rows[: row + 1], age, strict=True) if o[key] == me[key] and newer <= a < older]

    def amounts(days: int) -> list[float]:
        return [o["TX_AMOUNT"] for o in window("CUSTOMER_ID", 0, days)]

    def frauds(key: str, days: int) -> list[int]:
        return [o["TX_FRAUD"] for o in window(key, delay, delay + days)]

    found = {
        "TX_AMOUNT": me["TX_AMOUNT"],
        "TX_DURING_WEEKEND": float(me["TX_DATETIME"].weekday() >= 5),
        "TX_DURING_NIGHT": float(me["TX_DATETIME"].hour <= 6),
        "TX_HOUR": float(me["TX_DATETIME"].hour),
        "TX_AMOUNT_OVER_CUSTOMER_AVG_30DAY": me["TX_AMOUNT"] / statistics.fmean(amounts(30)),
        "TX_AMOUNT_OVER_CUSTOMER_AVG_7DAY": me["TX_AMOUNT"] / statistics.fmean(amounts(7)),
        "TX_AMOUNT_OVER_CUSTOMER_MEDIAN_30DAY": me["TX_AMOUNT"] / statistics.median(amounts(30)),
        "CUSTOMER_ID_MEDIAN_AMOUNT_30DAY_WINDOW": statistics.median(amounts(30)),
        "CUSTOMER_ID_STD_AMOUNT_30DAY_WINDOW": statistics.stdev(amounts(30)) if len(amounts(30)) > 1 else 0.0,
    }
    for days in (1, 7, 30):
        known = frauds("TERMINAL_ID", days)
        found[f"CUSTOMER_ID_NB_TX_{days}DAY_WINDOW"] = len(amounts(days))
        found[f"CUSTOMER_ID_AVG_AMOUNT_{days}DAY_WINDOW"] = statistics.fmean(amounts(days))
        found[f"TERMINAL_ID_NB_TX_{days}DAY_WINDOW"] = len(known)
        found[f"TERMINAL_ID_RISK_{days}DAY_WINDOW"] = statistics.fmean(known) if known else 0.0
    for days in (14, 30):
        found[f"CUSTOMER_ID_NB_FRAUD_{days}DAY_WINDOW"] = sum(frauds("CUSTOMER_ID", days))
    return found


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), delay=st.integers(0, 10), coarse=st.booleans())
def test_equal_to_the_definitions(seed: int, delay: int, coarse: bool) -> None:
    frame = table(80, seed, coarse=coarse)
    found = features(frame, delay).to_dicts()
    for row in range(0, len(frame), 3):
        assert found[row] == pytest.approx(by_hand(frame, row, delay), rel=1e-9, abs=1e-7)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), present=st.integers(0, 119), coarse=st.booleans(), extra=st.integers(0, 20))
def test_nothing_in_the_future_moves_a_feature(seed: int, present: int, coarse: bool, extra: int) -> None:
    """After ``present`` everything is another table; labels younger than the delay are turned round."""
    frame, other = table(120, seed, coarse=coarse), table(120 + extra, seed + 1, coarse=coarse)
    now = frame["TX_DATETIME"][present]
    young = pl.col("TX_DATETIME") > now - timedelta(days=7)
    past = frame[: present + 1].with_columns(TX_FRAUD=pl.when(young).then(1 - pl.col("TX_FRAUD")).otherwise("TX_FRAUD"))
    changed = pl.concat([past, other.filter(pl.col("TX_DATETIME") >= now)])
    assert features(changed)[present].equals(features(frame)[present])
    truncated = features(frame[: present + 1])
    assert truncated.equals(features(frame)[: present + 1])


def test_equal_to_the_books_own_on_every_row(shared_data: Path) -> None:
    transactions = pl.read_parquet(shared_data / "handbook" / "transactions.parquet")
    book = pl.read_parquet(shared_data / "handbook" / "book_features_0725_0814.parquet").sort("TRANSACTION_ID")
    ours = HandbookFeatures().apply(transactions.lazy()).collect()
    ours = ours.join(book.select(pl.col("TRANSACTION_ID").cast(pl.Int32)), on="TRANSACTION_ID").sort("TRANSACTION_ID")
    assert ours["TRANSACTION_ID"].equals(book["TRANSACTION_ID"].cast(pl.Int32))
    assert len(book) == 201_295
    for name in BOOK:
        assert np.allclose(ours[name].to_numpy(), book[name].cast(pl.Float64).to_numpy(), rtol=0, atol=1e-9), name


def test_rows_and_columns_stay() -> None:
    frame = table(50, 0)
    found = HandbookFeatures().apply(frame.lazy()).collect()
    assert found.select(frame.columns).equals(frame)
    assert HandbookFeatures().numeric == BOOK
    assert (len(BOOK), len(EXTENDED)) == (15, 8)
    assert HandbookFeatures(extended=True).apply(frame[:0].lazy()).collect().shape[0] == 0
