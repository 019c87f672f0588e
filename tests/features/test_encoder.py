"""The encoder: one record as its row in a frame, bit for bit; scales against scikit-learn."""

import json
import math
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file
from sklearn.preprocessing import QuantileTransformer, RobustScaler, StandardScaler

from fraudlab.errors import UserError
from fraudlab.features.encoder import TableEncoder

words = st.one_of(st.none(), st.sampled_from(["a", "b", "rare", "ü 1", ""]))
codes = st.one_of(st.none(), st.integers(-3, 3))
floats = st.one_of(st.none(), st.floats(), st.integers(-5, 5).map(float))
scalable = floats.filter(lambda x: x is None or not 1e140 < abs(x) < math.inf)


def row(numbers: st.SearchStrategy) -> st.SearchStrategy:
    return st.fixed_dictionaries({"word": words, "code": codes, "share": floats, "x": numbers, "y": numbers})


TYPES = {"word": pl.String, "code": pl.Int64, "share": pl.Float64, "x": pl.Float64, "y": pl.Float64}
CATEGORICAL, NUMERIC = ["word", "code", "share"], ["x", "y"]


def frame_of(rows: list[dict]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=TYPES)


def as_sent(record: dict, form: str) -> dict:
    """The record as another sender would write it: nulls left out, numbers as text or as NumPy scalars."""
    record = {key: value for key, value in record.items() if value is not None}
    if form == "numpy":
        return {key: value if isinstance(value, str) else np.array(value)[()] for key, value in record.items()}
    if form == "text":
        return {key: value if key == "share" else str(value) for key, value in record.items()}
    return record


def assert_same(encoder: TableEncoder, frame: pl.DataFrame, records: list[dict]) -> None:
    together = encoder.transform(frame)
    assert (together.categorical.dtype, together.numeric.dtype) == (np.int64, np.float32)
    assert together.categorical.shape == (len(frame), len(encoder.cardinalities))
    assert together.numeric.shape == (len(frame), encoder.num_numeric)
    assert np.isfinite(together.numeric).all()
    assert (together.categorical < encoder.cardinalities).all()
    for i, record in enumerate(records):
        alone = encoder.encode(record)
        assert np.array_equal(alone.categorical, together.categorical[i : i + 1])
        assert alone.numeric.tobytes() == together.numeric[i].tobytes()


@settings(max_examples=150, deadline=None)
@given(
    train=st.lists(row(scalable), min_size=1, max_size=30),
    rows=st.lists(row(floats), max_size=10),
    scaling=st.sampled_from(["standard", "robust", "quantile_normal", "none"]),
    clip=st.sampled_from([None, 3.0]),
    log1p=st.booleans(),
    min_count=st.integers(1, 3),
    form=st.sampled_from(["plain", "text", "numpy"]),
)
def test_a_record_is_encoded_as_its_row(train, rows, scaling, clip, log1p, min_count, form) -> None:
    encoder = TableEncoder.fit(
        frame_of(train), CATEGORICAL, NUMERIC, scaling=scaling, clip=clip, log1p=log1p, min_count=min_count
    )
    assert_same(encoder, frame_of(rows), [as_sent(record, form) for record in rows])


@pytest.mark.parametrize("log1p", [False, True])
@pytest.mark.parametrize("scaling", ["standard", "robust", "quantile_normal", "none"])
def test_a_record_of_a_wide_table_is_encoded_as_its_row(scaling: str, log1p: bool) -> None:
    """More rows than knots and more columns than are written at once, some with missing values."""
    draw = np.random.default_rng(0)
    x = draw.normal(size=(1500, 70)) * 10.0 ** draw.integers(-6, 7, 70)
    x[:, 0] = np.round(x[:, 0])
    x[draw.random(x.shape) < 0.05 * (np.arange(70) % 3 == 0)] = np.nan
    frame = pl.DataFrame(x, schema=[f"x{i}" for i in range(70)])
    encoder = TableEncoder.fit(frame[:1200], [], frame.columns, scaling=scaling, log1p=log1p)
    assert encoder.num_numeric == 70 + 24
    assert_same(encoder, frame, frame.to_dicts())


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.floats().map(repr), st.integers().map(str), st.text("0123456789+-.eEinfaNty_ ٣", max_size=6)))
def test_text_is_read_as_a_number_in_both_ways_or_in_none(text: str) -> None:
    encoder = TableEncoder.fit(pl.DataFrame({"x": [1.0, 3.0, None]}), [], ["x"])
    frame = pl.DataFrame({"x": [text]})
    try:
        together = encoder.transform(frame)
    except UserError:
        with pytest.raises(UserError):
            encoder.encode({"x": text})
    else:
        assert encoder.encode({"x": text}).numeric.tobytes() == together.numeric.tobytes()


@settings(max_examples=30, deadline=None)
@given(
    train=st.lists(row(scalable), min_size=1, max_size=30),
    scaling=st.sampled_from(["standard", "robust", "quantile_normal"]),
)
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


