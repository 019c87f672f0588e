"""Servers whose history is in Redis, while it is there, while it is not, and when they are killed."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from fraudlab import bundle as bundles
from fraudlab.bundle import Bundle
from fraudlab.config import HandbookConfig
from fraudlab.data.sources.handbook import simulate
from fraudlab.monitoring.labels import Label
from fraudlab.serving.history import History, build
from tests.conftest import Command
from tests.support.handbook import RAW, of_table
from tests.support.redis_server import PROGRAM, RedisServer
from tests.support.server import Answer, Server

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="no Redis here: apt-get install redis-server")


ISO = pl.col("TX_DATETIME").dt.to_string("iso:strict")


@pytest.fixture(scope="module")
def bundle(handbook_bundle: Path) -> Bundle:
    return bundles.load(handbook_bundle)


@pytest.fixture(scope="module")
def transactions(bundle: Bundle) -> pl.DataFrame:
    """With their features, as the batch computes them."""
    table = simulate(HandbookConfig(customers=60, terminals=100, radius=20.0, days=40))[:3_000]
    return of_table(table, bundle.features)  # type: ignore[arg-type]


def raw(rows: pl.DataFrame) -> list[dict[str, Any]]:
    return rows.select(RAW).with_columns(ISO).to_dicts()


def scores(answer: Answer) -> list[float]:
    assert answer.status == 200, answer.text
    assert "without_history" not in answer.text
    return [each["score"] for each in answer.said["predictions"]]


def asked_until(server: Server, records: list[dict[str, Any]], status: int, but: str = "") -> Answer:
    """The first answer of a status, without a text: a store that came back is asked within half a second."""
    while (answer := server.predict(records)).status != status or (but and but in answer.text):
        assert answer.status in (200, 503), answer.text
    return answer


def test_a_server_refuses_while_its_history_is_away_and_loses_nothing(
    bundle: Bundle, transactions: pl.DataFrame, tmp_path: Path
) -> None:
    before, after = transactions[:-120], raw(transactions[-120:])
    expected = bundle.predict(transactions[-120:].with_columns(ISO).to_dicts())
    with RedisServer(tmp_path) as store:
        build(store.url(), before)
        history = f"serving.history='{store.url()}'"
        with Server(bundle.path, tmp_path, history) as server:
            got = scores(server.predict(after[:40]))
            store.kill()
            away = server.predict(after[40:80])
            assert (away.status, away.headers["Retry-After"]) == (503, "1")
            assert "the history does not answer" in away.said["error"]
            label = server.ask("/labels", b'[{"id": 1, "fraud": true}]')
            assert (label.status, "the history does not answer" in label.said["error"]) == (503, True)
            assert 'fraudlab_rejections_total{reason="history"} 2.0' in server.ask("/metrics").text
            assert server.ready()
            store.start()
            got += scores(asked_until(server, after[40:80], 200))
            server.process.kill()  # what was answered is kept
            server.process.wait()
        with Server(bundle.path, tmp_path, history) as server:
            assert scores(server.predict(after[:80])) == got  # sent again, and nothing is there twice
            got += scores(server.predict(after[80:]))
        assert got == pytest.approx(expected, abs=1e-6)
        told = [Label(row["TRANSACTION_ID"], None, None, True, "test", None) for row in after]
        assert History.open(store.url()).tell(told).new == 120


def test_a_server_may_score_without_the_past_and_says_so(
    bundle: Bundle, transactions: pl.DataFrame, tmp_path: Path, command: Command
) -> None:
    records = raw(transactions[-20:])
    alone = [of_table(row, bundle.features) for row in transactions[-20:].select(*RAW, "TX_FRAUD").iter_slices(1)]  # type: ignore[arg-type]
    first_of_all = [row.with_columns(ISO).to_dicts()[0] for row in alone]
    with RedisServer(tmp_path, "--appendonly", "no") as store:
        store.kill()
        history = f"serving.history='{store.url()}'"
        done = command("serve", f"bundle={bundle.path}", history, cwd=tmp_path)
        assert done.returncode == 1
        assert "the history cannot be used: redis://127.0.0.1" in done.stderr
        with Server(bundle.path, tmp_path, history, "serving.history_required=false") as server:
            first = server.predict(records)
            assert first.status == 200
            assert all(each["without_history"] is True for each in first.said["predictions"])
            got = [each["score"] for each in first.said["predictions"]]
            assert got == pytest.approx(bundle.predict(first_of_all), abs=1e-6)
            assert "fraudlab_without_history_total 20.0" in server.ask("/metrics").text
            assert server.ask("/labels", b'[{"id": 1, "fraud": true}]').status == 503
            assert "until it does, transactions are scored without their past" in server.log.read_text()
            store.start()
            build(store.url(), transactions[:-20])
            with_past = scores(asked_until(server, records, 200, but="without_history"))
            assert with_past != got
