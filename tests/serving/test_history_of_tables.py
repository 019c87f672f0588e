"""The live store of any table's past: features equal to the batch path's, bit for bit, whatever the order of events."""

import json
import random
import sqlite3
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fraudlab import bundle as bundles
from fraudlab.bundle.contract import Refused
from fraudlab.errors import UserError
from fraudlab.features.contract import with_features
from fraudlab.features.history import HistoryFeatures
from fraudlab.monitoring.labels import Label
from fraudlab.schema import Column, Reading, TableSchema
from fraudlab.serving.history import History, build, erase
from tests.conftest import Command
from tests.features.history_tables import LIMITED, OF, known_at, made, schema, table
from tests.serving.conftest import Place
from tests.support.server import Server


def batch(features: HistoryFeatures, frame: pl.DataFrame) -> list[dict[str, Any]]:
    return with_features(features, frame.lazy()).select(features.computed).to_dicts()


def told(row: dict[str, Any], delay: int, label_time: bool) -> Label:
    """The row's label, said at the moment from which the batch path counts it."""
    moment = (known_at(row, delay, label_time) - datetime(1970, 1, 1)) // timedelta(microseconds=1)
    return Label(row["row"], None, None, bool(row["fraud"]), "test", moment)


def empty(path: str | Path, features: HistoryFeatures) -> History:
    build(path, table(0, 0), features)
    return History.open(path, features)


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**6), delay=st.sampled_from([0, 1, 30]), label_time=st.booleans(), limited=st.booleans())
def test_a_replay_equals_the_batch(place: Place, seed: int, delay: int, label_time: bool, limited: bool) -> None:
    """In order of time, each label told before its day; then all once more, with rows and labels in any order."""
    features, frame = made(LIMITED if limited else OF, delay, label_time), table(60, seed)
    rows, expected = frame.to_dicts(), batch(features, frame)
    store = empty(place(), features)
    for row, found in zip(rows, expected, strict=True):
        assert store.features(row) == found
        store.add(row)
        store.tell([told(row, delay, label_time)])
    store = empty(place(), features)
    mixed = random.Random(seed).sample(rows, len(rows))
    for row in mixed:
        store.add({**row, "when": row["when"].isoformat()})
        store.tell([told(row, delay, label_time)])
    assert [store.features(row) for row in rows] == expected


def test_persons_are_erased_by_a_part_of_a_key_too(tmp_path: Path) -> None:
    features = made(OF, 3, False)
    frame = table(60, 2).with_columns(card_id=pl.when(pl.col("row") == 7).then(pl.lit("c1 1")).otherwise("card_id"))
    build(tmp_path / "h.sqlite", frame, features)
    connection = sqlite3.connect(tmp_path / "h.sqlite")
    connection.execute("UPDATE transactions SET key_0 = NULL")  # a key of the pair is known by its parts alone
    connection.commit()
    theirs = (pl.col("card_id") == "c1") & pl.col("shop").is_not_null()
    assert erase(tmp_path / "h.sqlite", ["c1", "c"]) == frame.filter(theirs).height > 5
    left = {row for (row,) in connection.execute("SELECT id FROM transactions")}
    assert left == set(frame.filter(theirs.fill_null(False).not_())["row"])
    connection.close()


@pytest.mark.parametrize("label_time", [False, True])
def test_a_store_of_a_table_goes_on_where_the_table_ends(place: Place, label_time: bool) -> None:
    features, frame = made(OF, 3, label_time), table(300, 1, days=40)
    expected = batch(features, frame)
    address = place()
    assert build(address, frame[:200], features) == (200, 200)
    store = History.open(address, features)
    for row, found in zip(frame[200:].to_dicts(), expected[200:], strict=True):
        assert store.features(row) == found
        store.add(row)
        store.tell([told(row, 3, label_time)])
    assert not Path(address).is_file() or Path(address).stat().st_mode & 0o777 == 0o600