def test_robust_scales_as_scikit_learn_and_clips_smoothly() -> None:
    draw = np.random.default_rng(0)
    frame = pl.DataFrame({"x": draw.lognormal(0, 2, 501), "y": [0.0] * 400 + list(range(1, 102))})
    found = TableEncoder.fit(frame, [], ["x", "y"], scaling="robust").transform(frame).numeric
    plain = RobustScaler().fit_transform(frame[["x"]].to_numpy())[:, 0]
    assert found[:, 0] == pytest.approx(plain / np.sqrt(1 + (plain / 3) ** 2), abs=1e-6)
    few = frame["y"].to_numpy() / (101 / 2)  # quartiles that are one value: half of the range
    assert found[:, 1] == pytest.approx(few / np.sqrt(1 + (few / 3) ** 2), abs=1e-6)
    far = TableEncoder.fit(frame, [], ["x"], scaling="robust").encode({"x": 1e300}).numeric
    assert far == pytest.approx(3.0)


def test_robust_takes_numbers_that_its_scale_makes_infinite() -> None:
    """Quartiles 5e-7 apart, and a number of 1e305."""
    encoder = TableEncoder.fit(pl.DataFrame({"x": np.linspace(0, 1e-6, 101)}), [], ["x"], scaling="robust")
    records = [{"x": x} for x in (1e305, -1e305, 5e-7)]
    frame = pl.DataFrame(records)
    assert encoder.transform(frame).numeric[:, 0] == pytest.approx([3.0, -3.0, 0.0])
    assert_same(encoder, frame, records)


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
    for value in (150, 150.0, "150", np.int16(150), np.float32(150)):
        assert encoder.encode({"w": value}).categorical.tolist() == [[2]]
        assert encoder.transform(pl.DataFrame({"w": [value]})).categorical.tolist() == [[2]]
    encoder = TableEncoder.fit(pl.DataFrame({"w": [True, True, False]}), ["w"], [])
    for value in (True, "true", np.bool_(True)):
        assert encoder.encode({"w": value}).categorical.tolist() == [[2]]


def test_missing_numbers_are_zero_and_told() -> None:
    frame = pl.DataFrame({"x": [1.0, 3.0, None], "y": [1.0, 2.0, 3.0]})
    encoder = TableEncoder.fit(frame, [], ["x", "y"])
    assert encoder.numeric_names == ["x", "y", "x_missing"]
    assert encoder.transform(frame).numeric[:, [0, 2]].tolist() == [[-1, 0], [1, 0], [0, 1]]
    assert encoder.encode({"x": math.inf, "y": "2"}).numeric.tolist() == [[0, 0, 1]]


@pytest.mark.parametrize("scaling", ["standard", "robust", "quantile_normal"])
@pytest.mark.parametrize("known", [[5.0, 5.0], [0.1, 0.1, 0.1], [None, None], [math.nan, math.inf]])
def test_a_column_that_tells_nothing_is_zero(scaling: str, known: list) -> None:
    encoder = TableEncoder.fit(pl.DataFrame({"x": known}, schema={"x": pl.Float64}), [], ["x"], scaling=scaling)
    for value in (0.1, 5, 7, -1e300, None):
        assert encoder.encode({"x": value}).numeric[0, 0] == 0


def test_wrong_tables_are_refused() -> None:
    frame = pl.DataFrame({"x": ["1", "two"], "w": ["a", "b"]})
    with pytest.raises(UserError, match="x should be numeric but holds 'two'"):
        TableEncoder.fit(frame, [], ["x"])
    for value in (datetime(2020, 1, 1), [1.0]):
        with pytest.raises(UserError, match="x should be numeric but is of type"):
            TableEncoder.fit(pl.DataFrame({"x": [value]}), [], ["x"])
    with pytest.raises(UserError, match=r"x holds numbers from 1 to 1e\+200, too large"):
        TableEncoder.fit(pl.DataFrame({"x": [1.0, 1e200]}), [], ["x"])
    with pytest.raises(UserError, match="scaling 'minmax' does not exist"):
        TableEncoder.fit(frame, ["w"], [], scaling="minmax")
    encoder = TableEncoder.fit(pl.DataFrame({"x": [1.0], "w": ["a"]}), ["w"], ["x"])
    with pytest.raises(UserError, match="missing from the table: w"):
        encoder.transform(pl.DataFrame({"x": [1.0]}))
    for value in ("two", "1_0", " 1", "٣", "", [1], 10**400):
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
    (folder / "encoder.json").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="holds no whole encoder"):
        TableEncoder.load(folder)
    (folder / "encoder.json").write_text(json.dumps(plain))
    state = load_file(folder / "encoder.safetensors")
    save_file({"mean": state["mean"]}, folder / "encoder.safetensors")
    with pytest.raises(UserError, match="holds no whole encoder"):
        TableEncoder.load(folder)
    save_file({name: array[:0] for name, array in state.items()}, folder / "encoder.safetensors")
    with pytest.raises(UserError, match=r"does not belong to encoder\.json"):
        TableEncoder.load(folder)
    (folder / "encoder.safetensors").write_bytes(b"half")
    with pytest.raises(UserError, match="holds no whole encoder"):
        TableEncoder.load(folder)
