"""A bundle of ``data=table`` reads files and records as the training read its table."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from fraudlab.bundle import Bundle
from fraudlab.bundle.contract import served
from fraudlab.bundle.scoring import score_file
from fraudlab.config import TableConfig
from fraudlab.data.sources import table
from fraudlab.errors import UserError
from fraudlab.features.encoder import Arrays
from fraudlab.serving.contract import Contract
from tests.support.bundles import bundle_of, same

# What a file holds: data.derive made "later" of "hour", and its -999 is a number like another.
CSV = """key,shop,age,flag,code,hour,later,fraud
1,a,30,true,7,0,-1004,0
2,?,-999,?,-999,5,-999,1
3,b,-999.0,false,8,3,-1001,0
4,a,?,true,7,-999,,1
"""
MEANT: dict[str, list[Any]] = {
    "shop": ["a", None, "b", "a"],
    "age": [30.0, None, None, None],
    "flag": [True, None, False, True],
    "code": [7, None, 8, 7],
    "hour": [0, 5, 3, None],
    "later": [-1004, -999, -1001, None],
}
AS_RECORDS = [  # JSON has true, false and null, and no word where a number belongs
    {"key": 1, "shop": "a", "age": 30, "flag": True, "code": 7, "hour": 0, "later": -1004},
    {"key": 2, "shop": "?", "age": -999, "flag": None, "code": -999.0, "hour": 5, "later": -999},
    {"key": 3, "shop": "b", "age": -999.0, "flag": False, "code": 8, "hour": 3, "later": -1001},
    {"key": 4, "shop": "a", "age": None, "flag": True, "code": 7, "hour": -999, "later": None},
]
SUM = """<ir_version: 8, opset_import: ["": 12]>
sum (int64[rows, columns] categorical, float[rows, numbers] numeric) => (float[rows] score) {
    ids = Cast <to = 1> (categorical)
    whole = ReduceSum <axes = [1], keepdims = 0> (ids)
    real = ReduceSum <axes = [1], keepdims = 0> (numeric)
    sum = Add (whole, real)
    score = Sigmoid (sum)
}"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, Arrays]:
    folder = tmp_path_factory.mktemp("missing")
    (folder / "t.csv").write_text(CSV)
    marked: dict[str, Any] = {"missing_values": ["?", "-999"], "derive": {"later": "hour - 1004"}}
    path = str(folder / "t.csv")
    return train(folder, TableConfig(path=path, label="fraud", id="key", categorical=["code"], **marked))


def train(folder: Path, config: TableConfig) -> tuple[Bundle, Arrays]:
    """A bundle that sums what it is given, and the arrays that its encoder was fitted on."""
    bundle, encoder, frame = bundle_of(folder, config, SUM)
    return bundle, encoder.transform(frame)


def test_the_rows_learnt_from_and_their_records_are_encoded_alike(trained: tuple[Bundle, Arrays]) -> None:
    bundle, learnt = trained
    assert same(learnt, bundle.encoder.transform(pl.DataFrame(MEANT)))
    assert same(learnt, bundle.encode(AS_RECORDS))
    columns = bundle.columns({"shop": "?", "hour": 5, "later": 7, "flag": True})
    assert {name: columns[name] for name in ("shop", "later", "flag")} == {"shop": None, "later": -999, "flag": True}


@pytest.mark.parametrize("kind", ["csv", "csv without derived columns or id", "parquet"])
def test_a_file_is_scored_as_it_was_learnt_from(kind: str, trained: tuple[Bundle, Arrays], tmp_path: Path) -> None:
    bundle, learnt = trained
    path = tmp_path / ("t.parquet" if kind == "parquet" else "t.csv")
    if kind == "parquet":
        types = {"flag": pl.Boolean, "age": pl.Float64}
        pl.DataFrame(AS_RECORDS, schema_overrides=types, strict=False).write_parquet(path)
    elif kind == "csv":
        path.write_text(CSV)
    else:
        pl.read_csv(CSV.encode(), infer_schema=False).drop("key", "later", "fraud").write_csv(path)
    scored = score_file(bundle, path, tmp_path / "scores.parquet").collect()
    assert scored["score"].to_list() == bundle.score(learnt).tolist()
    assert len(set(scored["score"])) == 4


def test_a_bundle_without_the_words_takes_values_as_they_are(trained: tuple[Bundle, Arrays], tmp_path: Path) -> None:
    for name in ("schema", "features"):
        plain = json.loads((trained[0].path / f"{name}.json").read_text())
        for column in plain["fields"] if name == "schema" else plain["schema"]["columns"]:
            del column["missing_values"]
        if name == "features":
            del plain["schema"]["reading"]
        (tmp_path / f"{name}.json").write_text(json.dumps(plain))
    for file in trained[0].path.iterdir():
        if not (tmp_path / file.name).exists():
            (tmp_path / file.name).symlink_to(file)
    bundle = Bundle(tmp_path, {}, "")
    assert bundle.columns({"shop": "?", "age": -999}) == {"shop": "?", "age": -999}


