"""Training, predict and a served record read a table by the same rules, whatever its dialect."""

import csv
import datetime
import gzip
import io
import zoneinfo
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from fraudlab.bundle import Bundle
from fraudlab.bundle.reading import InputReading
from fraudlab.bundle.scoring import score_file
from fraudlab.config import TableConfig
from fraudlab.errors import UserError
from fraudlab.features.encoder import Arrays
from tests.support.bundles import bundle_of, same

pytestmark = pytest.mark.long

# Any other id or number gives another score.
WAVE = """<ir_version: 8, opset_import: ["": 12]>
wave (int64[rows, columns] categorical, float[rows, numbers] numeric) => (float[rows] score) {
    ids = Cast <to = 1> (categorical)
    whole = ReduceSum <axes = [1], keepdims = 0> (ids)
    real = ReduceSum <axes = [1], keepdims = 0> (numeric)
    sum = Add (whole, real)
    wave = Sin (sum)
    score = Sigmoid (wave)
}"""

WORDS = st.text("abcxyzäé 0123", min_size=1, max_size=6)
COLUMNS = {
    "whole": st.integers(-(10**6), 10**6),
    "real": st.decimals(-99_999, 99_999, places=2).map(float),
    "word": WORDS.filter(lambda word: word.strip() != ""),
    "flag": st.booleans(),
    "code": st.integers(0, 999).map(lambda code: f"{code:05}"),
}


@st.composite
def written(draw: st.DrawFn) -> tuple[bytes, dict[str, Any], list[str], list[list[str]]]:
    """A table as a file, the settings that it needs, its names and its cells as they are written."""
    kinds = draw(st.lists(st.sampled_from(sorted(COLUMNS)), min_size=1, max_size=4))
    rows = draw(st.integers(4, 12))
    separator = draw(st.sampled_from([",", ";", "\t", "|"]))
    decimal, thousands = draw(st.sampled_from([(".", ""), (".", ","), (",", ""), (",", "."), (".", " "), (".", "'")]))
    currency = draw(st.sampled_from(["", "$", "€", "USD "]))
    encoding = draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1252"]))
    blanks = draw(st.sampled_from(["", " "]))
    missing = draw(st.sampled_from(["", "NA", "?"]))

    def cell(kind: str, value: Any) -> str:
        if value is None:
            return missing if kind in ("whole", "real") else ""
        if kind in ("whole", "real"):
            digits = f"{value:,.2f}" if kind == "real" else f"{value:,}"
            text = digits.replace(",", "T").replace(".", decimal).replace("T", thousands)
            return currency + text + blanks
        return f"{blanks}{str(value).upper() if kind == 'flag' else value}{blanks}"

    values = []
    for kind in kinds:
        column = st.none() | COLUMNS[kind] if draw(st.booleans()) else COLUMNS[kind]
        values.append([cell(kind, draw(column)) for _ in range(rows)])
    names = [f"{kind}_{number}" for number, kind in enumerate(kinds)]
    labels = ["1" if row % 3 == 0 else "0" for row in range(rows)]
    cells = [list(row) for row in zip(*values, labels, strict=True)]
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, lineterminator=draw(st.sampled_from(["\n", "\r\n"])))
    writer.writerows([[*names, "fraud"], *cells])
    content = text.getvalue().encode(encoding, "replace")
    given_settings: dict[str, Any] = {
        "decimal": decimal,
        "thousands": thousands,
        "currency": currency != "",
        "encoding": encoding if encoding == "cp1252" else None,
        "numeric": [name for name, kind in zip(names, kinds, strict=True) if kind in ("whole", "real")],
        "categorical": [name for name, kind in zip(names, kinds, strict=True) if kind not in ("whole", "real")],
    }
    if draw(st.booleans()):
        content = gzip.compress(content)
    return content, given_settings, names, cells


