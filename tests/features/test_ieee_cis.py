"""IEEE-CIS features: nothing from later rows, no label, and the values that pandas finds by its own ways."""

from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fraudlab.config import IEEECISConfig, IEEECISFeaturesConfig
from fraudlab.data.sources import ieee_cis
from fraudlab.errors import UserError
from fraudlab.features import registry
from fraudlab.features.contract import with_features
from fraudlab.features.encoder import TableEncoder
from fraudlab.features.ieee_cis import IEEECISFeatures
from fraudlab.features.ieee_cis.columns import PUBLISHED_V
from fraudlab.schema import Column, TableSchema
from tests.support.ieee_cis_rows import SCHEMA, table


def made(frame: pl.DataFrame, scope: str) -> pl.DataFrame:
    return with_features(IEEECISFeatures(SCHEMA, scope), frame.lazy())


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6), known=st.integers(1, 149))
def test_the_future_changes_nothing(seed: int, known: int) -> None:
    frame = table(150, seed)
    features = IEEECISFeatures(SCHEMA)
    names = [*features.categorical, *features.numeric]
    whole = made(frame, "point_in_time")
    other = pl.concat([frame.head(known), table(150, seed + 1).tail(150 - known)])
    for later in (frame.head(known), other):
        assert made(later, "point_in_time").head(known).select(names).equals(whole.head(known).select(names))


def test_labels_change_nothing() -> None:
    frame = table(200, 0)
    turned = frame.with_columns(isFraud=(1 - pl.col("isFraud").clip(0, 1)).cast(pl.Int8))
    assert made(frame, "point_in_time").drop("isFraud").equals(made(turned, "point_in_time").drop("isFraud"))
    assert made(frame, "transductive").drop("isFraud").equals(made(turned, "transductive").drop("isFraud"))


def test_rows_and_columns_stay() -> None:
    frame = table(100, 1)
    found = made(frame, "point_in_time")
    assert found.select(frame.columns).equals(frame)
    features = IEEECISFeatures(SCHEMA)
    assert set(found.columns) - set(frame.columns) <= {*features.numeric, *features.categorical}
    assert len(set(features.numeric)) == len(features.numeric)
    assert len(PUBLISHED_V) == 120


@pytest.mark.parametrize("scope", ["point_in_time", "transductive"])
def test_aggregates_are_those_of_pandas(scope: str) -> None:
    frame = table(400, 2)
    found = made(frame, scope)
    columns = ["TransactionDT", "TransactionAmt", "card1", "addr1", "D1", "D15", "C1", "M5", "id_02"]
    plain = pd.DataFrame(frame.select(columns).to_dict(as_series=False))
    plain["start"] = np.floor(plain.TransactionDT // 86400 - plain.D1)
    plain["M5"] = plain.M5.map({"T": 1.0, "F": 0.0})
    groups = plain.groupby(["card1", "addr1", "start"], dropna=False)
    whole = scope == "transductive"

    def over(column: str, how: str) -> pd.Series:
        if whole:
            return groups[column].transform(how)
        return groups[column].transform(lambda x: getattr(x.shift().expanding(), how)())

    for column in ("TransactionAmt", "D15"):
        for how in ("mean", "std"):
            ours = found[f"account_{column}_{how}"].to_numpy()
            assert np.allclose(ours, over(column, how), rtol=1e-7, atol=1e-6, equal_nan=True), (column, how)
    for column in ("C1", "M5"):
        assert np.allclose(found[f"account_{column}_mean"].to_numpy(), over(column, "mean"), equal_nan=True)
    counts = groups["card1"].transform("size") if whole else groups.cumcount()
    assert np.array_equal(found["account_count"].to_numpy(), counts)
    shares = plain.groupby("card1")["card1"].transform("size") / 400 if whole else (
        plain.groupby("card1").cumcount() / np.maximum(np.arange(400), 1)
    )  # fmt: skip
    assert np.allclose(found["card1_share"].to_numpy(), shares)
    different = [
        plain.id_02[(groups.ngroup() == groups.ngroup()[row]) & ((plain.index < row) | whole)].dropna().nunique()
        for row in range(400)
    ]
    assert np.array_equal(found["account_id_02_different"].fill_null(0).to_numpy(), different)


def test_delays_do_not_drift() -> None:
    """A clock that started on one day gives one value, whenever it is read."""
    frame = table(50, 3).with_columns(D10=pl.col("TransactionDT") / 86400 - 7)
    assert made(frame, "point_in_time")["D10_start"].to_list() == pytest.approx([-7.0] * 50, abs=1e-9)


def test_another_table_is_refused() -> None:
    schema = TableSchema("claims", (Column("fraud", "integer", "label"),))
    with pytest.raises(UserError, match="features=columns"):
        IEEECISFeatures(schema)
    for key in ({"scope": "both"}, {"v_columns": "some"}):
        with pytest.raises(UserError, match=f"features.{next(iter(key))}"):
            IEEECISFeaturesConfig(**key)


def test_real_rows(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "ieee_cis_sample"
    source = ieee_cis.load(IEEECISConfig(raw_dir=str(folder)), tmp_path)
    features = IEEECISFeatures(source.schema)
    found = with_features(features, source.frame)
    assert len(found) == 1500
    assert set(features.numeric) <= set(found.columns)
    samsung = found.filter(pl.col("DeviceInfo").str.starts_with("SAMSUNG"))
    assert set(samsung["device_maker"]) == {"samsung"}
    assert found["P_email_vendor"].drop_nulls().is_in(["gmail", "yahoo", "hotmail", "anonymous", "aol"]).mean() > 0.8


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6), known=st.integers(0, 199))
def test_a_record_alone_is_its_row(seed: int, known: int) -> None:
    """From lookups of the rows before it, a record gets the very features of its row in the frame."""
    frame = table(200, seed).drop("client")
    features = IEEECISFeatures(SCHEMA)
    row = with_features(features, frame.lazy()).row(known, named=True)
    found = features.of_record(frame.row(known, named=True), features.lookups(frame.head(known).lazy()))
    names = [*features.categorical, *features.numeric]
    assert {name: found[name] for name in names} == {name: row[name] for name in names}


