"""The encoder: one record as its row in a frame, bit for bit; scales against scikit-learn."""

import json
import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import QuantileTransformer, StandardScaler

from fraudlab.errors import UserError
from fraudlab.features.encoder import TableEncoder

words = st.one_of(st.none(), st.sampled_from(["a", "b", "rare", "ü 1", ""]))
codes = st.one_of(st.none(), st.integers(-3, 3))
floats = st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True), st.integers(-5, 5).map(float))
row = st.fixed_dictionaries({"word": words, "code": codes, "share": floats, "x": floats, "y": floats})
TYPES = {"word": pl.String, "code": pl.Int64, "share": pl.Float64, "x": pl.Float64, "y": pl.Float64}
CATEGORICAL, NUMERIC = ["word", "code", "share"], ["x", "y"]


def frame_of(rows: list[dict]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=TYPES)


@settings(max_examples=150, deadline=None)
@given(
    train=st.lists(row, min_size=1, max_size=30),
    rows=st.lists(row, min_size=1, max_size=10),
    scaling=st.sampled_from(["standard", "quantile_normal", "none"]),
    clip=st.sampled_from([None, 3.0]),
    log1p=st.booleans(),
    min_count=st.integers(1, 3),
)
def test_a_record_is_encoded_as_its_row(train, rows, scaling, clip, log1p, min_count) -> None:
    encoder = TableEncoder.fit(
        frame_of(train), CATEGORICAL, NUMERIC, scaling=scaling, clip=clip, log1p=log1p, min_count=min_count
    )
    together = encoder.transform(frame_of(rows))
    assert together.categorical.dtype == np.int64
    assert together.numeric.dtype == np.float32
    assert np.isfinite(together.numeric).all()
    assert (together.categorical < encoder.cardinalities).all()
    for i, record in enumerate(rows):
        alone = encoder.encode({key: value for key, value in record.items() if value is not None})
        assert np.array_equal(alone.categorical[0], together.categorical[i])
        assert alone.numeric[0].tobytes() == together.numeric[i].tobytes()


@settings(max_examples=30, deadline=None)
@given(train=st.lists(row, min_size=1, max_size=30), scaling=st.sampled_from(["standard", "quantile_normal"]))
def test_survives_the_disk(train, scaling, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("e") / "encoder"
    encoder = TableEncoder.fit(frame_of(train), CATEGORICAL, NUMERIC, scaling=scaling)
    encoder.save(folder)
    again = TableEncoder.load(folder)
    before, after = encoder.transform(frame_of(train)), again.transform(frame_of(train))
    assert np.array_equal(before.categorical, after.categorical)
    assert before.numeric.tobytes() == after.numeric.tobytes()
    assert (again.cardinalities, again.numeric_names) == (encoder.cardinalities, encoder.numeric_names)
    assert sorted(file.name for file in folder.iterdir()) == ["encoder.json", "encoder.safetensors"]


def test_scales_as_scikit_learn() -> None:
    x = np.random.default_rng(0).gamma(2.0, 3.0, (5000, 2))
    frame = pl.DataFrame(x, schema=["x", "y"])
    ours = TableEncoder.fit(frame, [], ["x", "y"]).transform(frame).numeric
    assert np.allclose(ours, StandardScaler().fit_transform(x), atol=1e-5)
    ours = TableEncoder.fit(frame, [], ["x", "y"], scaling="quantile_normal").transform(frame).numeric
    theirs = QuantileTransformer(output_distribution="normal", subsample=None).fit_transform(x)
    middle = np.abs(theirs) < 2.5
    assert np.allclose(ours[middle], theirs[middle], atol=0.02)
    ours = TableEncoder.fit(frame, [], ["x", "y"], log1p=True, scaling="none").transform(frame).numeric
    assert np.allclose(ours, np.log1p(x), atol=1e-6)
    assert np.abs(TableEncoder.fit(frame, [], ["x"], clip=0.5).transform(frame).numeric).max() == 0.5


def test_ids_are_missing_unknown_then_by_count() -> None:
    frame = pl.DataFrame({"w": ["b", "b", "a", "c", "c", "c", None, "once"]})
    encoder = TableEncoder.fit(frame, ["w"], [], min_count=2)
    assert encoder.cardinalities == [4]
    seen = pl.DataFrame({"w": ["c", "b", "a", "once", "new", None]})
    assert encoder.transform(seen).categorical[:, 0].tolist() == [2, 3, 1, 1, 1, 0]


def test_one_category_in_any_type() -> None:
    encoder = TableEncoder.fit(pl.DataFrame({"w": [150, 150, 3]}), ["w"], [])
    for value in (150, 150.0, "150"):
        assert encoder.encode({"w": value}).categorical.tolist() == [[2]]
        assert encoder.transform(pl.DataFrame({"w": [value]})).categorical.tolist() == [[2]]


def test_missing_numbers_are_zero_and_told() -> None:
    frame = pl.DataFrame({"x": [1.0, 3.0, None], "y": [1.0, 2.0, 3.0]})
    encoder = TableEncoder.fit(frame, [], ["x", "y"])
    assert encoder.numeric_names == ("x", "y", "x_missing")
    assert encoder.transform(frame).numeric[:, [0, 2]].tolist() == [[-1, 0], [1, 0], [0, 1]]
    assert encoder.encode({"x": math.inf, "y": "2"}).numeric.tolist() == [[0, 0, 1]]
    constant = TableEncoder.fit(pl.DataFrame({"x": [5.0, 5.0]}), [], ["x"])
    assert constant.encode({"x": 7}).numeric.tolist() == [[0]]


def test_wrong_tables_are_refused() -> None:
    frame = pl.DataFrame({"x": ["1", "two"], "w": ["a", "b"]})
    with pytest.raises(UserError, match="x should be numeric but holds 'two'"):
        TableEncoder.fit(frame, [], ["x"])
    encoder = TableEncoder.fit(pl.DataFrame({"x": [1.0], "w": ["a"]}), ["w"], ["x"])
    with pytest.raises(UserError, match="missing from the table: w"):
        encoder.transform(pl.DataFrame({"x": [1.0]}))
    for value in ("two", "1_0", " 1", [1], 10**400):
        with pytest.raises(UserError, match="x: .* is no number"):
            encoder.encode({"x": value})


def test_broken_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no whole encoder"):
        TableEncoder.load(tmp_path)
    folder = tmp_path / "encoder"
    TableEncoder.fit(pl.DataFrame({"x": [1.0, 2.0]}), [], ["x"]).save(folder)
    plain = json.loads((folder / "encoder.json").read_text())
    (folder / "encoder.json").write_text(json.dumps({**plain, "format": 99}))
    with pytest.raises(UserError, match="format 99"):
        TableEncoder.load(folder)
    (folder / "encoder.json").write_text(json.dumps(plain))
    (folder / "encoder.safetensors").write_bytes(b"half")
    with pytest.raises(UserError, match="holds no whole encoder"):
        TableEncoder.load(folder)
