"""``predict`` of a raw file computes the past of its rows: of a history, or of the file itself."""

import logging
import sqlite3
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from fraudlab.bundle import Bundle
from fraudlab.bundle.scoring import score_file
from fraudlab.config import TableConfig
from fraudlab.errors import UserError
from fraudlab.features.contract import with_features
from fraudlab.serving.history import build
from fraudlab.serving.history.of_file import past_of
from tests.bundle.test_own_table import SUM
from tests.features.history_tables import table
from tests.serving.conftest import Place
from tests.support.bundles import bundle_of

SETTINGS: dict[str, Any] = {
    "name": "history",
    "keys": {"card": ["card_id"], "pair": ["card_id", "shop"]},
    "windows": ["1d", "7d"],
    "of": {"count": [], "amount": ["mean", "last"], "country": ["is_new"], "label": ["rate", "run_length"]},
    "decimals": 2,
    "prior": 5.0,
    "delay_days": 2,
}
ROLES = {"id": "row", "time": "when", "card": "card_id", "terminal": "shop", "amount": "amount", "label": "fraud"}


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    return table(300, 3).drop("told")


def in_words(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with the label as the table has it that the model learnt from."""
    return rows.with_columns(fraud=pl.when(pl.col("fraud") == 1).then(pl.lit("bad")).otherwise(pl.lit("fine")))


@pytest.fixture(scope="module")
def scored(rows: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, dict[int, float]]:
    """A bundle, and the scores of the batch by id."""
    folder = tmp_path_factory.mktemp("bundle")
    in_words(rows).write_parquet(folder / "t.parquet")
    config = TableConfig(path=str(folder / "t.parquet"), categorical=["country"], fraud_values=["bad"], **ROLES)
    bundle, encoder, frame = bundle_of(folder, config, SUM, SETTINGS)
    return bundle, dict(zip(frame["row"], bundle.score(encoder.transform(frame)), strict=True))


def predicted(bundle: Bundle, file: Path, history: str) -> dict[int, float]:
    found = score_file(bundle, file, file.with_name("scores.parquet"), past=past_of(bundle, history)).collect()
    return dict(found.select("row", "score").iter_rows())


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_file_is_its_own_past(
    kind: str, rows: pl.DataFrame, scored: tuple[Bundle, dict[int, float]], tmp_path: Path, caplog: Any
) -> None:
    bundle, expected = scored
    mixed, file = rows.sample(fraction=1.0, shuffle=True, seed=1), tmp_path / f"t.{kind}"
    mixed.write_csv(file) if kind == "csv" else in_words(mixed).write_parquet(file)
    with caplog.at_level(logging.WARNING):
        found = predicted(bundle, file, "input")
    assert list(found) == mixed["row"].to_list()
    assert found == pytest.approx(expected, abs=1e-6)  # the network adds in single precision
    assert len(set(expected.values())) > 200
    features: Any = bundle.features
    batch = with_features(features, rows.lazy()).select("row", *features.computed)
    past = past_of(bundle, "input")(bundle.reading.of_rows(mixed.lazy()))
    assert past.equals(mixed.select("row").join(batch, on="row", how="left", maintain_order="left").drop("row"))
    assert "what the file has before it, from 2024-01-01" in caplog.text
    assert "300 rows have a label" in caplog.text
    mixed.drop("fraud").write_parquet(tmp_path / "u.parquet")
    with caplog.at_level(logging.WARNING):
        unlabelled = predicted(bundle, tmp_path / "u.parquet", "input")
    assert unlabelled.keys() == expected.keys()
    assert unlabelled != expected
    assert "no row has a label in a column fraud" in caplog.text


def test_a_history_is_the_past_of_a_file(
    place: Place, rows: pl.DataFrame, scored: tuple[Bundle, dict[int, float]], tmp_path: Path, caplog: Any
) -> None:
    bundle, expected = scored
    features: Any = bundle.features
    some, file = rows[200:].sample(fraction=1.0, shuffle=True, seed=1), tmp_path / "t.csv"
    some.drop("fraud").write_csv(file)
    build(whole := place(), rows, features)
    assert predicted(bundle, file, whole) == pytest.approx({row: expected[row] for row in some["row"]}, abs=1e-6)
    assert "100 of the file's 100 rows are in it" in caplog.text
    build(part := place(), rows[:200], features)
    assert predicted(bundle, file, part)[200] == pytest.approx(expected[200], abs=1e-6)
    assert "0 of the file's 100 rows are in it; the others are not added, so no row sees them" in caplog.text


def test_a_past_that_nobody_named_is_asked_for(
    rows: pl.DataFrame, scored: tuple[Bundle, dict[int, float]], tmp_path: Path
) -> None:
    bundle, _ = scored
    rows.write_parquet(tmp_path / "t.parquet")
    with pytest.raises(
        UserError, match=r"none of .* history features, such as card_amount_last\. .*<history>.*history=input"
    ):
        score_file(bundle, tmp_path / "t.parquet", tmp_path / "scores.csv")
    with pytest.raises(UserError, match="no history at"):
        past_of(bundle, str(tmp_path / "none.sqlite"))
    for wrong in (2, 0.9, "worse"):
        rows.with_columns(fraud=pl.lit(wrong)).write_parquet(tmp_path / "t.parquet")
        with pytest.raises(UserError, match="fraud has other values than 0 and 1"):
            predicted(bundle, tmp_path / "t.parquet", "input")


def test_a_look_up_waits_for_no_writer(
    rows: pl.DataFrame, scored: tuple[Bundle, dict[int, float]], tmp_path: Path
) -> None:
    bundle, expected = scored
    features: Any = bundle.features
    rows[250:].write_parquet(tmp_path / "t.parquet")
    build(tmp_path / "h.sqlite", rows, features)
    writer = sqlite3.connect(tmp_path / "h.sqlite", isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    found = predicted(bundle, tmp_path / "t.parquet", str(tmp_path / "h.sqlite"))
    writer.close()
    assert found == pytest.approx({row: expected[row] for row in rows[250:]["row"]}, abs=1e-6)
