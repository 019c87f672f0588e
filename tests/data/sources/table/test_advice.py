"""What a message tells to type can be typed, whatever the columns are called."""

import datetime
import re
import shlex
from pathlib import Path

import polars as pl
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from fraudlab.config import TableConfig
from fraudlab.data.sources.table.names import quoted, to_type
from fraudlab.errors import UserError
from tests.support.tables import load


def typed(setting: str) -> str:
    """The value that Hydra gets from a setting typed in a shell."""
    (word,) = shlex.split(setting)
    return str(OverridesParser.create().parse_override(word).value())


@pytest.mark.parametrize(
    "name", ["day", "Trans Date", "order", "A (EUR)", "it's", 'a"b', "a$b", "x!y", "back\\slash", "ü"]
)
def test_sql_over_any_name_can_be_typed(name: str) -> None:
    for condition in (f"{quoted(name)} IS NOT NULL", f"{quoted(name)} NOT IN ('1', '2')"):
        assert typed(to_type("data.where", condition)) == condition
        assert pl.DataFrame({name: ["1", "3"]}).filter(pl.sql_expr(condition)).height


def advised(message: str) -> str:
    found = re.search(r"(\"data.where=.*?NULL'\"|data.where=\".*?\"|\"data.where='.*'\")", message)
    assert found is not None, message
    return typed(found.group())


def test_a_missing_time_is_left_out_as_advised(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("Trans Date,a,y\n2024-01-01,1,0\n,2,1\n2024-01-02,2,1\n")
    with pytest.raises(UserError) as refused:
        load(path, label="y", time="Trans Date")
    assert len(load(path, label="y", time="Trans Date", where=advised(str(refused.value))).frame.collect()) == 2


@pytest.mark.parametrize("far", [datetime.date(9999, 12, 31), datetime.datetime(9999, 12, 31)])
def test_far_days_are_left_out_as_advised(far: datetime.date, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    near = type(far)(2024, 1, 1)
    pl.DataFrame({"paid at": [near, far, near], "y": [0, 1, 1]}).write_parquet(tmp_path / "t.parquet")
    load(tmp_path / "t.parquet", label="y", time="paid at")
    (said,) = [r.getMessage() for r in caplog.records if "implausible" in r.getMessage()]
    found = load(tmp_path / "t.parquet", label="y", time="paid at", where=advised(said))
    assert len(found.frame.collect()) == 2


def test_names_with_brackets_are_quoted_in_advice(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("Amount (EUR),y\n$1.5,0\n$2.5,1\n")
    with pytest.raises(UserError, match=r"data.categorical=\['Amount \(EUR\)'\]"):
        load(tmp_path / "t.csv", label="y")


@pytest.mark.parametrize("separator", ["\\t", "tab", "\t"])
def test_a_tab_can_be_typed(separator: str, tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("a;b\ty\n1;2\t0\n")
    assert load(tmp_path / "t.txt", label="y", separator=separator).frame.collect()["a;b"].to_list() == ["1;2"]


@pytest.mark.parametrize(
    "settings", [{"separator": "||"}, {"separator": ""}, {"separator": '"'}, {"quote": ""}, {"quote": "''"}]
)
def test_a_separator_or_quote_is_one_character(settings: dict[str, str]) -> None:
    with pytest.raises(UserError, match="give one character"):
        TableConfig(path="t.csv", label="y", **settings)  # type: ignore[arg-type]


def test_a_separator_beyond_ascii(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("a§y\n1,5§0\nx§1\n")
    assert load(tmp_path / "t.txt", label="y", separator="§").frame.collect()["a"].to_list() == ["1,5", "x"]