def test_labels_that_are_taken_back_or_said_anew_leave_no_trace(tmp_path: Path) -> None:
    """The share of frauds in all rows follows, too."""
    features, frame = made(OF, 3, False), table(120, 4)
    rows = frame.to_dicts()
    store = empty(tmp_path / "history.sqlite", features)
    for row in rows:
        store.add(row)
        store.tell([Label(row["row"], None, None, not row["fraud"], "wrong", 1)])
        store.tell([Label(row["row"], None, None, None, "wrong", 2)])
        store.tell([Label(row["row"], None, None, bool(row["fraud"]), "right", 3)])
    assert [store.features(row) for row in rows] == batch(features, frame)
    days = sqlite3.connect(tmp_path / "history.sqlite").execute("SELECT sum(labels), sum(frauds) FROM days").fetchone()
    assert days == (len(rows), sum(row["fraud"] for row in rows))


def test_a_label_that_nobody_told_is_genuine_once_it_is_due(place: Place) -> None:
    features, frame = made(OF, 3, False), table(80, 2)
    store = empty(place(), features)
    for row in frame.to_dicts():
        store.add(row)
    genuine = batch(features, frame.with_columns(fraud=pl.lit(0, pl.Int8)))
    assert [store.features(row) for row in frame.to_dicts()] == genuine


def test_what_no_window_needs_is_forgotten(tmp_path: Path) -> None:
    of = {"count": [], "amount": ["mean"], "label": ["rate", "run_age"]}
    settings = {**made(OF, 3, False).settings, "windows": ["6h", "7d"], "of": of}
    features = HistoryFeatures(settings, schema(False))
    frame = pl.concat(
        table(80, part).with_columns(pl.col("when") + timedelta(days=60 * part), pl.col("row") + 1_000 * part)
        for part in range(3)
    )
    expected = batch(features, frame)
    store = empty(tmp_path / "history.sqlite", features)
    for row, found in zip(frame.to_dicts(), expected, strict=True):
        assert store.features(row) == found
        store.add(row)
        store.tell([told(row, 3, False)])
    kept = sqlite3.connect(tmp_path / "history.sqlite").execute("SELECT min(id), count(*) FROM transactions").fetchone()
    assert kept == (2_000, 80)
    with pytest.raises(UserError, match=r"when is .*forgotten"):
        store.features({**frame.to_dicts()[0], "row": -1})


def test_ids_may_be_text_or_be_given_by_the_store(place: Place) -> None:
    columns = tuple(c for c in schema(False).columns if c.name != "row")
    texts = TableSchema("t", (Column("ref", "string", "id"), *columns))
    numbered = TableSchema("t", (Column("row_id", "integer", "id"), *columns), reading=Reading(columns))
    frame = table(40, 3)
    expected = batch(made(OF, 3, False), frame)
    addresses: dict[str, str] = {}
    for name, of in (("texts", texts), ("numbered", numbered)):
        features = HistoryFeatures(made(OF, 3, False).settings, of)
        rows = frame.drop("row").with_columns(ref=pl.lit("a") + pl.Series(range(1000, 1040)).cast(pl.String))
        addresses[name] = place()
        build(addresses[name], rows[:20], features)
        store = History.open(addresses[name], features)
        for number, row in enumerate(rows.to_dicts()[20:]):
            assert store.features(row) == expected[20 + number]
            store.add(row, "request", number)
            label = Label(row["ref"], None, None, bool(frame["fraud"][20 + number]), "test", None)
            if name == "numbered":
                label = Label(None, "request", number, label.fraud, "test", None)
            assert store.tell([label]).new == 1
    with pytest.raises(Refused, match="no transaction zz in the history"):
        History.open(addresses["texts"]).tell([Label("zz", None, None, True, "test", None)])


