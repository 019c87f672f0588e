import datetime
import os
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fraudlab.errors import UserError
from tests.support.tables import ROWS, load, roles, write

DAY_1, DAY_2 = datetime.datetime(2020, 1, 1), datetime.datetime(2020, 1, 2)


# ------------------------------------------------------------------------------------------------ real tables


def test_adult(shared_data: Path, tmp_path: Path) -> None:
    counts = ["fnlwgt", "education_num", "capital_gain", "capital_loss", "hours_per_week"]
    source = load(
        shared_data / "adult" / "adult.parquet",
        label="income",
        fraud_values=[">50K"],
        missing_values=["?"],
        cache=tmp_path,
        numeric=counts,
    )
    raw = pl.read_parquet(shared_data / "adult" / "adult.parquet")
    frame = source.frame.collect()

    assert source.schema.names("numeric") == ("age", *counts)
    assert source.schema.id == "row_id"
    assert frame["row_id"].to_list() == list(range(32_561))
    assert frame["income"].dtype == pl.Int8
    assert frame["income"].sum() == (raw["income"] == ">50K").sum()
    for column in source.schema.columns:
        assert frame[column.name].null_count() == (
            (raw[column.name].cast(pl.String) == "?").sum() if column.name in raw.columns else 0
        )
        assert column.nullable == (frame[column.name].null_count() > 0)
    assert frame["capital_gain"].to_list() == [float(text) for text in raw["capital_gain"]]


def test_vehicle_claims(shared_data: Path, tmp_path: Path) -> None:
    source = load(
        shared_data / "vehicle_claims" / "fraud_oracle.parquet",
        label="FraudFound_P",
        id="PolicyNumber",
        time="accident",
        categorical=["RepNumber"],
        carried=["Year"],
        cache=tmp_path,
        missing_values=["0", "null"],
        derive={
            "day": "CASE WHEN WeekOfMonth = 5 THEN 28 ELSE 7 * WeekOfMonth - 6 END",
            "accident": "STRPTIME(CONCAT(Year, '-', COALESCE(Month, MonthClaimed), '-', day), '%Y-%b-%d')",
            "Age": "NULLIF(Age, 0)",
        },
    )
    raw = pl.read_parquet(shared_data / "vehicle_claims" / "fraud_oracle.parquet")
    frame = source.frame.collect()

    assert source.schema.time == "accident"
    assert frame["accident"].is_sorted()
    assert frame["FraudFound_P"].sum() == raw["FraudFound_P"].sum()
    assert sorted(frame["PolicyNumber"]) == sorted(raw["PolicyNumber"])
    assert frame["accident"].dt.year().to_list() == frame["Year"].to_list()
    known = frame.filter(pl.col("Month").is_not_null())
    assert known["accident"].dt.strftime("%b").to_list() == known["Month"].to_list()
    assert frame["Age"].null_count() == (raw["Age"] == 0).sum()
    assert roles(source)["RepNumber"] == "categorical"


# ------------------------------------------------------------------------------------------- reading and roles


@pytest.mark.parametrize("name", ["t.parquet", "t.csv", "t.csv.gz"])
def test_every_format_gives_the_same_table(name: str, tmp_path: Path) -> None:
    source = load(
        write(tmp_path / name, ROWS), id="number", time="when", card="who", amount="paid", missing_values=["?"]
    )
    assert roles(source) == {
        "number": "id",
        "when": "time",
        "who": "card",
        "paid": "amount",
        "kind": "categorical",
        "fraud": "label",
    }
    frame = source.frame.collect()
    assert frame["number"].to_list() == [8, 10, 9, 7]
    assert frame["when"].to_list() == [datetime.datetime(2020, 1, day) for day in (1, 1, 2, 3)]
    assert frame["kind"].to_list() == [None, "a", "b", "a"]
    assert frame["fraud"].to_list() == [1, 0, 0, 0]
    assert frame["fraud"].dtype == pl.Int8


def test_columns_without_a_role_get_one_by_type(tmp_path: Path) -> None:
    source = load(
        write(
            tmp_path / "t.parquet",
            {
                "whole": [1, 2],
                "real": [0.5, float("nan")],
                "text": ["1", "2"],
                "flag": [True, False],
                "day": [datetime.date(2020, 1, 1), datetime.date(2020, 1, 2)],
                "nothing": [None, None],
                "fraud": [True, False],
            },
        )
    )
    columns = {column.name: (column.type, column.role, column.nullable) for column in source.schema.columns}
    assert columns == {
        "row_id": ("integer", "id", False),
        "whole": ("integer", "numeric", False),
        "real": ("number", "numeric", True),
        "text": ("string", "categorical", False),
        "flag": ("boolean", "categorical", False),
        "day": ("datetime", "carried", False),
        "nothing": ("string", "categorical", True),
        "fraud": ("integer", "label", False),
    }
    assert source.frame.collect()["real"].to_list() == [0.5, None]