def waving(folder: Path, config: TableConfig) -> tuple[Bundle, Arrays, pl.DataFrame]:
    """A bundle, and the arrays and the table that its encoder was fitted on, in the order of the file."""
    bundle, encoder, frame = bundle_of(folder, config, WAVE)
    frame = frame.sort("row_id")
    return bundle, encoder.transform(frame), frame


@settings(max_examples=60, deadline=None)
@given(written())
def test_a_random_table_is_read_alike_or_refused(
    tmp_path_factory: pytest.TempPathFactory, drawn: tuple[bytes, dict[str, Any], list[str], list[list[str]]]
) -> None:
    content, given_settings, names, cells = drawn
    folder = tmp_path_factory.mktemp("alike")
    path = folder / "t.csv"
    path.write_bytes(content)
    try:
        bundle, learnt, frame = waving(folder, TableConfig(path=str(path), label="fraud", **given_settings))
    except UserError as refused:
        event("refused")
        what_to_type = "data." in str(refused)
        assert what_to_type
        return
    scored = score_file(bundle, path, folder / "scores.parquet").collect()
    assert scored["score"].to_list() == bundle.score(learnt).tolist()
    as_written = [dict(zip(names, row, strict=False)) for row in cells]
    if given_settings["encoding"] is None:  # cp1252 lacks some letters
        assert same(learnt, bundle.encode(as_written))
    as_values = [{name: value for name, value in row.items() if name in names} for row in frame.to_dicts()]
    assert same(learnt, bundle.encode(as_values))


@pytest.mark.parametrize(
    ("text", "given_settings"),
    [
        ("t,a,fraud\n1/13/2024 10:00,1,0\n1/14/2024 11:30,2,1\n", {
            "time": "when", "derive": {"when": "STRPTIME(t, '%m/%d/%Y %H:%M')", "hour": "EXTRACT(hour FROM when)"}}),
        ("Amount,fraud\n\"$1,234.50\",0\n$-2.25,1\n", {
            "amount": "cents", "currency": True, "thousands": ",", "derive": {"cents": "Amount * 100"}}),
        ("Age,kind,fraud\n0,b,0\n31,a,1\n", {"derive": {"Age": "NULLIF(Age, 0)"}}),
        ("a,b,fraud\n6,2,0\n5,0,1\n", {"derive": {"share": "a / (b + 1)", "large": "share > 2"}}),
        ("paid,state,fraud\n1.5,lost,0\n2.5,paid,1\n", {
            "derive": {"gone": "CASE WHEN state = 'lost' THEN 1 ELSE 0 END"}}),
        ("name,fraud\n John Smith ,0\nAnn,1\n", {"derive": {"long": "LENGTH(name)"}}),
        ("t,a,fraud\n1704067200000,1,0\n1704070800500,2,1\n", {"time": "t", "derive": {"half": "a / 2.0"}}),
    ],
    ids=["time", "amount", "replaced", "steps", "case", "text", "unit"],
)  # fmt: skip
def test_derived_columns_are_made_of_files_and_records(
    text: str, given_settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "t.csv").write_text(text)
    config = TableConfig(path=str(tmp_path / "t.csv"), label="fraud", **given_settings)
    bundle, learnt, _ = waving(tmp_path, config)
    scored = score_file(bundle, tmp_path / "t.csv", tmp_path / "scores.parquet").collect()
    assert scored["score"].to_list() == bundle.score(learnt).tolist()
    assert len(set(scored["score"])) == 2
    records = list(csv.DictReader(io.StringIO(text)))
    assert same(learnt, bundle.encode(records))
    read = [dict(bundle.reading.of_record(record)) for record in records]
    for record, typed in zip(records, read, strict=True):  # one column alone is what it is among the others
        assert {name: bundle.reading.value(record, name) for name in typed} == typed
    monkeypatch.setattr(InputReading, "derived", None)  # which a raw column must not wait for
    for name in set(read[0]) - set(config.derive):
        assert [bundle.reading.value(record, name) for record in records] == [typed[name] for typed in read]
    fields = {field["name"] for field in bundle.schema["fields"]}
    assert fields.isdisjoint(set(config.derive) - set(records[0]))
    assert fields - {"row_id"} <= set(records[0])


