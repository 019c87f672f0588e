"""The file of a store: how it is made, written and read by several processes, and what is refused."""

import os
import signal
import sqlite3
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from fraudlab.errors import UserError
from fraudlab.serving.history import History, build
from tests.conftest import Command
from tests.support.handbook import RAW
from tests.support.histories import EXTENDED, RECORD, batch, empty, simulated


@pytest.fixture(scope="module")
def transactions() -> pl.DataFrame:
    return simulated()


WRITER = """
import sys
import polars as pl
from pathlib import Path
from fraudlab.features import handbook
from fraudlab.serving.history import History
from fraudlab.monitoring.labels import Label
store = History.open(Path(sys.argv[1]), handbook.of_raw_columns())
for row in pl.read_parquet(sys.argv[2]).iter_rows(named=True):
    store.add(row)
    store.tell([Label(row["TRANSACTION_ID"], None, None, bool(row["TX_FRAUD"]), "writer", None)])
    print(row["TRANSACTION_ID"], flush=True)
"""


def test_readers_see_whole_rows_while_a_writer_writes_and_dies(tmp_path: Path, transactions: pl.DataFrame) -> None:
    path = tmp_path / "history.sqlite"
    empty(path).close()
    transactions.write_parquet(tmp_path / "rows.parquet")
    readers = [History.open(path, EXTENDED) for _ in range(2)]
    command = [sys.executable, "-c", WRITER, str(path), str(tmp_path / "rows.parquet")]
    rows, expected = transactions.to_dicts(), batch(EXTENDED, transactions)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout
        for number, line in zip(range(1, 600), writer.stdout, strict=False):
            assert int(line) == rows[number - 1]["TRANSACTION_ID"]
            assert readers[number % 2].features(rows[number - 1]) == expected[number - 1]
        os.kill(writer.pid, signal.SIGKILL)
    reader = History.open(path, EXTENDED)
    for row, features in zip(rows[:600], expected, strict=False):
        assert reader.features(row) == features
    assert sqlite3.connect(path).execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_the_command_makes_a_store_of_a_parquet_file(
    tmp_path: Path, command: Command, transactions: pl.DataFrame
) -> None:
    raw, out = tmp_path / "rows.parquet", tmp_path / "history.sqlite"
    ripe = pl.col("TX_DATETIME") < transactions["TX_DATETIME"][-1] - timedelta(days=7)
    transactions.with_columns(TX_FRAUD=pl.when(ripe).then("TX_FRAUD")).write_parquet(raw)
    done = command("history", f"transactions={raw}", f"out={out}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "10,000" in done.stdout
    store = History.open(out, EXTENDED)
    assert store.features(transactions[-1].to_dicts()[0]) == batch(EXTENDED, transactions)[-1]
    again = command("history", f"transactions={raw}", f"out={out}", cwd=tmp_path)
    assert (again.returncode, "exists; choose another file" in again.stderr) == (1, True)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (pl.col("TX_AMOUNT") * 1e15, "lower features.decimals"),
        (pl.lit(1).alias("TRANSACTION_ID"), "an id of its own"),
        (pl.lit(2).alias("TX_FRAUD"), "other values than 0 and 1"),
    ],
)
def test_a_table_that_the_batch_would_refuse_is_refused(
    tmp_path: Path, transactions: pl.DataFrame, change: pl.Expr, said: str
) -> None:
    with pytest.raises(UserError, match=said):
        build(tmp_path / "history.sqlite", transactions.with_columns(change))
    with pytest.raises(UserError, match="no column TX_AMOUNT"):
        build(tmp_path / "history.sqlite", transactions.drop("TX_AMOUNT"))
    assert list(tmp_path.iterdir()) == []


