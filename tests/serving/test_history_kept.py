"""What the store of any table's past keeps and takes: late labels, wrong clocks, single precision, ids."""

import re
import sqlite3
import struct
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
import redis

from fraudlab.bundle.contract import Refused
from fraudlab.errors import UserError
from fraudlab.features.contract import with_features
from fraudlab.features.history import HistoryFeatures
from fraudlab.features.narrow import NARROW
from fraudlab.monitoring.labels import Label
from fraudlab.schema import Column, TableSchema
from fraudlab.serving.history import History, build
from fraudlab.serving.labels import checked, read
from fraudlab.serving.worker import FraudAPI, Job
from tests.features.history_tables import START, made, schema, table
from tests.serving.conftest import Place

OF: dict[str, Any] = {"count": [], "amount": ["mean", "genuine_mean"], "label": ["count", "known", "rate", "run_age"]}


def features_of(table_schema: TableSchema, of: dict[str, Any] = OF, **changed: Any) -> HistoryFeatures:
    return HistoryFeatures({**made(of, 3, False).settings, "windows": ["1d", "7d"], **changed}, table_schema)


def batch(features: HistoryFeatures, frame: pl.DataFrame) -> list[dict[str, Any]]:
    return with_features(features, frame.lazy()).select(features.computed).to_dicts()


def empty(path: str | Path, features: HistoryFeatures, frame: pl.DataFrame) -> History:
    build(path, frame[:0], features)
    return History.open(path, features)


def day(number: float) -> datetime:
    return START + timedelta(days=number)


def label(row: dict[str, Any]) -> Label:
    told = (row["told"] - datetime(1970, 1, 1)) // timedelta(microseconds=1)
    return Label(row["row"], None, None, bool(row["fraud"]), "bank", told)


def test_a_label_that_is_told_late_counts_when_it_is_told(place: Place) -> None:
    """Half of the labels come up to 100 days late, after windows and their transactions' delay have passed."""
    draw = np.random.default_rng(3)
    late = pl.Series(np.where(draw.random(300) < 0.5, draw.integers(0, 5, 300), draw.integers(0, 100, 300)))
    frame = table(300, 2, days=250).with_columns(told=pl.col("when") + pl.duration(days=late))
    features = features_of(schema(True))
    expected = batch(features, frame)
    store = empty(address := place(), features, frame)
    for row, found in zip(frame.to_dicts(), expected, strict=True):
        assert store.features(row) == found
        store.add(row)
        store.tell([label(row)])  # dated, so that it counts from then on
    assert sum(row["card_label_known_7d"] or 0 for row in expected) > 100
    if Path(address).is_file():
        first = sqlite3.connect(address).execute("SELECT min(time) FROM transactions").fetchone()[0]
    else:
        client = redis.Redis.from_url(address.partition("?")[0])
        row = re.compile(rb"%b:t:.{8}" % address.partition("name=")[2].encode(), re.DOTALL)
        first = min(
            struct.unpack_from("<9xd", client.get(name))[0] for name in client.scan_iter() if row.fullmatch(name)
        )
    assert day(30) < datetime(1970, 1, 1) + timedelta(microseconds=first) < day(80)  # what is 180 days old goes


def test_a_card_whose_fraud_of_day_0_is_told_on_day_20(place: Place) -> None:
    features = features_of(schema(True))
    common = {"card_id": "c", "shop": 1, "amount": 5.0, "country": "k"}
    rows = [
        {"row": 0, "when": day(0), **common, "fraud": 1, "told": day(20)},
        {"row": 1, "when": day(21), **common, "fraud": 0, "told": None},
    ]
    store = empty(place(), features, table(0, 0))
    store.add(rows[0])
    store.tell([label(rows[0])])
    found = store.features(rows[1])
    assert (found["card_label_count_7d"], found["card_label_known_7d"]) == (1.0, 1.0)
    assert found == batch(features, pl.DataFrame(rows, table(1, 0).schema))[1]


