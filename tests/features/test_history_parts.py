"""History features of tables that do not fit: by parts, through files, within a limit, and the same to the bit."""

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from fraudlab.config import HistoryFeaturesConfig, TableConfig
from fraudlab.data.prepared import prepared_table
from fraudlab.errors import UserError
from fraudlab.features.history import tables
from fraudlab.features.history.parts import part_of
from tests.features.history_tables import LIMITED, made, table


def whole(of: dict[str, Any], frame: pl.DataFrame, **how: Any) -> pl.DataFrame:
    groups = made(of, 3, True).stretches(frame.lazy(), **how)
    return pl.concat([pl.concat(group) for group in groups], how="horizontal")


@pytest.mark.parametrize(("rows_a_part", "rows_a_stretch"), [(1, 400), (30, 90), (400, 50)])
def test_features_do_not_depend_on_what_is_taken_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, rows_a_part: int, rows_a_stretch: int
) -> None:
    frame = table(400, 6, days=30).with_columns(card_id=pl.col("card_id") + (pl.col("row") % 11).cast(pl.String))
    expected = whole(LIMITED, frame)
    monkeypatch.setattr(tables, "_PART", rows_a_part)
    monkeypatch.setattr(tables, "_STRETCH", rows_a_stretch)
    monkeypatch.setattr(tables, "_MANY", rows_a_stretch)
    monkeypatch.setattr(tables, "_FEW", rows_a_stretch)
    assert whole(LIMITED, frame).equals(expected)
    assert whole(LIMITED, frame, folder=tmp_path, memory=1e9).equals(expected)
    assert not list(tmp_path.iterdir())


def test_rows_of_a_key_are_in_one_part_whatever_their_stretch() -> None:
    text = pl.Series(["a", "b", None, "a", "c"])
    key = pl.DataFrame({"word": text, "kind": text.cast(pl.Categorical), "number": [0.0, 1.0, 2.0, -0.0, float("nan")]})
    part = part_of(key, ["word", "kind", "number"], 1000)
    later = part_of(key[3:].with_columns(kind=text[3:].reverse().cast(pl.Categorical).reverse()), key.columns, 1000)
    assert part[0] == part[3] == later[0]
    assert len({part[0], part[1]}) == 2
    assert part[2] == part[4] == later[1] == 1000  # a column of the key is missing


def test_a_table_is_prepared_within_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = table(200_000, 7, days=400).with_columns(card_id=pl.col("card_id") + (pl.col("row") % 997).cast(pl.String))
    frame.write_parquet(tmp_path / "t.parquet")
    settings = {"keys": {"card": ["card_id"], "shop": ["shop", "country", "card_id"]}, "windows": ["1d", "all"]}
    features = HistoryFeaturesConfig(**settings, of={"count": [], "amount": ["mean", "std", "max"], "label": ["rate"]})
    roles = {"label": "fraud", "id": "row", "time": "when", "card": "card_id", "terminal": "shop", "amount": "amount"}
    data = TableConfig(path=str(tmp_path / "t.parquet"), **roles)
    expected = prepared_table(data, features, 7, tmp_path / "whole")
    monkeypatch.setattr(tables, "_FEW", 4096)
    monkeypatch.setattr(tables, "_PART", 4096)
    features.memory_gb = 0.02
    tracemalloc.start()
    table_ = prepared_table(data, features, 7, tmp_path / "parts")
    peak = tracemalloc.get_traced_memory()[1]  # NumPy tells it what it takes
    tracemalloc.stop()
    assert peak < 0.02 * 2**30
    assert table_.fingerprint == expected.fingerprint
    assert len(list(table_.path.rglob("*.parquet"))) > len(list(expected.path.rglob("*.parquet")))
    columns = list(table_.numeric)
    for rows in (np.arange(len(frame)), np.arange(3_000, 150_000, 7)):
        assert table_.rows(rows, columns).equals(expected.rows(rows, columns))
    assert [path.name for path in (tmp_path / "parts").iterdir() if "history-" in path.name] == []


@pytest.mark.parametrize(
    ("key", "gib", "said"),
    [
        ("shop", 0.005, r"features.keys.shop: 20,000 rows have one value of it or a few.*0.005 GiB may be used: raise"),
        ("card_id", 1e-5, r"features=history with 3 features of one key needs .* raise features.memory_gb"),
    ],
)
def test_what_memory_does_not_suffice_for_is_refused_before_work(
    tmp_path: Path, key: str, gib: float, said: str
) -> None:
    frame = table(20_000, 8).with_columns(shop=1, card_id=pl.col("row").cast(pl.String))
    frame.write_parquet(tmp_path / "t.parquet")
    features = HistoryFeaturesConfig(keys={key: [key]}, of={"amount": ["mean"]}, memory_gb=gib)
    data = TableConfig(path=str(tmp_path / "t.parquet"), label="fraud", time="when")
    with pytest.raises(UserError, match=said):
        prepared_table(data, features, 7, tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*/0*.parquet"))


def test_memory_is_a_positive_number() -> None:
    with pytest.raises(UserError, match="features.memory_gb=0 must be positive"):
        HistoryFeaturesConfig(memory_gb=0)