def test_a_value_of_which_nothing_can_be_derived_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("t,a,fraud\n1/13/2024,1,0\n1/14/2024,2,1\n")
    config = TableConfig(path=str(tmp_path / "t.csv"), label="fraud", derive={"day": "STRPTIME(t, '%m/%d/%Y')",
                         "weekday": "EXTRACT(isodow FROM day)"})  # fmt: skip
    bundle, _, _ = waving(tmp_path, config)
    with pytest.raises(UserError, match=r"data\.derive\.day: t is '14.1.2024', not a time written as 01/31/2024$"):
        bundle.predict([{"t": "14.1.2024", "a": 1}])
    (tmp_path / "o.csv").write_text("t,a\n1/14/2024,1\n14.1.2024,1\n")
    with pytest.raises(UserError, match=r"o.csv: data\.derive\.day: t is '14.1.2024', .* as 01/31/2024 \(row 2\)"):
        score_file(bundle, tmp_path / "o.csv", tmp_path / "scores.csv")


MOMENTS = [datetime.datetime(2024, 1, 1 + n % 28, 5 * n % 24, n % 60) for n in range(60)]
ISO = [f"{moment}" for moment in MOMENTS]
LATER = [datetime.datetime(2024, 3, 4, 7), datetime.datetime(2024, 3, 5, 22)]
FORMS: dict[str, list[Any]] = {
    "a blank": [f"{moment}" for moment in LATER],
    "T": [f"{moment:%Y-%m-%dT%H:%M:%S}" for moment in LATER],
    "Z": [f"{moment:%Y-%m-%dT%H:%M:%S}Z" for moment in LATER],
    "minutes": [f"{moment:%Y-%m-%dT%H:%M}" for moment in LATER],
    "fractions": [f"{moment:%Y-%m-%dT%H:%M:%S}.000" for moment in LATER],
    "an offset": [f"{moment:%Y-%m-%d %H:%M:%S}+00:00" for moment in LATER],
    "mixed": [f"{LATER[0]:%Y-%m-%dT%H:%M}", f"{LATER[1]}"],
    "moments": LATER,
}


def timed(folder: Path, when: list[Any], **settings: Any) -> Bundle:
    """A bundle of a table with a time, from which its hour and weekday are derived as ``describe`` writes them."""
    rows = pl.DataFrame({"when": when, "fraud": [n % 2 for n in range(len(when))]})
    path = folder / ("t.csv" if isinstance(when[0], str) else "t.parquet")
    rows.write_csv(path) if path.suffix == ".csv" else rows.write_parquet(path)
    described = {"hour": 'EXTRACT(hour FROM "when")', "weekday": 'EXTRACT(isodow FROM "when")'}
    config = TableConfig(path=str(path), label="fraud", time="when", **{"derive": described, **settings})
    return waving(folder, config)[0]


TRAINED: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "text": (ISO, {}),
    "text with Z": ([f"{moment:%Y-%m-%dT%H:%M:%S}Z" for moment in MOMENTS], {}),
    "day first": ([f"{moment:%d.%m.%Y %H:%M}" for moment in MOMENTS], {}),
    "moments": (MOMENTS, {}),
    "an earlier description": (ISO, {"derive": {
        name: f"EXTRACT({part} FROM STRPTIME(\"when\",'%Y-%m-%d %H:%M:%S'))"
        for name, part in (("hour", "hour"), ("weekday", "isodow"))}}),
}  # fmt: skip


