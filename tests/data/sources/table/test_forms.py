"""Files as programs write them: JSON, Arrow, Excel and packed ones are read, or refused with what to do."""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from fraudlab.errors import UserError
from tests.support.tables import load, roles

TEXT = b"a,b,y\n1,x,0\n2,z,1\n"


def zipped(name: str, content: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr(name, content)
    return made.getvalue()


def tarred() -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        member = tarfile.TarInfo("t.csv")
        member.size = len(TEXT)
        archive.addfile(member, io.BytesIO(TEXT))
    return made.getvalue()


def parquet() -> bytes:
    made = io.BytesIO()
    pl.read_csv(TEXT).write_parquet(made)
    return made.getvalue()


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("t.jsonl", '{"a":1,"y":0}\n{"a":NaN,"y":1}\n', [(1, 0), (None, 1)]),
        ("t.jsonl", '\ufeff{"a":1,"y":0}\n\n{"a":2,"y":1}\n', [(1, 0), (2, 1)]),
        ("t.json", '\ufeff[{"a":1,"y":0},{"a":NaN,"y":1}]', [(1, 0), (None, 1)]),
    ],
)
def test_json_as_python_writes_it(name: str, text: str, expected: list[Any], tmp_path: Path) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert load(tmp_path / name, label="y").frame.collect().select("a", "y").rows() == expected


def test_json_values_of_several_types_are_words(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text('{"a":1,"m":{},"y":true}\n{"a":"x","m":{},"y":0}\n')
    found = load(tmp_path / "t.jsonl", label="y", fraud_values=["true"]).frame.collect()
    assert found.select("a", "y").rows() == [("1", 1), ("x", 0)]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.jsonl", '{"a":1,"y":1}\n{"a":2,"y\n{"a":2,"y":0}\n', "line 2 is not JSON"),
        ("t.jsonl", '{"a":1,"y":1}\n[1, 2]\n', "line 2 is no JSON object"),
        ("t.json", '{"a":{"0":1,"1":2},"y":{"0":0,"1":1}}', "orient='records', lines=True"),
        ("t.json", '{"columns":["a","y"],"index":[0],"data":[[1,0]]}', "orient='records', lines=True"),
        ("t.json", '[{"a":1,"y":1},', "is not JSON"),
    ],
)
def test_json_that_is_no_table(name: str, text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=message):
        load(tmp_path / name, label="y")


def test_a_stream_of_arrow(tmp_path: Path) -> None:
    pl.read_csv(TEXT).write_ipc_stream(tmp_path / "t.arrow")
    assert load(tmp_path / "t.arrow", label="y").frame.collect()["a"].to_list() == [1, 2]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv.bz2", bz2.compress(TEXT), "packed with bzip2"),
        ("t.csv.xz", lzma.compress(TEXT), "packed with xz"),
        ("t.tar.gz", gzip.compress(tarred()), "archive of tar"),
        ("t.zip", zipped("t.parquet", parquet()), "packed Parquet file"),
        ("t.csv.gz", gzip.compress(parquet()), "packed Parquet file"),
        ("t.csv", b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "a picture"),
    ],
)
def test_packed_files_are_told_apart_from_encodings(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        load(tmp_path / name, label="y")


@pytest.mark.parametrize(
    ("content", "settings"),
    [
        ("city,y\nMünchen,0\nOslo,1\n".encode("cp1252"), {"encoding": "cp1252"}),
        ("city,y\nMünchen,0\nOslo,1\n".encode("utf-16"), {}),
        ("city,y\rMünchen,0\rOslo,1\r".encode(), {}),
    ],
)
def test_zstandard_around_any_text(content: bytes, settings: dict[str, Any], tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    (tmp_path / "t.csv.zst").write_bytes(pyarrow.compress(content, codec="zstd", asbytes=True))
    found = load(tmp_path / "t.csv.zst", label="y", **settings).frame.collect()
    assert found["city"].to_list() == ["München", "Oslo"]


def excel(path: Path, **sheets: Sequence[Sequence[Any]]) -> Path:
    xlsxwriter = pytest.importorskip("xlsxwriter")
    book = xlsxwriter.Workbook(path)
    for name, rows in sheets.items():
        sheet = book.add_worksheet(name)
        for line, row in enumerate(rows):
            sheet.write_row(line, 0, row)
    book.close()
    return path


def test_a_report_of_excel(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    table = [(None, " a ", "a", " y"), *((10 * n, n / 2, "xz"[n % 2], n % 2) for n in range(6))]
    path = excel(tmp_path / "t.xlsx", cover=[], report=[(None,), ("Report of May",), (None,), *table])
    source = load(path, label="y")
    found = source.frame.collect()
    assert found.select("a", "a_2", "y").rows() == [(n / 2, "xz"[n % 2], n % 2) for n in range(6)]
    assert sorted(roles(source).values()) == ["carried", "categorical", "id", "label", "numeric"]
    for said in ("2 sheets (cover, report); report is read", "the first: 'Report of May'", "a further one is a_2"):
        assert said in caplog.text


def test_the_sheet_with_the_columns_that_are_named(tmp_path: Path) -> None:
    path = excel(tmp_path / "t.xlsx", notes=[("who", "what"), ("ann", "x")], data=[("a", "y"), (1, 0), (2, 1)])
    assert load(path, label="y").frame.collect()["a"].to_list() == [1, 2]


def test_a_sheet_is_named_and_its_total_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    book = {
        "May": [("k", "a", "y"), ("x", 1, 0), ("z", 2, 1)],
        "June": [("k", "a", "y"), ("v", 5, 1), ("Total", 5, None), (" ", None, " ")],
    }
    path = excel(tmp_path / "t.xlsx", **book)
    assert load(path, label="y").frame.collect()["a"].to_list() == [1, 2]
    assert "2 sheets (May, June); May is read, data.sheet names another" in caplog.text
    source = load(path, label="y", sheet="June")
    assert source.frame.collect().select("k", "a", "y").rows() == [("v", 5, 1)]
    assert source.schema.reading.layout["sheet"] == "June"
    assert "1 rows after the table are left out, the first: 'Total, 5" in caplog.text
    with pytest.raises(UserError, match="data.sheet=july: .* has no such sheet; it has: May, June"):
        load(path, label="y", sheet="july")
    (tmp_path / "t.csv").write_text("a,y\n1,0\n")
    with pytest.raises(UserError, match="t.csv is no Excel file"):
        load(tmp_path / "t.csv", label="y", sheet="June")


def test_an_empty_book_is_said_to_be_empty(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is empty"):
        load(excel(tmp_path / "t.xlsx", one=[]), label="y")