def test_a_store_for_other_features_is_refused(tmp_path: Path) -> None:
    features = made(OF, 3, False)
    path = tmp_path / "history.sqlite"
    empty(path, features).close()
    less = made({"count": []}, 3, False)
    with pytest.raises(UserError, match=r"numbers: \('amount', 'shop'\), not \(\).*fraudlab.history bundle="):
        History.open(path, less)
    with pytest.raises(UserError, match="delay: 259200000000, not 604800000000"):
        History.open(path, made(OF, 7, False))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"when": "soon"}, "when is 'soon'; give a date and time"),
        ({"when": None}, "when is None"),
        ({"amount": "much"}, "amount is 'much'; give a number"),
        ({"amount": 1e15}, "amount is 1e[+]15, beyond"),
        ({"row": None}, "row is None; give an integer"),
    ],
)
def test_a_wrong_field_is_named(place: Place, change: dict[str, Any], said: str) -> None:
    store = empty(place(), made(OF, 3, False))
    with pytest.raises(UserError, match=said):
        store.features({**table(1, 0).to_dicts()[0], **change})


def test_rows_that_no_store_can_hold_are_refused(tmp_path: Path) -> None:
    features, frame = made(OF, 3, False), table(20, 0)
    for change, said in (
        (frame.drop("shop"), "no column shop"),
        (frame.with_columns(row=pl.lit(1)), "an id of its own"),
        (frame.with_columns(row=pl.lit("x")), "an id of its own"),
        (frame.with_columns(when=pl.lit(None, pl.Datetime("us"))), "when has no value in 20 rows"),
        (frame.with_columns(fraud=pl.lit(2)), "other values than 0 and 1"),
    ):
        with pytest.raises(UserError, match=said):
            build(tmp_path / "history.sqlite", change, features)
    booleans = frame.with_columns(fraud=pl.col("fraud") == 1)
    assert build(tmp_path / "history.sqlite", booleans, features) == (20, 20)


@pytest.mark.slow
def test_a_server_gives_a_tables_transactions_the_scores_of_the_batch(command: Command, tmp_path: Path) -> None:
    """Train, export, make the store of the first rows, then send the others without features, and their labels."""
    frame = table(3_000, 7, days=60).with_columns(row=pl.lit("t") + pl.col("row").cast(pl.String).str.zfill(6))
    frame.drop("told").write_parquet(tmp_path / "t.parquet")
    roles = ("id=row", "time=when", "card=card_id", "terminal=shop", "amount=amount", "label=fraud")
    settings = (*(f"data.{role}" for role in roles), "split=time_fraction", "model=mlp", "trainer.max_epochs=1")
    quick = ("trainer.accelerator=cpu", "report=false", "logger=none", f"hydra.run.dir={tmp_path}/run")
    for name, overrides in (
        ("train", ("data=table", f"data.path={tmp_path}/t.parquet", "features=history", *settings, *quick)),
        ("export", (f"run={tmp_path}/run", f"out={tmp_path}/bundle")),
    ):
        done = command(name, *overrides, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    bundle = bundles.load(tmp_path / "bundle")
    features = bundle.features
    assert isinstance(features, HistoryFeatures)
    whole = with_features(features, frame.lazy()).with_columns(pl.col("when").dt.to_string("iso:strict"))
    sent = whole[-300:].select(*(field["name"] for field in bundle.schema["fields"])).to_dicts()
    expected = bundle.predict(sent)
    frame[:-300].drop("told").write_parquet(tmp_path / "past.parquet")
    store = tmp_path / "history.sqlite"
    done = command(
        "history", f"bundle={bundle.path}", f"transactions={tmp_path}/past.parquet", f"out={store}", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    with Server(bundle.path, tmp_path, f"serving.history={store}") as server:
        scores = []
        for row, label in zip(sent, frame[-300:].to_dicts(), strict=True):
            answer = server.predict(
                {name: row[name] for name in ("row", "when", "card_id", "shop", "amount", "country")}
            )
            assert answer.status == 200, answer.text
            scores.append(answer.said["score"])
            said = json.dumps([{"id": row["row"], "fraud": bool(label["fraud"])}])
            assert server.ask("/labels", said.encode()).status == 200
        lacking = server.predict({"when": sent[0]["when"]})
        assert (lacking.status, lacking.said["problems"][0]["field"]) == (422, "row")
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-6)
