"""Keys with long pasts in an SQLite file: rows in any order, taken out again, and files of earlier versions."""

import random
import sqlite3
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from fraudlab.features.live import Layout
from fraudlab.monitoring.labels import Label
from fraudlab.schema import Column, TableSchema
from fraudlab.serving.history import History, build, erase
from fraudlab.serving.history.pages import TABLES, Pages
from tests.features.history_tables import schema, table
from tests.serving.test_history_kept import batch, features_of, label

OF = {
    "count": [],
    "amount": ["mean", "std", "last", "last_3"],
    "time": ["since_last"],
    "country": ["nunique", "is_new"],
    "label": ["count", "known", "run_length"],
}


_connect = sqlite3.connect


def as_an_sqlite_that_leaves_traces(*args: Any, **settings: Any) -> sqlite3.Connection:
    """Built without SECURE_DELETE, as many are."""
    connection = _connect(*args, **settings)
    connection.execute("PRAGMA secure_delete = OFF")
    return connection


def test_a_page_of_one_long_record_gets_an_earlier_one() -> None:
    layout = Layout("id", False, "time", (("card",),), (), tuple(f"c{n}" for n in range(130)))
    connection = sqlite3.connect(":memory:")
    for statement in TABLES:
        connection.execute(statement)
    pages = Pages(connection, layout)
    for id_, time in enumerate([50, 40, 30, 60, 10, 20, 45]):
        pages.insert(0, "c", time, id_, pages.packed(time, None, 0, (), [str(time)] * 130))
    assert connection.execute("SELECT count(*), max(length(records)) < 3900 FROM pages").fetchone() == (7, 1)
    assert pages.before(0, "c", None, 100, None, 0).time.tolist() == [10, 20, 30, 40, 45, 50, 60]
    assert pages.before(0, "c", None, 45, 6, 0).time.tolist() == [10, 20, 30, 40]
    for id_, time in enumerate([50, 40, 30]):
        pages.remove(0, "c", time, id_)
    assert pages.before(0, "c", None, 100, None, 0).time.tolist() == [10, 20, 45, 60]


@pytest.mark.parametrize(("text", "label_time", "windows"), [(True, False, ["7d", "all"]), (False, True, ["2d", "7d"])])
def test_a_card_of_a_thousand_rows(
    tmp_path: Path, text: bool, label_time: bool, windows: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """About eight rows share each instant, so that the order of ids counts."""
    monkeypatch.setattr(sqlite3, "connect", as_an_sqlite_that_leaves_traces)
    kind = Column("row", "string" if text else "integer", "id")
    columns = tuple(kind if column.name == "row" else column for column in schema(label_time).columns)
    features = features_of(TableSchema("t", columns), OF, windows=windows)
    frame = table(1_000, 5, days=30).with_columns(pl.col("row") + 1_000, card_id=pl.lit("c"), told="when")
    if text:
        frame = frame.with_columns(pl.format("i\N{DOG FACE}{}", "row").alias("row")).sort("when", "row")
    rows, path = frame.to_dicts(), tmp_path / "h.sqlite"
    draw = random.Random(1)
    build(path, frame[:400], features)
    store = History.open(path, features)
    for row in draw.sample(rows[400:], 600) + draw.sample(rows[:400], 50):  # and some once more
        store.add(row)
        store.tell([label(row)] if label_time else [Label(row["row"], None, None, bool(row["fraud"]), "bank", 1)])
    checked = draw.sample(range(1_000), 40)

    def alike(store: History, frame: pl.DataFrame) -> bool:
        expected = batch(features, frame)
        return all(store.features(frame.row(i, named=True)) == expected[i] for i in checked if i < len(frame))

    assert alike(store, frame)
    sizes = [bytes_ for (bytes_,) in sqlite3.connect(path).execute("SELECT length(records) FROM pages WHERE key = 0")]
    assert len(sizes) > 8
    assert max(sizes) < 4_096
    gone = [str(row["row"]) for row in draw.sample(rows, 300)]
    assert erase(path, gone) == 300
    held = b"".join(file.read_bytes() for file in tmp_path.glob("h.sqlite*"))
    assert not text or not any(id_.encode() in held for id_ in gone)
    left = frame.filter(~pl.col("row").cast(pl.String).is_in(gone))
    assert alike(store, left)
    store.close()
    with sqlite3.connect(path) as connection:  # as the fourth format had it
        for change in ("DROP TABLE pages", "ALTER TABLE gone RENAME TO forgotten", "PRAGMA user_version = 4"):
            connection.execute(change)
    connection.close()
    assert alike(History.open(path, features), left)
