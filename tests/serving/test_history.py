"""The live store of transactions: features equal to the batch path's, bit for bit, whatever the order of events."""

import itertools
import random
import sqlite3
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fraudlab.bundle.contract import Refused
from fraudlab.errors import UserError
from fraudlab.serving.history import History
from tests.serving.conftest import Place
from tests.support.handbook import features as features_of
from tests.support.histories import DAY, EXTENDED, RECORD, batch, empty, label, simulated

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def transactions() -> pl.DataFrame:
    return simulated()


def test_a_replay_in_time_order_equals_the_batch_bit_for_bit(place: Place, transactions: pl.DataFrame) -> None:
    """Half of the labels are told at once, a week too early to count; half when they are due."""
    store = empty(address := place())
    rows, expected = transactions.to_dicts(), batch(EXTENDED, transactions)
    assert len(rows) == 10_000
    assert sum(row["TX_FRAUD"] for row in rows) > 50
    due = 0
    for row, features in itertools.islice(zip(rows, expected, strict=True), None if "sqlite" in address else 2_500):
        while rows[due]["TX_DATETIME"] <= row["TX_DATETIME"] - timedelta(days=7):
            if rows[due]["TRANSACTION_ID"] % 2:
                store.tell([label(rows[due]["TRANSACTION_ID"], rows[due]["TX_FRAUD"])])
            due += 1
        assert store.features(row) == features
        store.add(row)
        if row["TRANSACTION_ID"] % 2 == 0:
            store.tell([label(row["TRANSACTION_ID"], row["TX_FRAUD"])])


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    delay=st.sampled_from([0, 1, 7, 50]),
    extended=st.booleans(),
    unit=st.sampled_from([1_000_000, DAY // 2, DAY]),
    jitter=st.sampled_from([1, 3]),
)
def test_any_order_of_arrival_equals_the_batch(
    place: Place, seed: int, delay: int, extended: bool, unit: int, jitter: int
) -> None:
    """Rows that share instants or miss them by a microsecond; each asked for after all are in, and twice."""
    draw = np.random.default_rng(seed)
    instants = np.sort(draw.integers(0, 60 * DAY // unit, 80) * unit + draw.integers(0, jitter, 80))
    table = pl.DataFrame(
        {
            "TRANSACTION_ID": np.arange(80),
            "TX_DATETIME": [datetime(1969, 12, 1) + timedelta(microseconds=int(i)) for i in instants],
            "CUSTOMER_ID": draw.integers(0, 3, 80),
            "TERMINAL_ID": draw.integers(0, 3, 80),
            "TX_AMOUNT": np.round(draw.gamma(2.0, 30.0, 80) - 20, 2),
            "TX_FRAUD": draw.integers(0, 2, 80),
        }
    )
    features = features_of(delay, extended)
    store = empty(place(), features)
    rows = table.to_dicts()
    for row in random.Random(seed).sample(rows, len(rows)):
        store.add(row)
        store.tell([label(row["TRANSACTION_ID"], row["TX_FRAUD"])])
    expected = batch(features, table)
    assert [store.features({**row, "TX_DATETIME": row["TX_DATETIME"].isoformat()}) for row in rows] == expected
    assert [store.features(row) for row in rows] == expected


def test_a_label_that_nobody_told_is_no_fraud_and_a_later_word_counts(place: Place) -> None:
    store = empty(place())
    store.add(RECORD)
    later = {**RECORD, "TRANSACTION_ID": 8, "TX_DATETIME": datetime(2018, 8, 1, 14, 30)}

    def risk() -> tuple[float, float]:
        found = store.features(later)
        return found["TERMINAL_ID_NB_TX_1DAY_WINDOW"], found["TERMINAL_ID_RISK_1DAY_WINDOW"]

    assert risk() == (1.0, 0.0)
    store.tell([label(7, 1)])
    assert risk() == (1.0, 1.0)
    store.tell([label(7, 0)])
    assert risk() == (1.0, 0.0)


def test_the_same_transaction_twice_counts_once(place: Place) -> None:
    store = empty(place())
    store.add(RECORD)
    store.tell([label(7, 1)])
    before = store.features(RECORD)
    store.add(RECORD)
    later = {**RECORD, "TRANSACTION_ID": 8, "TX_DATETIME": "2018-08-02T00:00:00"}
    assert store.features(RECORD) == before
    assert before["CUSTOMER_ID_NB_TX_30DAY_WINDOW"] == 1.0
    assert store.features(later)["CUSTOMER_ID_NB_TX_30DAY_WINDOW"] == 2.0
    assert store.features(later)["CUSTOMER_ID_NB_FRAUD_14DAY_WINDOW"] == 1.0  # the label outlives the second add
    with pytest.raises(UserError, match="TRANSACTION_ID 7 stands for another"):
        store.add({**RECORD, "TX_AMOUNT": 12.35})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"TRANSACTION_ID": "7"}, "TRANSACTION_ID is '7'"),
        ({"TX_AMOUNT": 1e15}, "TX_AMOUNT is 1e[+]15"),
        ({"TX_AMOUNT": "12 euro"}, "TX_AMOUNT is '12 euro'"),
        ({"TX_DATETIME": None}, "TX_DATETIME is None"),
        ({"TX_DATETIME": "yesterday"}, "TX_DATETIME is 'yesterday'"),
    ],
)
def test_fields_of_another_kind_are_named(place: Place, change: dict, said: str) -> None:
    store = empty(place())
    for call in (store.features, store.add):
        with pytest.raises(UserError, match=said):
            call({**RECORD, **change})
    assert store.features({**RECORD, "TRANSACTION_ID": 9})["CUSTOMER_ID_NB_TX_1DAY_WINDOW"] == 1.0