def test_other_files_are_no_history(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    with pytest.raises(UserError, match="no history at"):
        History.open(path, EXTENDED)
    path.write_text("plain text, longer than the header of an SQLite file, which has a hundred bytes" * 2)
    with pytest.raises(UserError, match="cannot be read as a history"):
        History.open(path, EXTENDED)
    path.unlink()
    sqlite3.connect(path).execute("CREATE TABLE other (id)").connection.close()
    with pytest.raises(UserError, match="is not a history of format 5; make one"):
        History.open(path, EXTENDED)


def test_reading_a_record_needs_no_polars() -> None:
    program = "import sys, fraudlab.serving.history; assert 'polars' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
    assert tuple(RECORD) == RAW


def test_a_store_whose_keys_are_integers_as_the_handbooks_were(tmp_path: Path, transactions: pl.DataFrame) -> None:
    path = tmp_path / "history.sqlite"
    build(path, transactions[:-1])
    with sqlite3.connect(path) as connection:  # as the fourth format had it
        connection.execute("UPDATE transactions SET key_0 = CAST(key_0 AS INTEGER), key_1 = CAST(key_1 AS INTEGER)")
        for change in ("DROP TABLE pages", "ALTER TABLE gone RENAME TO forgotten", "PRAGMA user_version = 4"):
            connection.execute(change)
    connection.close()
    goes_on(path, transactions)


# Keys and amounts as the first two formats had them: columns of integers, which make integers of texts, too.
OLD = """
    CREATE TABLE transactions (id INTEGER PRIMARY KEY, time INTEGER NOT NULL, customer INTEGER NOT NULL,
                               terminal INTEGER NOT NULL, cents INTEGER NOT NULL, fraud INTEGER);
    CREATE INDEX by_customer ON transactions (customer, time);
    CREATE INDEX by_terminal ON transactions (terminal, time);
"""
SINCE_2 = """
    CREATE TABLE labels (id INTEGER NOT NULL, event_time INTEGER NOT NULL, source TEXT NOT NULL, fraud INTEGER,
                         PRIMARY KEY (id, event_time, source)) WITHOUT ROWID;
    CREATE TABLE requests (request_id TEXT NOT NULL, position INTEGER NOT NULL, id INTEGER,
                           PRIMARY KEY (request_id, position)) WITHOUT ROWID;
    CREATE TABLE forgotten (time INTEGER);
    INSERT INTO forgotten VALUES (NULL);
    CREATE INDEX by_time ON transactions (time);
    CREATE INDEX requests_by_id ON requests (id);
"""


@pytest.mark.parametrize("version", [1, 2])
def test_a_store_of_the_first_formats_is_taken_over(tmp_path: Path, transactions: pl.DataFrame, version: int) -> None:
    path = tmp_path / "history.sqlite"
    cents = (pl.col("TX_AMOUNT") * 100).round().cast(pl.Int64)
    when = pl.col("TX_DATETIME").cast(pl.Datetime("us")).cast(pl.Int64)
    keys = (pl.col(name).cast(pl.Int64) for name in ("CUSTOMER_ID", "TERMINAL_ID"))
    rows = transactions[:-1].select("TRANSACTION_ID", when, *keys, cents, "TX_FRAUD").rows()
    with sqlite3.connect(path) as connection:
        connection.executescript(f"{OLD} {SINCE_2 if version == 2 else ''} PRAGMA user_version = {version};")
        connection.executemany("INSERT INTO transactions VALUES (?, ?, ?, ?, ?, ?)", rows)
    connection.close()
    goes_on(path, transactions)


def goes_on(path: Path, transactions: pl.DataFrame) -> None:
    """The store at ``path`` has all but the last of the transactions: the last is looked up, added once, and seen."""
    store, newest = History.open(path, EXTENDED), transactions[-1].to_dicts()[0]
    assert store.features(newest) == batch(EXTENDED, transactions)[-1]
    for _ in range(2):
        store.add(newest)
    later = {**newest, "TRANSACTION_ID": 10**6}
    assert (
        store.features(later)["CUSTOMER_ID_NB_TX_30DAY_WINDOW"]
        == 1 + store.features(newest)["CUSTOMER_ID_NB_TX_30DAY_WINDOW"]
    )