def test_a_time_on_another_clock_does_not_wipe_out_the_past(place: Place) -> None:
    columns = tuple(replace(c, type="integer") if c.name == "when" else c for c in schema(False).columns)
    features = features_of(TableSchema("t", columns))
    seconds = (pl.col("when") - START).dt.total_seconds()
    frame = table(80, 1, days=100).with_columns(when=seconds)
    store = empty(place(), features, frame)
    rows, expected = frame.to_dicts(), batch(features, frame)
    for row in rows[:60]:
        store.add(row)
    with pytest.raises(UserError, match="when is 1700000000, .* days after the newest transaction"):
        store.add({**rows[60], "row": -1, "when": 1_700_000_000})
    for row, found in zip(rows[60:], expected[60:], strict=True):
        assert store.features(row)["card_count_7d"] == found["card_count_7d"]
        store.add(row)


def test_numbers_of_single_precision_are_the_tables(tmp_path: Path) -> None:
    """The worker rounds them as the table did, and names a field that is no number."""
    frame = table(40, 1).with_columns(amount=(pl.col("amount") * 1234.567).cast(pl.Float32))
    features = features_of(schema(False), decimals=4)
    expected = batch(features, frame)
    api = FraudAPI("none", "none", None, tmp_path / "line")
    api._history = empty(tmp_path / "h.sqlite", features, frame)
    narrow: Any = SimpleNamespace(
        typed=dict, reading=SimpleNamespace(with_time=dict), lookups={NARROW: np.array(["amount"])}
    )
    api._bundle = narrow
    for number, row in enumerate(frame.to_dicts()):
        sent = {**row, "amount": None if row["amount"] is None else float(f"{row['amount']:.8g}")}  # as JSON writes it
        (made_of,) = api._with_past([Job({"request_id": str(number), "dry_run": False}, [sent])])
        assert made_of["card_amount_mean_7d"] == expected[number]["card_amount_mean_7d"]
    for value in ("much", 1e39):
        with pytest.raises(Refused) as refused:
            api._with_past([Job({"request_id": "x"}, [{**frame.to_dicts()[0], "amount": value}])])
        assert refused.value.problems[0]["field"] == "amount"


@pytest.mark.parametrize("wrong", ["1_7", "\u0661\u0667", "9" * 19, "1" * 21, "17.5", "x", ""])
def test_ids_of_labels_are_integers_where_the_stores_are(place: Place, wrong: str) -> None:
    store = empty(place(), features_of(schema(False)), table(0, 0))
    store.add({**table(1, 0).to_dicts()[0], "row": 17})
    for right in ("17", "+17", "17.0", " 17", 17):
        store.tell([Label(right, None, None, True, "test", None)])
    with pytest.raises(Refused, match="is not a 64-bit integer"):
        store.tell([Label(wrong, None, None, True, "test", None)])


def test_ids_of_digits_in_a_file_of_labels_stay_what_they_are(tmp_path: Path) -> None:
    ids = ["12345678901234567890", "+491701234", "007"]
    texts = tuple(Column("row", "string", "id") if c.name == "row" else c for c in schema(False).columns)
    store = empty(
        tmp_path / "h.sqlite",
        features_of(TableSchema("t", texts)),
        table(0, 0).with_columns(pl.col("row").cast(pl.String)),
    )
    for row, number in zip(table(3, 0).to_dicts(), ids, strict=True):
        store.add({**row, "row": number})
    pl.DataFrame({"id": ids, "fraud": [1, 0, 1]}).write_csv(tmp_path / "labels.csv")
    assert store.tell(checked(read(tmp_path / "labels.csv"), "file")).new == 3


@pytest.mark.parametrize(("wrong", "said"), [("a" * 65, "row 2: .*of 65"), ("", "row 2: .*of 0")])
def test_text_ids_that_no_server_takes_are_refused(tmp_path: Path, wrong: str, said: str) -> None:
    texts = tuple(Column("row", "string", "id") if c.name == "row" else c for c in schema(False).columns)
    features = features_of(TableSchema("t", texts))
    rows = table(3, 0).with_columns(row=pl.Series(["\N{DOG FACE}" * 64, "b", wrong]))
    with pytest.raises(UserError, match=said):
        build(tmp_path / "h.sqlite", rows, features)
    assert build(tmp_path / "h.sqlite", rows[:2], features) == (2, 2)


def test_a_table_without_its_ids_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no column row, their ids"):
        build(tmp_path / "h.sqlite", table(5, 0).drop("row"), features_of(schema(False)))