def test_an_id_may_be_a_whole_float(place: Place) -> None:
    store = empty(place())
    store.add({**RECORD, "TRANSACTION_ID": 7.0, "CUSTOMER_ID": 1.0})
    store.add(RECORD)  # the same transaction
    assert store.features({**RECORD, "TRANSACTION_ID": 9})["CUSTOMER_ID_NB_TX_1DAY_WINDOW"] == 2.0


def test_labels_are_all_taken_or_none(place: Place) -> None:
    store = empty(place())
    store.add(RECORD)
    later = {**RECORD, "TRANSACTION_ID": 8, "TX_DATETIME": "2018-08-02T00:00:00"}
    with pytest.raises(Refused, match="record 1 field id: no transaction 9 in the history"):
        store.tell([label(7, 1), label(9, 1)])
    assert store.features(later)["CUSTOMER_ID_NB_FRAUD_14DAY_WINDOW"] == 0.0
    assert store.tell([label(7, 1), label(9, 1)], skip_unknown=True) == (1, 1)
    assert store.features(later)["CUSTOMER_ID_NB_FRAUD_14DAY_WINDOW"] == 1.0


def test_what_no_window_needs_is_forgotten_and_nothing_else(tmp_path: Path, transactions: pl.DataFrame) -> None:
    """Features stay those of the batch while the store forgets; a date far ahead does not wipe it out."""
    features = features_of(7, extended=True)
    table = pl.concat(
        transactions[:2000].with_columns(
            pl.col("TX_DATETIME") + timedelta(days=80 * part), pl.col("TRANSACTION_ID") + 100_000 * part
        )
        for part in range(3)
    ).sort("TX_DATETIME", "TRANSACTION_ID")
    path = tmp_path / "history.sqlite"
    store = empty(path, features)
    expected = batch(features, table)
    for number, row in enumerate(table.to_dicts()):
        assert store.features(row) == expected[number]
        store.add(row, f"request-{number}")
        store.tell([label(row["TRANSACTION_ID"], row["TX_FRAUD"])])
    connection = sqlite3.connect(path)
    newest, reach = table["TX_DATETIME"][-1], timedelta(days=7 + 30 + 30)
    needed = table.filter(pl.col("TX_DATETIME") > newest - reach)
    kept = {number for (number,) in connection.execute("SELECT id FROM transactions")}
    assert kept == set(needed["TRANSACTION_ID"].to_list())
    assert len(kept) < len(table) / 2
    for of_others in ("labels", "requests"):
        assert {number for (number,) in connection.execute(f"SELECT id FROM {of_others}")} <= kept
    with pytest.raises(UserError, match="TX_DATETIME is .*forgotten"):
        store.features({**table[0].to_dicts()[0], "TRANSACTION_ID": -1})


