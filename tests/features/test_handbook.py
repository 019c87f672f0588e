"""The book's features: equal to the book's own, equal to a plain reference, and blind to the future."""

import itertools
import statistics
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fraudlab.api import compose
from fraudlab.errors import UserError
from fraudlab.features.handbook import BOOK, EXTENDED
from fraudlab.features.registry import settings_of
from tests.support import handbook

SECOND = 1_000_000  # microseconds
DAY = 86400 * SECOND
# How times are spread: any second; few instants that many rows share; those, give or take a microsecond.
TIMES = {"second": (SECOND, 1), "instant": (DAY // 2, 1), "microsecond": (DAY // 2, 3)}


def table(rows: int, seed: int, times: str = "second", days: int = 60) -> pl.DataFrame:
    """Few customers and terminals, so that windows fill."""
    draw = np.random.default_rng(seed)
    unit, jitter = TIMES[times]
    instants = np.sort(draw.integers(0, days * DAY // unit, rows) * unit + draw.integers(0, jitter, rows))
    return pl.DataFrame(
        {
            "TRANSACTION_ID": np.arange(rows),
            "TX_DATETIME": [datetime(2020, 1, 1) + timedelta(microseconds=int(i)) for i in instants],
            "CUSTOMER_ID": draw.integers(0, 3, rows),
            "TERMINAL_ID": draw.integers(0, 3, rows),
            "TX_AMOUNT": np.round(draw.gamma(2.0, 30.0, rows), 2),
            "TX_FRAUD": (draw.random(rows) < 0.3).astype(np.int8),
        }
    )


def features(frame: pl.DataFrame, delay_days: int = 7) -> pl.DataFrame:
    return handbook.of_table(frame, handbook.features(delay_days, extended=True)).select(BOOK + EXTENDED)


def by_hand(frame: pl.DataFrame, row: int, delay: int) -> dict[str, float]:
    """The definitions, one row at a time."""
    rows = frame.to_dicts()
    me = rows[row]

    def window(key: str, others: list[dict], newer: int, older: int) -> list[dict]:
        ages = ((other, me["TX_DATETIME"] - other["TX_DATETIME"]) for other in others if other[key] == me[key])
        return [other for other, age in ages if timedelta(days=newer) <= age < timedelta(days=older)]

    def amounts(days: int) -> list[float]:
        return [o["TX_AMOUNT"] for o in window("CUSTOMER_ID", rows[: row + 1], 0, days)]

    def frauds(key: str, days: int) -> list[int]:
        return [o["TX_FRAUD"] for o in window(key, rows[:row], delay, delay + days)]

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


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), delay=st.sampled_from([0, 1, 7, 10, 50, 400]), times=st.sampled_from(sorted(TIMES)))
def test_equal_to_the_definitions(seed: int, delay: int, times: str) -> None:
    frame = table(60, seed, times)
    for row, found in enumerate(features(frame, delay).to_dicts()):
        assert found == pytest.approx(by_hand(frame, row, delay), rel=1e-9, abs=1e-7)


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    present=st.integers(0, 119),
    delay=st.sampled_from([0, 1, 7]),
    times=st.sampled_from(sorted(TIMES)),
    extra=st.integers(0, 20),
)
def test_nothing_in_the_future_moves_a_feature(seed: int, present: int, delay: int, times: str, extra: int) -> None:
    """After ``present`` everything is another table, or nothing; labels not known by then are turned round."""
    frame, other = table(120, seed, times), table(120 + extra, seed + 1, times)
    expected = features(frame, delay)[: present + 1]
    now = frame["TX_DATETIME"][present]
    unknown = (pl.col("TX_DATETIME") > now - timedelta(days=delay)) | (pl.col("TRANSACTION_ID") == present)
    past = frame[: present + 1].with_columns(
        TX_FRAUD=pl.when(unknown).then(1 - pl.col("TX_FRAUD")).otherwise("TX_FRAUD")
    )
    assert features(past, delay).equals(expected)
    changed = pl.concat([past, other.filter(pl.col("TX_DATETIME") >= now)])
    assert features(changed, delay)[: present + 1].equals(expected)


def test_equal_to_the_books_own_on_every_row(shared_data: Path) -> None:
    transactions = pl.read_parquet(shared_data / "handbook" / "transactions.parquet")
    book = pl.read_parquet(shared_data / "handbook" / "book_features_0725_0814.parquet").sort("TRANSACTION_ID")
    ours = handbook.of_table(transactions)
    ours = ours.join(book.select(pl.col("TRANSACTION_ID").cast(pl.Int32)), on="TRANSACTION_ID").sort("TRANSACTION_ID")
    assert ours["TRANSACTION_ID"].equals(book["TRANSACTION_ID"].cast(pl.Int32))
    assert len(book) == 201_295
    for name in BOOK:
        assert np.allclose(ours[name].to_numpy(), book[name].cast(pl.Float64).to_numpy(), rtol=0, atol=1e-9), name


def test_the_terminals_run_and_the_cards_genuine_amounts_come_after_the_23() -> None:
    preset = settings_of(compose("features=handbook_history").features, 7)
    made = handbook.features(**preset, limits={"TX_AMOUNT <": 100.0})
    frame = table(300, seed=5)
    found = handbook.of_table(frame, made).select(made.numeric)
    assert found.columns[: len(BOOK + EXTENDED)] == [*BOOK, *EXTENDED]
    assert found.select(BOOK + EXTENDED).equals(features(frame))
    rows, opened = frame.to_dicts(), 0
    for row, me in enumerate(rows):
        known = [r for r in rows[:row] if me["TX_DATETIME"] - r["TX_DATETIME"] >= timedelta(days=7)]
        told = [r for r in known if r["TERMINAL_ID"] == me["TERMINAL_ID"] and r["TX_AMOUNT"] < 100]
        run = list(itertools.takewhile(lambda r: r["TX_FRAUD"], reversed(told)))
        opened += len(run) > 1
        age = (me["TX_DATETIME"] - run[-1]["TX_DATETIME"]) / timedelta(days=1) if run else 90
        since = itertools.dropwhile(lambda r: not r["TX_FRAUD"], reversed(told))
        last = len(list(itertools.takewhile(lambda r: r["TX_FRAUD"], since)))
        amounts = [
            r["TX_AMOUNT"]
            for r in known
            if r["CUSTOMER_ID"] == me["CUSTOMER_ID"] and not r["TX_FRAUD"]
            if me["TX_DATETIME"] - r["TX_DATETIME"] < timedelta(days=37)
        ]
        ratio = me["TX_AMOUNT"] / statistics.fmean(amounts) if amounts else 1
        names = ("TERMINAL_ID_RUN_LENGTH", "TERMINAL_ID_OPEN_RUN_AGE", "TX_AMOUNT_OVER_CUSTOMER_GENUINE_AVG_30DAY")
        assert [found[name][row] for name in names] == pytest.approx([last, age, ratio], rel=1e-12)
    assert opened > 5


def test_rows_and_columns_stay() -> None:
    frame = table(50, 0)
    found = handbook.of_table(frame)
    assert found.select(frame.columns).equals(frame)
    assert handbook.features().numeric == BOOK
    assert (len(BOOK), len(EXTENDED)) == (15, 8)
    assert handbook.of_table(frame[:0], handbook.features(extended=True)).shape[0] == 0


def test_types_of_the_columns_do_not_matter() -> None:
    frame = table(50, 0).with_columns(pl.col("TX_AMOUNT").round(0))
    for amount, label, time in ((pl.Int32, pl.Boolean, "ns"), (pl.Float32, pl.Float64, "ms")):
        other = frame.with_columns(
            pl.col("TX_AMOUNT").cast(amount),
            pl.col("TX_FRAUD").cast(label),
            pl.col("TX_DATETIME").dt.cast_time_unit(time),
        )
        assert features(other).drop("TX_AMOUNT").equals(features(frame).drop("TX_AMOUNT"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"TX_AMOUNT": 1e15}, "column TX_AMOUNT is 1e[+]15, beyond"),
        ({"TX_AMOUNT": 5e13}, "too large for exact sums"),
        ({"TX_DATETIME": None}, "TX_DATETIME has no value in 50 rows"),
    ],
)
def test_values_it_cannot_sum_are_refused(change: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        features(table(50, 0).with_columns(**{name: pl.lit(value) for name, value in change.items()}))


def test_unsorted_rows_are_refused() -> None:
    with pytest.raises(UserError, match="not sorted by TX_DATETIME"):
        features(table(50, 0)[::-1])
