"""Handbook transactions through real servers: with their features, or with a history that knows the past."""

import sqlite3
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from fraudlab import bundle as bundles
from fraudlab.bundle import Bundle
from fraudlab.config import HandbookConfig
from fraudlab.data.sources.handbook import simulate
from fraudlab.features.history import HistoryFeatures
from fraudlab.features.live import DAY
from fraudlab.monitoring.labels import Label
from fraudlab.serving.history import History
from tests.conftest import Command
from tests.support.handbook import RAW, of_table
from tests.support.server import Server

AT_ONCE = 100  # records of a request
REPLAYED = 10_000


@pytest.fixture(scope="module")
def bundle(handbook_bundle: Path) -> Bundle:
    return bundles.load(handbook_bundle)


@pytest.fixture(scope="module")
def transactions() -> pl.DataFrame:
    """Simulated: 15,000 transactions of 200 customers at 300 terminals."""
    return simulate(HandbookConfig(customers=200, terminals=300, radius=15.0, days=60))[:15_000]


@pytest.fixture(scope="module")
def records(bundle: Bundle, transactions: pl.DataFrame) -> list[dict[str, Any]]:
    """The last of them with their features, as the batch computes them, in JSON's types."""
    features = bundle.features
    assert isinstance(features, HistoryFeatures)
    table = of_table(transactions, features)
    texts = pl.col("TX_DATETIME").dt.to_string("iso:strict")
    rows = table.select(*RAW, *(name for name in features.numeric if name not in RAW)).with_columns(texts)
    return rows[-REPLAYED:].to_dicts()


def _in_lists(rows: list[Any]) -> Iterator[list[Any]]:
    return (rows[start : start + AT_ONCE] for start in range(0, len(rows), AT_ONCE))


def _scores(server: Server, records: list[dict[str, Any]]) -> list[float]:
    answer = server.predict(records)
    assert answer.status == 200, answer.text
    return [each["score"] for each in answer.said["predictions"]]


def test_both_ways_give_the_scores_of_the_batch(
    bundle: Bundle, command: Command, transactions: pl.DataFrame, records: list[dict[str, Any]], tmp_path: Path
) -> None:
    expected = bundle.predict(records)
    assert len(np.unique(expected)) > 1000
    with Server(bundle.path, tmp_path) as server:
        carried = [score for some in _in_lists(records) for score in _scores(server, some)]
    np.testing.assert_allclose(carried, expected, rtol=0, atol=1e-6)

    # The store is made of what came before; labels become known after the features' delay, told by another process.
    before, replayed = transactions[:-REPLAYED], transactions[-REPLAYED:]
    before.write_parquet(tmp_path / "before.parquet")
    done = command("history", f"transactions={tmp_path}/before.parquet", f"out={tmp_path}/history.sqlite", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    store = History.open(tmp_path / "history.sqlite", bundle.features)
    told = 0
    rows = replayed.to_dicts()
    with Server(bundle.path, tmp_path, f"serving.history={tmp_path}/history.sqlite") as server:
        looked_up = []
        for some in _in_lists([(record, row) for record, row in zip(records, rows, strict=True)]):
            ripe = some[-1][1]["TX_DATETIME"] - timedelta(days=bundle.features.delay / DAY)
            while rows[told]["TX_DATETIME"] <= ripe:
                store.tell(
                    [Label(rows[told]["TRANSACTION_ID"], None, None, bool(rows[told]["TX_FRAUD"]), "bank", None)]
                )
                told += 1
            looked_up += _scores(server, [{name: record[name] for name in RAW} for record, _ in some])
    np.testing.assert_allclose(looked_up, expected, rtol=0, atol=1e-6)
    assert told > 1000
    count = sqlite3.connect(tmp_path / "history.sqlite").execute("SELECT count(*) FROM transactions").fetchone()
    assert count == (len(transactions),)


def test_one_bad_record_does_not_fail_its_neighbours(
    bundle: Bundle, command: Command, transactions: pl.DataFrame, tmp_path: Path
) -> None:
    transactions[:100].write_parquet(tmp_path / "before.parquet")
    out = tmp_path / "history.sqlite"
    assert command("history", f"transactions={tmp_path}/before.parquet", f"out={out}", cwd=tmp_path).returncode == 0
    row = transactions[200].select(RAW).with_columns(pl.col("TX_DATETIME").dt.to_string("iso:strict")).to_dicts()[0]
    with Server(bundle.path, tmp_path, f"serving.history={out}") as server:
        assert server.predict(row).status == 200
        taken = server.predict({**row, "TX_AMOUNT": row["TX_AMOUNT"] + 1})
        (problem,) = taken.said["problems"]
        assert (taken.status, problem["record"], problem["field"]) == (422, 0, "TRANSACTION_ID")
        assert "stands for another transaction" in problem["problem"]
        known = server.predict(row)
        assert known.status == 200
        nulls = dict.fromkeys(bundle.features.numeric, None)
        asked = {**nulls, **row, "CUSTOMER_ID": float(row["CUSTOMER_ID"])}
        assert server.predict(asked).said.get("score") == known.said["score"]  # null is not what the past says
    done = command("serve", f"bundle={bundle.path}", "serving.history=nowhere.sqlite", cwd=tmp_path)
    assert done.returncode == 1
    assert "no history at" in done.stderr