@pytest.mark.parametrize("trained", TRAINED)
def test_the_hour_of_a_time_is_the_same_in_every_form(trained: str, tmp_path: Path) -> None:
    when, settings = TRAINED[trained]
    bundle = timed(tmp_path, when, **settings)
    scores = {}
    for form, values in FORMS.items():
        rows = pl.DataFrame({"when": values})
        rows.write_parquet(tmp_path / "o.parquet")
        rows.write_csv(tmp_path / "o.csv")
        rows.write_ndjson(tmp_path / "o.jsonl")
        for name in ("o.parquet", "o.csv", "o.jsonl"):
            scored = score_file(bundle, tmp_path / name, tmp_path / "scores.parquet").collect()
            scores[form, name] = scored["score"].to_list()
        if form != "moments":
            records = bundle.encode([{"when": value} for value in values])
            hours = records.numeric.tolist()
            scores[form, "records"] = bundle.score(records).tolist()
            assert hours == bundle.encode([{"when": value} for value in FORMS["a blank"]]).numeric.tolist()
    assert len({tuple(each) for each in scores.values()}) == 1
    assert len(set(scores["T", "o.csv"])) == 2
    pl.DataFrame({"when": [*FORMS["T"], "soon"]}).write_csv(tmp_path / "odd.csv")
    with pytest.raises(UserError, match="row 3 has 'soon' in column when, which is not a time"):
        score_file(bundle, tmp_path / "odd.csv", tmp_path / "scores.csv")
    with pytest.raises(UserError, match="column when: 'soon' is not a time"):
        bundle.predict([{"when": "soon"}])


def test_the_hour_is_that_of_the_zone(tmp_path: Path) -> None:
    """By the clock of data.time_zone, or of the zone that the times of a Parquet file have."""
    paris = [moment.replace(tzinfo=zoneinfo.ZoneInfo("Europe/Paris")) for moment in MOMENTS]
    for when, zone in ((ISO, {"time_zone": "Europe/Paris"}), (paris, {})):
        bundle = timed(tmp_path, when, **zone)
        local, utc = (bundle.encode([{"when": text}]) for text in ("2024-07-01 02:00:00", "2024-07-01T00:00:00Z"))
        assert same(local, utc)
        for name, value in (("a", datetime.datetime(2024, 7, 1, tzinfo=datetime.UTC)), ("b", "2024-07-01T02:00")):
            pl.DataFrame({"when": [value]}).write_parquet(tmp_path / f"{name}.parquet")
            scored = score_file(bundle, tmp_path / f"{name}.parquet", tmp_path / "scores.parquet").collect()
            assert scored["score"].to_list() == bundle.score(utc).tolist()
        assert len(set(bundle.score(bundle.encode([{"when": f"2024-07-01 0{n}:00"} for n in range(4)])))) == 4


def test_files_of_other_forms_are_scored_alike(tmp_path: Path) -> None:
    rows = {"Balance": [5.0, None, 12.5], "Kind": ["C ", "A", "B"], "fraud": [0, 1, 0]}
    frame = pl.DataFrame(rows)
    (tmp_path / "t.csv").write_text("Balance,Kind,fraud\n5,C,0\n,A,1\n12.5,B,0\n")
    bundle, learnt, _ = waving(tmp_path, TableConfig(path=str(tmp_path / "t.csv"), label="fraud"))
    expected = bundle.score(learnt).tolist()
    frame.write_parquet(tmp_path / "o.parquet")
    frame.write_ipc(tmp_path / "o.arrow")
    frame.write_ndjson(tmp_path / "o.jsonl")
    frame.write_csv(tmp_path / "o.csv", separator=";")
    (tmp_path / "o.csv.gz").write_bytes(gzip.compress(frame.write_csv().encode()))
    (tmp_path / "O.TXT").write_bytes(frame.drop("fraud").write_csv(separator="\t").encode("utf-16"))
    (tmp_path / "titled.csv").write_text("Export\n\n" + frame.write_csv())
    for name in ("o.parquet", "o.arrow", "o.jsonl", "o.csv", "o.csv.gz", "O.TXT", "titled.csv"):
        scored = score_file(bundle, tmp_path / name, tmp_path / "scores.parquet").collect()
        assert scored["score"].to_list() == expected, name


