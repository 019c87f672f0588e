"""What a store takes back: rows and labels of requests that fail, persons; and nothing of anybody else."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import redis

from fraudlab.bundle.contract import Refused
from fraudlab.errors import UserError
from fraudlab.monitoring.labels import Label
from fraudlab.serving.history import History, build, erase, sqlite_file
from tests.serving.conftest import Place
from tests.support.histories import EXTENDED, RECORD, batch, empty, label
from tests.support.redis_server import RedisServer

START = datetime(2024, 1, 1)
COUNT = "CUSTOMER_ID_NB_TX_30DAY_WINDOW"
FRAUDS = "CUSTOMER_ID_NB_FRAUD_14DAY_WINDOW"


def row(number: int, day: float, customer: int = 701, terminal: int = 702) -> dict[str, Any]:
    when = START + timedelta(days=day)
    return {**RECORD, "TRANSACTION_ID": number, "TX_DATETIME": when, "CUSTOMER_ID": customer, "TERMINAL_ID": terminal}


def place_of(request: str, position: int = 0) -> Label:
    return Label(None, request, position, True, "test", None)


def contents(server: RedisServer, name: str) -> dict[bytes, bytes]:
    client = redis.Redis(port=server.port)
    return {key: client.dump(key) for key in client.scan_iter(f"{name}:*", count=1000)}  # type: ignore[misc]


def long_past(address: str) -> History:
    """Customer 701 has two rows of long ago, which are due to be forgotten after 200 of others, and two newer ones."""
    store = empty(address)
    for number in range(200):
        store.add(row(1000 + number, 1 + number / 20, customer=2 + number % 50, terminal=3))
    for number, day in enumerate((0.1, 20, 175, 185)):
        store.add(row(number, day))
    for number in (10, 11):
        store.add(row(number, 200))
    return store


def test_a_label_of_a_row_of_long_ago_changes_no_other_row(place: Place) -> None:
    store = long_past(place())
    asked = row(99, 200.5)
    before = store.features(asked)
    store.tell([label(1, 1)], skip_unknown=True)  # SQLite may have forgotten it
    assert store.features(asked) == before
    last = pl.DataFrame([row(number, day) for number, day in ((2, 175), (3, 185), (10, 200), (11, 200), (99, 200.5))])
    assert before == batch(EXTENDED, last.with_columns(TX_FRAUD=pl.lit(0)))[-1]


def test_a_person_is_erased_with_rows_of_long_ago_and_nobody_else(redis_server: RedisServer) -> None:
    store = long_past(redis_server.url("long_past"))
    assert store.features(row(99, 200.5))[COUNT] == 5.0
    assert erase(redis_server.url("long_past"), ["701"]) == 6 - 1  # the row of day 0.1 is forgotten
    assert b"long_past:k1:701" not in contents(redis_server, "long_past")
    assert store.features(row(99, 200.5))[COUNT] == 1.0


def test_erasing_one_row_of_long_ago_leaves_the_others(place: Place) -> None:
    store = long_past(address := place())
    before = store.features(row(99, 200.5))
    erase(address, ["0", "1"])
    assert store.features(row(99, 200.5)) == before


def test_a_person_has_no_key_left_once_the_rows_are_forgotten(redis_server: RedisServer) -> None:
    """The last row of three is there; its records are not copied before half of them can go."""
    url = redis_server.url("few")
    store = empty(url)
    for number, day in enumerate((0, 150, 151, 152)):
        store.add(row(number, day, terminal=number))
    store.add(row(9, 200, customer=5, terminal=9))
    client = redis.Redis(port=redis_server.port)
    assert client.strlen("few:k1:701") > 0
    assert erase(url, ["701"]) == 3
    assert client.exists("few:k1:701") == 0


def test_integer_ids_of_19_digits_are_erased(place: Place) -> None:
    store = empty(address := place())
    largest, smallest = 2**63 - 1, -(2**63)
    for number in (largest, smallest, 7):
        store.add(row(number, 1))
    assert erase(address, [str(largest), str(smallest), str(2**63), "007", "-0"]) == 2
    assert store.features(row(9, 2))[COUNT] == 2.0


@contextmanager
def failing(store: History) -> Iterator[None]:
    with suppress(ZeroDivisionError), store.transaction():
        yield
        raise ZeroDivisionError


def fail(store: History, records: list[dict[str, Any]], request: str, labels: list[Label] | None = None) -> None:
    with failing(store):
        store.features_and_add([(each, request, position) for position, each in enumerate(records)])
        store.tell(labels or [])


def test_a_failed_request_moves_no_clock_and_forgets_nothing(redis_server: RedisServer) -> None:
    store = empty(redis_server.url("clock"))
    for number in range(20):
        store.add(row(number, number / 20), f"request-{number}")
    before = contents(redis_server, "clock")
    fail(store, [row(100, 300), row(101, 0.5, customer=4), row(101, 0.5, customer=4)], "request-3")
    after = contents(redis_server, "clock")
    queue = b"clock:queue"  # it may name a day without a row
    assert {**after, queue: b""} == {**before, queue: b""}
    with store.transaction():  # and one that does not fail does both, at the next one
        store.add(row(100, 300))
    store.add(row(102, 300))
    assert b"clock:forgotten" in contents(redis_server, "clock")


def test_a_row_that_another_request_sent_meanwhile_stays(redis_server: RedisServer) -> None:
    url = redis_server.url("meanwhile")
    first, second = empty(url), History.open(url, EXTENDED)
    with failing(first):
        first.features_and_add([(row(1, 1), "a", 0), (row(2, 1), "a", 1), (row(3, 1), "a", 2)])
        second.features_and_add([(row(1, 1), "b", 0)])
        second.tell([label(3, 1)])
        with failing(second):
            second.features_and_add([(row(2, 1), "b", 1)])
    assert second.features(row(9, 2))[COUNT] == 3.0  # with itself; that of 2 is gone
    assert second.tell([place_of("b"), place_of("a")]).new == 1  # one and the same row
    with pytest.raises(Refused, match="no position 1 of request a"):
        second.tell([place_of("a", 1)])


def test_a_row_goes_with_the_last_request_that_sent_it(redis_server: RedisServer) -> None:
    url = redis_server.url("both")
    first, second = empty(url), History.open(url, EXTENDED)
    before = contents(redis_server, "both")
    with failing(second):
        with failing(first):
            first.features_and_add([(row(1, 1), "a", 0)])
            second.features_and_add([(row(1, 1), "a", 0)])
        assert first.features(row(9, 2))[COUNT] == 2.0
    after = contents(redis_server, "both").keys() - before.keys()
    assert after <= {b"both:queue", b"both:labels", b"both:q:a"}  # a place of a row that is gone counts for none
    assert first.features(row(9, 2))[COUNT] == 1.0
    first.features_and_add([(row(2, 1), "a", 0)])
    assert first.tell([place_of("a")]).new == 1


def test_places_of_an_earlier_request_with_the_same_id_stay(place: Place) -> None:
    store = empty(place())
    store.features_and_add([(row(1, 1), "same", 0), (row(2, 1), "same", 1)])
    fail(store, [row(1, 1), row(3, 1), row(4, 1)], "same")
    assert store.tell([place_of("same"), place_of("same", 1)]).new == 2
    with pytest.raises(Refused, match="no position 2 of request same"):
        store.tell([place_of("same", 2)])
    assert store.tell([label(2, 1)]).new == 0  # that is the one at position 1


def test_labels_of_a_failed_batch_are_not_told(place: Place) -> None:
    store = empty(place())
    for number in (1, 2):
        store.add(row(number, 1))
    store.tell([label(2, 0, 5, "bank")])
    before = store.features(row(9, 9))
    fail(store, [row(3, 1)], "r", [label(1, 1), label(2, 1), label(3, 1)])
    assert store.features(row(9, 9)) == before
    assert before[FRAUDS] == 0.0
    assert store.tell([label(1, 1), label(2, 1)]).new == 2
    assert store.features(row(9, 9))[FRAUDS] == 2.0


def test_a_label_of_a_time_that_redis_has_not_refuses_all_of_them(redis_server: RedisServer) -> None:
    """It is the last of 1,100, which are written in two parts."""
    url = redis_server.url("beyond")
    rows = pl.DataFrame([row(number, number / 100) for number in range(1100)])
    build(url, rows.with_columns(TX_FRAUD=pl.lit(None, pl.Int8)))
    store, before = History.open(url, EXTENDED), contents(redis_server, "beyond")
    labels = [label(number, 1, 2**53 if number == 1099 else 5) for number in range(1100)]
    with pytest.raises(Refused, match="record 1099 field event_time: lies beyond"):
        store.tell(labels)
    assert contents(redis_server, "beyond") == before


def test_a_person_with_many_rows_is_erased_in_short_steps(redis_server: RedisServer) -> None:
    """Each row is also a terminal's, most of whose rows are of others."""
    url = redis_server.url("many")
    rows = pl.DataFrame([row(10_000 + n, n / 1000, 701 if n % 3 == 0 else n % 7, n % 4) for n in range(9000)])
    build(url, rows.with_columns(TX_FRAUD=pl.lit(None, pl.Int8)))
    client = redis.Redis(port=redis_server.port)
    client.config_set("slowlog-log-slower-than", 300_000)  # microseconds
    client.slowlog_reset()
    assert erase(url, ["701"]) == 3000
    assert client.slowlog_get() == []
    left = rows.filter(pl.col("CUSTOMER_ID") != 701)
    store, last = History.open(url, EXTENDED), left[-1].to_dicts()[0]
    assert store.features(last) == batch(EXTENDED, left.with_columns(TX_FRAUD=pl.lit(0)))[-1]


def test_the_log_of_an_sqlite_file_that_is_being_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_file, "_WAIT", 0.1)
    path = tmp_path / "history.sqlite"
    empty(path).close()
    store = History.open(path, EXTENDED)
    store.add({**row(123456789, 1), "CUSTOMER_ID": 987654321})
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM transactions").fetchall()
    with pytest.raises(UserError, match=r"1 transactions are out .*history.sqlite-wal still holds them"):
        erase(path, ["987654321"])
    reader.close()
    assert erase(path, ["987654321"]) == 0
    assert all(b"987654321" not in file.read_bytes() for file in tmp_path.iterdir())