def test_a_first_row_without_numbers_is_scored_or_refused(trained: tuple[Bundle, Arrays], tmp_path: Path) -> None:
    path, rows = tmp_path / "t.csv", "1,a,30,true,7,0,-1004\n2,b,31,true,8,3,-1001\n"
    path.write_text(f"key,shop,age,flag,code,hour,later\n--,--,--,--,--,--,--\n{rows}")
    assert score_file(trained[0], path, tmp_path / "scores.csv").collect()["key"].to_list() == [None, 1, 2]
    path.write_text(f"key,shop,age,flag,code,hour,later\n,b,n.a.,true,,,\n{rows}")
    with pytest.raises(UserError, match=r"row 1 has 'n.a.' in column age, which is not a number"):
        score_file(trained[0], path, tmp_path / "scores.csv")


def test_a_row_of_types_that_is_not_scored_is_told_with_its_number(
    trained: tuple[Bundle, Arrays], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, types = tmp_path / "t.csv", "int64,object,float64,bool,int64,int64,int64"
    path.write_text(f"key,shop,age,flag,code,hour,later\n{types}\n1,a,30,true,7,0,-1004\n2,b,31,true,8,3,-1001\n")
    assert score_file(trained[0], path, tmp_path / "scores.csv").collect()["key"].to_list() == [1, 2]
    assert any("left out, line 2, which has units, types" in line for line in caplog.messages)


@pytest.mark.parametrize("name", ["t.parquet", "t.csv"])
def test_whole_numbers_beyond_64_bits_are_scored_as_they_were_learnt(name: str, tmp_path: Path) -> None:
    large = [2**64 - 1, 12_345_678_901_234_567_890, 7]
    rows = pl.DataFrame({"key": large, "shop": large, "size": large, "fraud": [0, 1, 0]}, strict=False)
    rows = rows.with_columns(pl.col("key", "shop", "size").cast(pl.UInt64))
    path = tmp_path / name
    rows.write_parquet(path) if name == "t.parquet" else rows.write_csv(path)
    config = TableConfig(path=str(path), label="fraud", id="key", categorical=["shop"])
    bundle, learnt = train(tmp_path, config)
    learnt_keys = table.load(config, tmp_path / "cache").frame.collect()["key"].to_list()

    scored = score_file(bundle, path, tmp_path / "scores.parquet").collect()
    assert scored["key"].to_list() == [str(number) for number in large]
    by_key = dict(zip(learnt_keys, bundle.score(learnt).tolist(), strict=True))
    assert scored["score"].to_list() == [by_key[str(number)] for number in large]
    assert len(set(scored["score"])) == 3
    asked = [{"key": str(number), "shop": str(number), "size": float(number)} for number in large]
    assert bundle.predict(asked).tolist() == scored["score"].to_list()
    schema = served(bundle.schema, bundle.features, history=False)
    checked = Contract(schema, max_records=3, refuse_unknown=True).check(json.dumps(asked).encode())
    assert checked.records == asked


def test_what_a_caller_must_send_is_named_not_what_is_made_of_it(tmp_path: Path) -> None:
    days = [f"{day:02}.01.2024" for day in range(1, 29)]
    rows = {"filed": days, "gross": [float(n) for n in range(28)], "tax": [1.0] * 28, "fraud": [0, 1] * 14}
    pl.DataFrame(rows).write_csv(tmp_path / "t.csv")
    made = {"weekday": "EXTRACT(isodow FROM filed)", "net": "gross - tax"}
    bundle, _ = train(tmp_path, TableConfig(path=str(tmp_path / "t.csv"), label="fraud", time="filed", derive=made))
    assert {field["name"]: field["required"] for field in bundle.schema["fields"] if field["role"] != "id"} == {
        "filed": True, "gross": True, "tax": True,
    }  # fmt: skip
    whole = {"filed": "29.01.2024", "gross": 3, "tax": 1}
    assert bundle.predict([whole]).shape == (1,)
    with pytest.raises(UserError, match=r"^record 0 field filed: required: every training row had it$"):
        bundle.predict([{**whole, "filed": None}])
    with pytest.raises(UserError, match=r"record 0 field tax: required: every training row had it"):
        bundle.predict([{"filed": "29.01.2024", "gross": 3}])
    as_written = r"'29/01/2024' is not a time; write it as 31.01.2024 as in the training table, or year first, as 2024-"
    with pytest.raises(UserError, match=f"column filed: {as_written}"):
        bundle.predict([{**whole, "filed": "29/01/2024"}])
    (tmp_path / "u.csv").write_text("filed,gross,tax\n29.01.2024,3,1\n,3,1\n")
    with pytest.raises(UserError, match="row 2: filed has no value, and every training row had one"):
        score_file(bundle, tmp_path / "u.csv", tmp_path / "scores.csv")