def test_a_record_of_the_whole_table_is_its_row_in_scope_transductive() -> None:
    frame = table(200, 5).drop("client")
    features = IEEECISFeatures(SCHEMA, "transductive")
    whole, lookups = with_features(features, frame.lazy()), features.lookups(frame.lazy())
    for row in range(0, 200, 20):
        found = features.of_record(frame.row(row, named=True), lookups)
        expected = whole.row(row, named=True)
        assert {name: found[name] for name in features.numeric} == {name: expected[name] for name in features.numeric}


def test_large_groups_are_added_up_in_order() -> None:
    """Groups beyond the size that is added up at once: the same sums, one row after the other."""
    frame = table(1000, 6).with_columns(card1=pl.lit(7).cast(pl.Int32), addr1=pl.lit(1.0).cast(pl.Float32))
    found = made(frame, "point_in_time")["card1_TransactionAmt_mean"].to_list()
    total = 0.0
    for row, amount in enumerate(frame["TransactionAmt"].to_list()):
        assert found[row] == (total / row if row else None)
        total += amount


def test_a_real_record_alone_is_its_row(shared_data: Path, tmp_path: Path) -> None:
    source = ieee_cis.load(IEEECISConfig(raw_dir=str(shared_data / "ieee_cis_sample")), tmp_path)
    features = IEEECISFeatures(source.schema)
    names = [*features.categorical, *features.numeric]
    frame = source.frame.collect()
    whole = with_features(features, source.frame)
    encoder = TableEncoder.fit(whole.head(1000), features.categorical, features.numeric, min_count=5)
    arrays = encoder.transform(whole)
    for row in (0, 1, 700, 1499):
        found = features.of_record(frame.row(row, named=True), features.lookups(frame.head(row).lazy()))
        expected = whole.row(row, named=True)
        assert {name: found[name] for name in names} == {name: expected[name] for name in names}
        alone = encoder.encode(found)
        assert np.array_equal(alone.categorical[0], arrays.categorical[row])
        assert np.array_equal(alone.numeric[0], arrays.numeric[row])


def test_scope_transductive_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    for scope in ("point_in_time", "transductive"):
        registry.make(registry.settings_of(IEEECISFeaturesConfig(scope=scope), 7), SCHEMA)
    (said,) = caplog.messages
    assert "features.scope=transductive: aggregates see the whole table" in said