def test_what_is_no_number_in_a_file_is_refused_with_its_row(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,fraud\n1,0\n2,1\n")
    bundle, _, _ = waving(tmp_path, TableConfig(path=str(tmp_path / "t.csv"), label="fraud"))
    (tmp_path / "o.csv").write_text("a\n1\nNA\n3,5\n".replace("3,5", '"3,5"'))
    with pytest.raises(UserError, match="row 3 has '3,5' in column a, which is not a number"):
        score_file(bundle, tmp_path / "o.csv", tmp_path / "scores.csv")
    with pytest.raises(UserError, match="column a: '3,5' is no number"):
        bundle.predict([{"a": "3,5"}])


def test_what_is_of_another_type_in_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,flag,fraud\n1,true,0\n2,false,1\n")
    bundle, learnt, _ = waving(tmp_path, TableConfig(path=str(tmp_path / "t.csv"), label="fraud"))

    def scored(**columns: list[Any]) -> list[float]:
        pl.DataFrame(columns).write_parquet(tmp_path / "o.parquet")
        return score_file(bundle, tmp_path / "o.parquet", tmp_path / "scores.parquet").collect()["score"].to_list()

    expected = bundle.score(learnt).tolist()
    assert scored(a=[1, 2], flag=[True, False]) == scored(a=[1.0, 2.0], flag=[1, 0]) == expected
    assert same(learnt, bundle.encode([{"a": 1, "flag": 1}, {"a": 2, "flag": 0}]))
    for odd in (datetime.timedelta(seconds=1), datetime.datetime(2024, 1, 1), datetime.date(2024, 1, 1)):
        with pytest.raises(UserError, match="column a has type D.* and must be"):
            scored(a=[odd, odd], flag=[True, False])
    with pytest.raises(UserError, match="row 2 has 7 in column flag, which is neither true nor false"):
        scored(a=[1, 2], flag=[1, 7])
    (tmp_path / "o.csv").write_text("a,flag\n1,true\n2,7\n")
    with pytest.raises(UserError, match="row 2 has '7' in column flag, which is neither true nor false"):
        score_file(bundle, tmp_path / "o.csv", tmp_path / "scores.csv")
    for wrong, message in (({"a": True}, "column a: True is no number"), ({"flag": 7}, "flag: 7 is neither true nor")):
        with pytest.raises(UserError, match=message):
            bundle.predict([{"a": 1, "flag": True, **wrong}])


@pytest.mark.parametrize("name", ["o.csv", "o.parquet"])
def test_no_rows_give_no_scores(name: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,kind,fraud\n1,x,0\n2,y,1\n")
    bundle, _, _ = waving(tmp_path, TableConfig(path=str(tmp_path / "t.csv"), label="fraud"))
    none = pl.DataFrame({"a": [1], "kind": ["x"]}).clear()
    none.write_csv(tmp_path / name) if name == "o.csv" else none.write_parquet(tmp_path / name)
    for target in ("scores.csv", "scores.parquet"):
        scored = score_file(bundle, tmp_path / name, tmp_path / target).collect()
        assert scored.is_empty()
        assert {"score", "risk_level"} <= set(scored.columns)


def test_words_that_training_lacked_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = pl.DataFrame({"kind": ["online", "shop"] * 20, "zip": ["00501", "90210"] * 20, "fraud": [0, 1] * 20})
    rows.write_csv(tmp_path / "t.csv")
    bundle, _, _ = waving(tmp_path, TableConfig(path=str(tmp_path / "t.csv"), label="fraud"))
    rows.write_csv(tmp_path / "o.csv")
    score_file(bundle, tmp_path / "o.csv", tmp_path / "scores.csv")
    assert "did not occur" not in caplog.text
    rows.with_columns(pl.col("kind").str.to_uppercase()).write_csv(tmp_path / "o.csv")
    score_file(bundle, tmp_path / "o.csv", tmp_path / "scores.csv")
    assert "40 of the first 40 values of column kind did not occur in training, such as 'ONLINE'" in caplog.text
    assert "values of column zip" not in caplog.text