def test_missing_marks_do_not_make_a_csv_column_text(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", {"size": ["1", "lost", "3.5"], "fraud": [0, 1, 0]})
    with pytest.raises(UserError, match=r"data.missing_values=\['lost'\] counts them as missing"):
        load(path)
    assert roles(load(path, missing_values=["lost"]))["size"] == "numeric"


@pytest.mark.parametrize("name", ["t.parquet", "t.csv"])
def test_a_missing_number_is_missing_however_it_is_written(name: str, tmp_path: Path) -> None:
    columns = {
        "whole": [-999, 5, 0],
        "real": [-999.0, 0.5, 0.0],
        "as_text": [" -999.00", "3", " 0.5"],
        "code": ["-999", "-999.0", "0"],
        "derived": [1, 2, 3],
        "fraud": [0, 1, 0],
    }
    path = write(tmp_path / name, columns)
    if name == "t.parquet":
        pl.read_parquet(path).with_columns(pl.col("real").cast(pl.Float32)).write_parquet(path)
    source = load(
        path,
        missing_values=["?", "-999"],
        numeric=["as_text"],
        categorical=["code"],
        derive={"derived": "whole - 1004"},
    )
    frame = source.frame.collect()
    assert frame["whole"].to_list() == [None, 5, 0]
    assert frame["real"].to_list() == [None, 0.5, 0.0]
    assert frame["as_text"].to_list() == [None, 3.0, 0.5]
    assert frame["code"].null_count() == (1 if name == "t.parquet" else 2)  # text tells codes apart, numbers do not
    assert frame["derived"].to_list() == [None, -999, -1004]


def test_a_label_of_numbers_holds_no_missing_values(tmp_path: Path) -> None:
    frame = load(write(tmp_path / "t.parquet", {"size": [0, 3], "fraud": [0, 1]}), missing_values=["0"]).frame.collect()
    assert frame.select("size", "fraud").rows() == [(None, 0), (3, 1)]


def test_a_late_decimal_makes_a_csv_column_real(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", {"size": ["1"] * 5000 + ["0.5"], "fraud": [0] * 5000 + [1]})
    assert load(path).frame.collect()["size"].sum() == 5000.5


@pytest.mark.parametrize("name", ["t.parquet", "t.csv"])
def test_whole_numbers_beyond_64_bits_have_a_type_that_a_record_can_have(name: str, tmp_path: Path) -> None:
    large = [2**64 - 1, 12_345_678_901_234_567_890, 7]
    rows = pl.DataFrame({"key": large, "card": large, "shop": large, "size": large}, schema_overrides=dict.fromkeys(
        ("key", "card", "shop", "size"), pl.UInt64
    )).with_columns(small=pl.Series([1, 2, None], dtype=pl.UInt64), fraud=pl.Series([0, 1, 0]))  # fmt: skip
    rows.write_parquet(tmp_path / name) if name == "t.parquet" else rows.write_csv(tmp_path / name)
    source = load(tmp_path / name, id="key", card="card", categorical=["shop"])
    types = {column.name: column.type for column in source.schema.columns}
    assert types == {
        **dict.fromkeys(("key", "card", "shop"), "string"), "size": "number", "small": "integer", "fraud": "integer"
    }  # fmt: skip
    frame = source.frame.collect().sort("size", descending=True)
    assert frame.select("key", "card", "shop").rows() == [(str(number),) * 3 for number in large]
    assert frame["size"].to_list() == [float(number) for number in large]
    assert frame["small"].to_list() == [1, 2, None]


@pytest.mark.parametrize("given", ["folder", "glob"])
def test_several_files_are_one_table(given: str, tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    folder.mkdir()
    write(folder / "b.csv", {"fraud": [1], "size": [2.5]})
    write(folder / "a.csv", {"size": [1, 2], "fraud": [0, 0]})
    (folder / "README.txt").write_text("no table")
    frame = load(folder if given == "folder" else folder / "*.csv").frame.collect()
    assert frame.select("row_id", "size", "fraud").rows() == [(0, 1.0, 0), (1, 2.0, 0), (2, 2.5, 1)]


def test_a_code_is_the_same_in_a_file_of_numbers_and_a_file_of_text(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", {"code": [150.0, None, float("nan"), 0.5, -7.0], "fraud": [0] * 5})
    write(tmp_path / "b.parquet", {"code": ["150", "X"], "fraud": [0, 1]})
    write(tmp_path / "c.parquet", {"code": [150], "fraud": [0]})
    codes = load(tmp_path / "*.parquet").frame.collect()["code"].to_list()
    assert codes == ["150", None, None, "0.5", "-7", "150", "X", "150"]


def test_a_path_with_glob_marks_is_a_file_first(tmp_path: Path) -> None:
    assert load(write(tmp_path / "t[1].csv", ROWS)).frame.collect().height == 4


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["2020-01-02T03:04:05", "2020-01-01"], [DAY_1, DAY_2 + datetime.timedelta(seconds=11_045)]),
        (["2020-01-02 02:00:00+02:00", "2020-01-01 00:00:00Z"], [DAY_1, DAY_2]),
        ([datetime.date(2020, 1, 2), datetime.date(2020, 1, 1)], [DAY_1, DAY_2]),
        ([86_400, 0], [0, 86_400]),
    ],
)
def test_times(values: list[Any], expected: list[Any], tmp_path: Path) -> None:
    path = write(tmp_path / "t.parquet", {"when": values, "fraud": [0, 1]})
    assert load(path, time="when").frame.collect()["when"].to_list() == expected


def test_a_time_with_a_zone_is_given_in_utc(tmp_path: Path) -> None:
    zoned = pl.Series([datetime.datetime(2020, 1, 1, 12)], dtype=pl.Datetime("ms", "Asia/Tokyo"))
    pl.DataFrame({"when": zoned, "fraud": [0]}).write_parquet(tmp_path / "t.parquet")
    frame = load(tmp_path / "t.parquet", time="when").frame.collect()
    assert frame.schema["when"] == pl.Datetime("us")
    assert frame["when"].item() == zoned.dt.convert_time_zone("UTC").dt.replace_time_zone(None).item()


def test_equal_times_stand_by_id(tmp_path: Path) -> None:
    rows = {"when": [5, 5, 1, 5], "number": [3, 1, 9, 2], "fraud": [0, 0, 1, 0]}
    frame = load(write(tmp_path / "t.csv", rows), id="number", time="when", time_unit="seconds").frame.collect()
    assert frame["number"].to_list() == [9, 1, 2, 3]


def test_derived_columns_may_use_each_other(tmp_path: Path) -> None:
    source = load(write(tmp_path / "t.csv", ROWS), derive={"cents": "paid * 100", "large": "cents > 175"})
    assert roles(source)["cents"] == "numeric"
    assert roles(source)["large"] == "categorical"
    assert source.frame.collect()["large"].to_list() == [False, True, False, True]


def test_the_fingerprint_follows_settings_and_file(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", ROWS)
    before = load(path).fingerprint
    assert load(path).fingerprint == before
    assert load(path, card="who").fingerprint != before
    write(path, {**ROWS, "paid": [1.5, 2.0, 0.25, 40.0]})
    assert load(path).fingerprint != before


def test_data_are_known_again_where_they_were_copied_or_touched(tmp_path: Path) -> None:
    parts = tmp_path / "parts"
    parts.mkdir()
    write(parts / "a.csv", ROWS)
    write(parts / "b.csv", {**ROWS, "number": [1, 2, 3, 4]})
    first = load(parts / "*.csv")
    moved = tmp_path / "moved"
    shutil.copytree(parts, moved, ignore=shutil.ignore_patterns("cache"))
    for file in moved.iterdir():
        os.utime(file, ns=(0, 1))
    copied = load(moved / "*.csv")
    assert copied.fingerprint != first.fingerprint
    assert copied.data_fingerprint == first.data_fingerprint
    (moved / "a.csv").rename(moved / "c.csv")  # the rows are numbered in the order of the files
    changed = {copied.data_fingerprint, load(moved / "*.csv").data_fingerprint}
    changed.add(load(parts / "*.csv", card="who").data_fingerprint)
    write(parts / "b.csv", {**ROWS, "number": [1, 2, 3, 5]})
    changed.add(load(parts / "*.csv").data_fingerprint)
    assert len(changed) == 4


values = st.one_of(
    st.lists(st.none() | st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=5, max_size=5),
    st.lists(st.none() | st.integers(-(2**53), 2**53), min_size=5, max_size=5),
    st.lists(st.none() | st.text(min_size=1, max_size=5), min_size=5, max_size=5),
    st.lists(st.none() | st.booleans(), min_size=5, max_size=5),
)


@settings(max_examples=60, deadline=None)
@given(values, st.permutations(range(5)), st.lists(st.integers(0, 2), min_size=5, max_size=5))
def test_rows_are_kept_whole_and_sorted(
    tmp_path_factory: pytest.TempPathFactory, column: list[Any], ids: list[int], times: list[int]
) -> None:
    path = tmp_path_factory.mktemp("rows") / "t.parquet"
    write(path, {"column": column, "id": ids, "time": times, "fraud": [0, 1, 0, 1, 0]})
    source = load(path, id="id", time="time", time_unit="days", categorical=["column"])

    times, column = [86_400 * day for day in times], [_as_kept(value) for value in column]
    expected = sorted(zip(times, ids, column, [0, 1, 0, 1, 0], strict=True), key=lambda row: row[:2])
    assert source.frame.select("time", "id", "column", "fraud").collect().rows() == expected
    (schema,) = [entry for entry in source.schema.columns if entry.name == "column"]
    assert schema.nullable == (None in column)


def _as_kept(value: Any) -> Any:
    """Text loses the blanks and single quotes around it."""
    return (value.strip(" \t\r\n\v\f\0\u00a0\u2007\u202f\u3000\ufeff'") or None) if isinstance(value, str) else value


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=8))
def test_numbers_written_as_text_come_back(tmp_path_factory: pytest.TempPathFactory, numbers: list[float]) -> None:
    path = tmp_path_factory.mktemp("numbers") / "t.parquet"
    write(path, {"size": [f" {number!r}" for number in numbers], "fraud": [0] * len(numbers)})
    assert load(path, numeric=["size"]).frame.collect()["size"].to_list() == numbers