def test_a_date_far_ahead_does_not_wipe_out_the_past(place: Place) -> None:
    store = empty(place())
    now = datetime.now().replace(microsecond=0)
    for day in range(60):
        store.add({**RECORD, "TRANSACTION_ID": day, "TX_DATETIME": now - timedelta(days=day)})
    store.add({**RECORD, "TRANSACTION_ID": -1, "TX_DATETIME": "2200-01-01T00:00:00"})
    found = store.features({**RECORD, "TRANSACTION_ID": 99, "TX_DATETIME": now})
    assert found["CUSTOMER_ID_NB_TX_30DAY_WINDOW"] == 31.0


def test_a_store_of_the_first_format_is_taken_over(tmp_path: Path, transactions: pl.DataFrame) -> None:
    path = tmp_path / "history.sqlite"
    connection = sqlite3.connect(path)
    connection.executescript(
        """CREATE TABLE transactions (id INTEGER PRIMARY KEY, time INTEGER NOT NULL, customer INTEGER NOT NULL,
           terminal INTEGER NOT NULL, cents INTEGER NOT NULL, fraud INTEGER); PRAGMA user_version = 1;
           CREATE INDEX by_customer ON transactions (customer, time);
           CREATE INDEX by_terminal ON transactions (terminal, time)"""
    )
    rows = transactions[:-1].select(
        "TRANSACTION_ID", pl.col("TX_DATETIME").dt.epoch("us"), "CUSTOMER_ID", "TERMINAL_ID",
        (pl.col("TX_AMOUNT") * 100).round().cast(pl.Int64), pl.col("TX_FRAUD").cast(pl.Int64),
    )  # fmt: skip
    connection.executemany("INSERT INTO transactions VALUES (?, ?, ?, ?, ?, ?)", rows.iter_rows())
    connection.commit()
    connection.close()
    path.chmod(0o600)
    for _ in range(2):
        store = History.open(path, EXTENDED)
    assert store.features(transactions[-1].to_dicts()[0]) == batch(EXTENDED, transactions)[-1]
    assert store.tell([label(transactions["TRANSACTION_ID"][0], 1)]).new == 1
    assert path.stat().st_mode & 0o777 == 0o600
    empty(tmp_path / "new.sqlite").close()
    taken_over, new = (indexes(tmp_path / name) for name in ("history.sqlite", "new.sqlite"))
    assert taken_over == new


@pytest.mark.parametrize("version", [3, 4])
def test_a_store_that_an_earlier_version_took_over_is_as_a_new_one(tmp_path: Path, version: int) -> None:
    """Up to format 3 such a store kept the indexes of its first format."""
    path = tmp_path / "history.sqlite"
    empty(path).close()
    new = indexes(path)
    connection = sqlite3.connect(path)
    connection.execute("DROP TABLE pages")
    connection.execute("ALTER TABLE gone RENAME TO forgotten")
    for position, name in enumerate(("by_customer", "by_terminal") if version == 3 else ("by_key_0", "by_key_1")):
        connection.execute(f"CREATE INDEX {name} ON transactions (key_{position}, time)")
    connection.execute(f"PRAGMA user_version = {version}")
    connection.commit()
    connection.close()
    History.open(path, EXTENDED).add(RECORD)
    assert indexes(path) == new


def indexes(path: Path) -> set[tuple[str, str]]:
    query = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
    return set(sqlite3.connect(path).execute(query))
