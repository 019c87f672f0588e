"""Columns, types and roles are those of Kaggle."""

import datetime
from pathlib import Path

import polars as pl

from fraudlab.data.sources.ieee_cis_columns import CATEGORICAL, IDENTITY, NUMERIC, START, TRANSACTION, table_schema
from tests.support.ieee_cis_pair import IDS, load, put


def test_the_schema_is_that_of_kaggle() -> None:
    assert (len(TRANSACTION), len(IDENTITY)) == (394, 41)
    assert len(CATEGORICAL) + len(NUMERIC) == 394 + 40 - 4
    schema = table_schema("ieee_cis", simulated=False)
    assert (schema.id, schema.time, schema.card, schema.amount, schema.label) == (
        "TransactionID",
        "TransactionDT",
        "client",
        "TransactionAmt",
        "isFraud",
    )
    assert set(schema.names("categorical")) == set(CATEGORICAL)
    assert set(schema.names("numeric")) == set(NUMERIC)
    assert datetime.date(2017, 11, 30) == START


def test_frame_and_schema_agree(tmp_path: Path) -> None:
    source = load(put(tmp_path / "raw"), tmp_path / "cache")
    frame = source.frame.collect()
    assert frame.columns == [column.name for column in source.schema.columns]
    for column in source.schema.columns:
        dtype = frame[column.name].dtype
        assert (column.type == "string") == (dtype == pl.String)
        assert (column.type == "integer") == dtype.is_integer()
    assert frame["TransactionID"].to_list() == list(IDS)
    assert frame["client"].to_list() == [13926000, 13926315, 13926000, 13926315]
    assert frame["id_31"].to_list() == [None, "chrome, beta", None, "chrome, beta"]
    assert frame["DeviceInfo"][1] == 'TV 40" "x"'
    assert frame["D9"][0] == 0.958333015441895
    assert frame["V126"][0] == 117.39
    assert not source.schema.simulated


def test_the_marker_of_the_simulator_shows_in_the_schema(tmp_path: Path) -> None:
    folder = put(tmp_path / "raw")
    real = load(folder, tmp_path / "cache")
    (folder / "SIMULATED").write_text("by fraudlab")
    simulated = load(folder, tmp_path / "cache")
    assert simulated.schema.simulated
    assert simulated.fingerprint != real.fingerprint
