"""A history in Redis, beyond what holds in every store: several writers, forgetting, failures, set-up."""

import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
import redis

from fraudlab.errors import UserError
from fraudlab.serving.history import History, build, erase
from fraudlab.serving.history.redis import Address
from fraudlab.serving.history.redis_script import Script
from fraudlab.serving.history.store import StoreAway
from tests.conftest import Command
from tests.support.histories import EXTENDED, RECORD, batch, empty, label, simulated
from tests.support.redis_server import PROGRAM, RedisServer
from tests.support.server import free_port

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="no Redis here: apt-get install redis-server")


@pytest.fixture(scope="module")
def transactions() -> pl.DataFrame:
    return simulated()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[RedisServer]:
    """A server that a test may kill or flush."""
    with RedisServer(tmp_path) as server:
        yield server


def contents(server: RedisServer, prefix: str) -> dict[bytes, bytes]:
    client = redis.Redis(port=server.port)
    return {key: client.dump(key) for key in client.scan_iter(f"{prefix}:*", count=1000)}  # type: ignore[misc]


def test_writers_at_once_leave_what_one_after_the_other_does(
    redis_server: RedisServer, transactions: pl.DataFrame
) -> None:
    """Four connections add the same table, each in another order and every row twice over all of them."""
    url = redis_server.url("writers")
    empty(url).close()
    rows = transactions[:600].to_dicts()
    expected = batch(EXTENDED, transactions[:600])

    def write(number: int) -> None:
        store = History.open(url, EXTENDED)
        for row in rows[number // 2 :: 2][:: 1 if number % 2 else -1]:
            store.features_and_add([(row, None, 0)])
            store.tell([label(row["TRANSACTION_ID"], row["TX_FRAUD"], 1)])

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store = History.open(url, EXTENDED)
    assert [store.features(row) for row in rows] == expected


def test_what_fails_leaves_nothing_behind(redis_server: RedisServer, transactions: pl.DataFrame) -> None:
    url = redis_server.url("undone")
    store = empty(url)
    rows = transactions[:60].to_dicts()
    for row in rows[:50]:
        store.add(row, "request", row["TRANSACTION_ID"])
    before = contents(redis_server, "undone")

    def fail(number: int) -> None:
        with store.transaction():
            store.features_and_add([(row, f"other-{number}", place) for place, row in enumerate(rows[40:])])
            raise ZeroDivisionError

    for number in range(2):
        with pytest.raises(ZeroDivisionError):
            fail(number)
    after = contents(redis_server, "undone")
    for changed in (before, after):
        changed.pop(b"undone:newest")
    assert {key for key in after if after[key] != before.get(key)} <= {b"undone:queue"}  # days without a row
    expected = batch(EXTENDED, transactions[:60])
    assert [store.features(row) for row in rows[:51]] == expected[:51]
    with pytest.raises(UserError, match="TRANSACTION_ID .* stands for another"):  # and nor does what is refused
        store.features_and_add([(rows[51], None, 0), ({**rows[0], "TX_AMOUNT": 0.5}, None, 1)])
    assert store.features(rows[52]) == batch(EXTENDED, transactions[:51].vstack(transactions[52:53]))[-1]


def test_what_no_window_needs_is_forgotten(redis_server: RedisServer, transactions: pl.DataFrame) -> None:
    features = EXTENDED
    table = pl.concat(
        transactions[:500].with_columns(
            pl.col("TX_DATETIME") + timedelta(days=80 * part), pl.col("TRANSACTION_ID") + 100_000 * part
        )
        for part in range(3)
    )
    store = empty(redis_server.url("forgets"), features)
    for row, found in zip(table.to_dicts(), batch(features, table), strict=True):
        assert store.features(row) == found
        store.add(row, f"request-{row['TRANSACTION_ID']}")
        store.tell([label(row["TRANSACTION_ID"], row["TX_FRAUD"])])
    kept = [name.split(b":")[1] for name in contents(redis_server, "forgets")]
    assert kept.count(b"t") == kept.count(b"l") == 500
    client = redis.Redis(port=redis_server.port)
    events = sum(client.strlen(name) for name in client.scan_iter("forgets:k1:*")) / 33  # type: ignore[misc]
    assert 500 <= events <= 1000  # what is forgotten is half of a key's string at most
    ends_in = client.ttl("forgets:q:request-7")
    assert 66 * 86_400 < ends_in <= 67 * 86_400
    with pytest.raises(UserError, match=r"TX_DATETIME is .*forgotten"):
        store.features({**table[0].to_dicts()[0], "TRANSACTION_ID": -1})


def test_the_commands_make_a_history_and_tell_it_labels(
    redis_server: RedisServer, tmp_path: Path, command: Command, transactions: pl.DataFrame
) -> None:
    url, raw = redis_server.url("made"), tmp_path / "rows.parquet"
    transactions = transactions[:2_500]
    transactions.with_columns(TX_FRAUD=pl.lit(None, pl.Int8)).write_parquet(raw)
    client = redis.Redis(port=redis_server.port)
    client.set("made:t:old", "of a try that died")
    done = command("history", f"transactions={raw}", f"out='{url}'", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "rows       2,500" in done.stdout
    assert client.get("made:t:old") is None
    again = command("history", f"transactions={raw}", f"out='{url}'", cwd=tmp_path)
    assert (again.returncode, "there is a history at redis://127.0.0.1" in again.stderr) == (1, True)
    labels = transactions.select(id="TRANSACTION_ID", fraud="TX_FRAUD")
    labels.write_csv(tmp_path / "labels.csv")
    done = command("labels", f"file={tmp_path}/labels.csv", f"to='{url}'", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "new        2,500" in done.stdout
    store = History.open(url, EXTENDED)
    last = transactions[-20:].to_dicts()
    assert [store.features(row) for row in last] == batch(EXTENDED, transactions)[-20:]


def test_persons_are_erased(redis_server: RedisServer, transactions: pl.DataFrame) -> None:
    url, rows = redis_server.url("erased"), transactions[:300]
    build(url, rows)
    ids = [0, 299, rows["CUSTOMER_ID"][100], rows["TERMINAL_ID"][200]]
    gone = pl.any_horizontal(pl.col("TRANSACTION_ID", "CUSTOMER_ID", "TERMINAL_ID").is_in(ids))  # none is told apart
    asked = [*map(str, ids), "none", "12345678901234567890", ""]
    assert erase(url, asked) == rows.filter(gone).height > 5
    assert erase(url, asked) == 0
    left = rows.filter(~gone)
    store = History.open(url, EXTENDED)
    assert [store.features(row) for row in left.to_dicts()] == batch(EXTENDED, left)
    for number in (10**6, 10**6 + 1):
        store.add({**RECORD, "TRANSACTION_ID": number, "CUSTOMER_ID": -1, "TERMINAL_ID": -1}, "request", number)
    assert erase(url, ["1000000"]) == 1
    request = redis.Redis(port=redis_server.port).hgetall("erased:q:request")
    assert [int(position) for position in request] == [10**6 + 1]  # nor does a request name who is gone


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl here")
def test_a_server_that_speaks_tls_alone(tmp_path: Path, transactions: pl.DataFrame) -> None:
    """Whose certificate is its own authority."""
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    made += ["-subj", "/CN=redis", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run(made, cwd=tmp_path, check=True, capture_output=True)
    port = str(free_port())
    files = [f"--tls-{name}-file {tmp_path}/{name}.pem".split() for name in ("cert", "key")]
    options = [*files[0], *files[1], "--tls-port", port, "--tls-auth-clients", "no"]
    with RedisServer(tmp_path, *options):
        url = f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={tmp_path}/cert.pem"
        build(url, transactions[:-1])
        store, newest = History.open(url, EXTENDED), transactions[-1].to_dicts()[0]
        assert store.features_and_add([(newest, None, 0)]) == [batch(EXTENDED, transactions)[-1]]
        assert store.shown == f"rediss://127.0.0.1:{port}/0"
        with pytest.raises(UserError, match="does not answer: .*certificate verify failed"):
            History.open(url.partition("?")[0], EXTENDED)


def test_all_that_was_acknowledged_outlives_the_store(own: RedisServer) -> None:
    empty(own.url()).close()
    kept: list[list[int]] = [[], []]

    def write(number: int) -> None:
        store = History.open(own.url(), EXTENDED)
        try:
            for each in range(100_000):
                row = {**RECORD, "TRANSACTION_ID": 10**6 * number + each, "CUSTOMER_ID": each % 7}
                store.features_and_add([(row, None, 0)])
                kept[number].append(row["TRANSACTION_ID"])
        except StoreAway:
            pass

    threads = [threading.Thread(target=write, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    while sum(map(len, kept)) < 200:
        pass
    own.kill()
    for thread in threads:
        thread.join()
    own.start()
    store = History.open(own.url(), EXTENDED)
    acknowledged = kept[0] + kept[1]
    assert store.tell([label(number, 1) for number in acknowledged], skip_unknown=True) == (len(acknowledged), 0)
    later = {**RECORD, "TRANSACTION_ID": 9 * 10**6, "TX_DATETIME": "2018-07-25T15:00:00", "CUSTOMER_ID": 3}
    count = store.features(later)["CUSTOMER_ID_NB_TX_1DAY_WINDOW"] - 1
    of_3 = sum(number % 10**6 % 7 == 3 for number in acknowledged)
    assert of_3 <= count <= of_3 + 2  # each writer may have one that was kept and not acknowledged


def once_asked(history: History) -> None:
    """Look up until the store is asked: after a failure it is left alone for a moment."""
    while True:
        try:
            history.features(RECORD)
        except StoreAway as error:
            if "a moment ago" in str(error):
                continue
            raise
        return


def test_a_store_that_went_away_or_lost_its_history_is_told(own: RedisServer) -> None:
    store = empty(own.url())
    store.add(RECORD)
    redis.Redis(port=own.port).flushall()
    with pytest.raises(StoreAway, match="has lost its history"):
        store.add({**RECORD, "TRANSACTION_ID": 8})
    own.kill()
    with pytest.raises(StoreAway, match="does not answer"):
        store.features(RECORD)
    with pytest.raises(UserError, match=r"the history cannot be used: redis://127.0.0.1:\d+/0 does not answer"):
        History.open(own.url(), EXTENDED)
    waiting = History.open(own.url(), EXTENDED, wait=True)
    own.start()
    with pytest.raises(StoreAway, match="no history at"):
        once_asked(waiting)
    build(own.url(), pl.DataFrame({**RECORD, "TX_DATETIME": [None]}, schema_overrides={"TX_DATETIME": pl.Datetime})[:0])
    once_asked(waiting)
    assert waiting.concerns() == []


def test_set_ups_that_lose_the_past_are_told(tmp_path: Path) -> None:
    options = ("--appendonly", "no", "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
    with RedisServer(tmp_path, *options) as server:
        without, evicting = empty(server.url()).concerns()
    assert "without appendonly yes" in without
    assert "maxmemory-policy allkeys-lru" in evicting


def test_a_password_is_used_and_never_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "p4ss/w@rd"
    with RedisServer(tmp_path, "--requirepass", secret) as server:
        where = f"127.0.0.1:{server.port}/0"
        empty(f"redis://:p4ss%2Fw%40rd@{where}").add(RECORD)
        for address in (f"redis://:{secret}@{where}", f"redis://:wrong{secret[:4]}@{where}", f"redis://{where}"):
            with pytest.raises(UserError) as refused:
                History.open(address)
            assert "p4ss" not in str(refused.value)
        monkeypatch.setenv("FRAUDLAB_REDIS_PASSWORD", secret)
        store = History.open(f"redis://{where}")
        assert "p4ss" not in store.shown
        assert store.tell([label(7, 1)]).new == 1
    for query, said in (
        ("name=a b", "name='a b' of a history"),
        ("nme=cards", "not the address of a history"),
        ("name", "not the address of a history"),
    ):
        with pytest.raises(UserError, match=said):
            History.open(f"redis://{where}?{query}")


def test_a_host_that_drops_packets_costs_no_more_than_the_timeout() -> None:
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)  # of one connection that nobody takes; Linux then drops what else wants to connect
        port = full.getsockname()[1]
        for each in (first, second):
            each.setblocking(False)
            each.connect_ex(("127.0.0.1", port))
        for address in (f"redis://127.0.0.1:{port}", f"redis://127.0.0.1:{port}?socket_timeout=0.3"):
            script = Script(Address(address, 0.2).client().connection_pool, "return 1")
            for _ in range(2):  # the second time it has a line, which is closed
                began = time.monotonic()
                with pytest.raises(redis.exceptions.TimeoutError):
                    script(b"key", [])
                assert time.monotonic() - began < 2  # redis-py's own time is 5 s
