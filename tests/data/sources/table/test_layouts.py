"""Layouts of text that are not as most: each is read right, or the message names the setting."""

from pathlib import Path
from typing import Any

import pytest

from fraudlab.data.sources.table.files import find
from fraudlab.errors import UserError
from tests.support.tables import load, roles

READ: dict[str, tuple[str, dict[str, list[Any]]]] = {
    "Excel's line with a tab": ("sep=\t\na\ty\nu,v\t0\nw\t1\n", {"a": ["u,v", "w"]}),
    "two separators behind every row": ("a,y\n1,0,,\n2,1,,\n", {"a": [1, 2], "y": [0, 1]}),
    "R's tables": ('"a" "k" "y"\n"r1" 5 "x z" 0\n"r2" 6 "w" 1\n', {
        "column_1": ["r1", "r2"], "a": [5, 6], "k": ["x z", "w"]}),
    "R's tables with commas": ('"a","y"\n"1",5,0\n"2",6,1\n', {"column_1": [1, 2], "a": [5, 6], "y": [0, 1]}),
    "a comment above the header": ("# x, y2, z\na,k,y\n5,x,0\n6,w,1\n", {"a": [5, 6], "k": ["x", "w"]}),
    "the header once more": ("k,a,k,y\nw,5,v,0\nk,a,k,y\nx,6,u,1\n", {"a": [5, 6], "y": [0, 1]}),
    "a row that begins and ends as the header": ("k,a,y,b\nw,5,0,v\nk,6,1,b\n", {"k": ["w", "k"], "a": [5, 6]}),
    "quotes in a name": ('"say ""hi""",y\n5,0\n6,1\n', {'say "hi"': [5, 6]}),
}  # fmt: skip


@pytest.mark.parametrize("case", READ)
def test_an_odd_layout_is_read(case: str, tmp_path: Path) -> None:
    text, expected = READ[case]
    (tmp_path / "t.txt").write_text(text)
    assert load(tmp_path / "t.txt", label="y").frame.collect().select(*expected).to_dict(as_series=False) == expected


def test_an_unknown_separator_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("a!y\n1!0\n2!1\n")
    with pytest.raises(UserError, match=r"say what separates them: data\.separator"):
        load(tmp_path / "t.txt", label="y")
    assert roles(load(tmp_path / "t.txt", label="y", separator="!"))["a"] == "numeric"


def test_short_lines_with_quotes_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "t.csv").write_text('a,y,k\n5,0\n6,1,"w"\n"7, b",1\n8,0,x\n')
    load(tmp_path / "t.csv", label="y")
    assert "2 lines have fewer fields than the 3 columns" in caplog.text


def test_parts_as_hive_writes_them(tmp_path: Path) -> None:
    for part, row in (("day=2024%2D01%2D02", "1,0"), ("day=__HIVE_DEFAULT_PARTITION__", "2,1")):
        (tmp_path / "t" / part).mkdir(parents=True)
        (tmp_path / "t" / part / "a.csv").write_text(f"a,y\n{row}\n")
    (tmp_path / "t" / "day=2024%2D01%2D02" / "empty.csv").touch()
    found = find("data.path", str(tmp_path / "t"), tmp_path)
    assert [each.partition for each in found] == [{"day": "2024-01-02"}, {"day": None}]
    read = load(tmp_path / "t", label="y").frame.collect()
    assert read.select("a", "day").rows() == [(1, "2024-01-02"), (2, None)]


def test_parts_whose_names_differ_in_case(tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_text("Amount,y\n1,0\n")
    (tmp_path / "2.csv").write_text("amount,y\n2,1\n")
    with pytest.raises(UserError, match="some files have a column Amount and some amount"):
        load(tmp_path, label="y")
