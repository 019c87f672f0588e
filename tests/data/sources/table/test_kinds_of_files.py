"""Tables in files of any kind, whatever their names."""

import datetime
import gzip
import io
import zipfile
from pathlib import Path

import polars as pl
import pytest

from fraudlab.errors import UserError
from tests.support.tables import load

DAY = datetime.datetime
TEXT = "a,b,y\n1,x,0\n2,z,1\n"


def zipped(text: str, *names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, text)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.CSV", TEXT.encode()),
        ("t.txt", TEXT.encode()),
        ("t.data", TEXT.encode()),
        ("t", TEXT.encode()),
        ("t.tsv", TEXT.replace(",", "\t").encode()),
        ("t.csv.gz", gzip.compress(TEXT.encode(), mtime=0)),
        ("t.csv.zip", zipped(TEXT, "t.csv", "__MACOSX/._t.csv")),
        ("t.jsonl", b'{"a": 1, "b": "x", "y": 0}\n{"a": 2, "b": "z", "y": 1}\n'),
        ("t.ndjson", b'{"a": 1, "b": "x", "y": 0}\n\n{"y": 1, "b": "z", "a": 2}\n'),
        ("t.json", b'[{"a": 1, "b": "x", "y": 0}, {"a": 2, "b": "z", "y": 1}]'),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_any_kind_of_text_by_any_name(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    frame = load(tmp_path / name, label="y").frame.collect()
    assert frame.select("a", "b", "y").rows() == [(1, "x", 0), (2, "z", 1)]


@pytest.mark.parametrize("name", ["t.arrow", "t.feather", "t.parquet", "t.xlsx", "table", "t.csv.zst"])
def test_any_kind_of_binary_file(name: str, tmp_path: Path) -> None:
    frame, path = pl.DataFrame({"a": [1, 2], "b": ["x", "z"], "y": [0, 1]}), tmp_path / name
    match path.suffix:
        case ".arrow" | ".feather":
            frame.write_ipc(path)
        case ".xlsx":
            pytest.importorskip("xlsxwriter")
            frame.write_excel(path)
        case ".zst":
            frame.lazy().sink_csv(path, compression="zstd")
        case _:
            frame.write_parquet(path)
    found = load(path, label="y").frame.collect()
    assert found.select("a", "b", "y").rows() == [(1, "x", 0), (2, "z", 1)]


def test_excel_cells_are_read_as_those_of_csv(tmp_path: Path) -> None:
    pytest.importorskip("xlsxwriter")
    when = [datetime.date(2024, 1, 1), datetime.date(2024, 1, 2)]
    pl.DataFrame({"when": when, "code": ["007", "8"], "n": ["1.5", "NA"], "y": ["no", "yes"]}).write_excel(
        tmp_path / "t.xlsx"
    )
    frame = load(tmp_path / "t.xlsx", label="y", fraud_values=["yes"], time="when").frame.collect()
    assert frame.select("when", "code", "n", "y").rows() == [
        (DAY(2024, 1, 1), "007", 1.5, 0),
        (DAY(2024, 1, 2), "8", None, 1),
    ]


def test_an_archive_of_several_tables_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.zip").write_bytes(zipped(TEXT, "one.csv", "two.csv"))
    with pytest.raises(UserError, match=r"holds 2 files \(one.csv, two.csv\); unpack it"):
        load(tmp_path / "t.zip", label="y")


def test_an_archive_with_a_password_is_refused(tmp_path: Path) -> None:
    content = bytearray(zipped(TEXT, "t.csv"))
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # the flag of a password in both headers
        content[content.index(mark) + place] |= 1
    (tmp_path / "t.zip").write_bytes(content)
    with pytest.raises(UserError, match=r"cannot be unpacked here .*password.*; unpack it"):
        load(tmp_path / "t.zip", label="y")


def test_text_by_a_name_of_parquet(tmp_path: Path) -> None:
    (tmp_path / "t.parquet").write_text(TEXT)
    assert load(tmp_path / "t.parquet", label="y").frame.collect()["a"].to_list() == [1, 2]


def test_files_that_are_the_same_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "t").mkdir()
    for name in ("a.csv", "b.csv", "~$c.csv"):
        (tmp_path / "t" / name).write_text(TEXT)
    assert load(tmp_path / "t", label="y", cache=tmp_path / ".cache").frame.collect().height == 4
    assert any("a.csv and " in line and "b.csv are the same" in line for line in caplog.messages)


def test_the_sheet_with_a_table_and_no_row_of_units(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    book = pytest.importorskip("xlsxwriter").Workbook(str(tmp_path / "t.xlsx"))
    book.add_worksheet("About").write(0, 0, "Transfers of May")
    sheet = book.add_worksheet("Rows")
    for number, row in enumerate([["amount", "class"], ["EUR", "0/1"], [1.5, 0], [2.5, 1]]):
        sheet.write_row(number, 0, row)
    book.close()
    frame = load(tmp_path / "t.xlsx", label="class").frame.collect()
    assert frame.select("amount", "class").rows() == [(1.5, 0), (2.5, 1)]
    assert any("left out, row 2, which has units" in line for line in caplog.messages)
