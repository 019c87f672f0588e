"""Which words of a label are fraud, and what becomes of the others."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from fraudlab.data.sources.table.label_words import Labels
from fraudlab.errors import UserError
from tests.support.tables import load, write


@pytest.mark.parametrize("name", ["t.parquet", "t.csv"])
@pytest.mark.parametrize(
    ("values", "settings"),
    [
        ([False, True, False], {}),
        ([0.0, 1.0, 0.0], {}),
        (["0", "1", "0"], {}),
        (["'0'", " '1' ", "'0'"], {}),
        (["FALSE", "true", "False"], {}),
        (["no", "yes", "perhaps"], {"fraud_values": ["yes"], "genuine_values": ["no", "perhaps"]}),
        (["no", "yes", "perhaps"], {"fraud_values": ["yes"], "unlabelled": "genuine"}),
        ([3, 2, 3], {"fraud_values": ["2"]}),
        ([0.0, 1.0, 2.0], {"fraud_values": ["1.0"], "genuine_values": ["0", "2"]}),
        ([False, True, False], {"fraud_values": ["True"]}),
        (["ok", "atm", "ok"], {"fraud_values": ["atm", "web"]}),
        (["10", "010", "10.0"], {"fraud_values": ["010"]}),
    ],
)
def test_labels(name: str, values: list[Any], settings: dict[str, Any], tmp_path: Path) -> None:
    path = write(tmp_path / name, {"fraud": values})
    assert load(path, **settings).frame.collect()["fraud"].to_list() == [0, 1, 0]


@pytest.mark.parametrize("value", [0, 1])
def test_a_label_of_one_class_is_left_to_the_split(value: int, tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", {"fraud": [value] * 3})
    assert load(path).frame.collect()["fraud"].to_list() == [value] * 3
    assert load(path, fraud_values=["1"]).frame.collect()["fraud"].to_list() == [value] * 3


def test_rows_that_say_neither_are_refused_left_out_or_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    status = ["legit", "NA", "fraud", None, "pending", "legit"]
    path = write(tmp_path / "t.csv", {"row": [1, 2, 3, 4, 5, 6], "status": status})
    words: dict[str, Any] = {"label": "status", "fraud_values": ["fraud"], "genuine_values": ["legit"]}
    with pytest.raises(UserError, match=r"legit \(2\), NA \(1\), fraud \(1\), pending \(1\); .*NA, pending is not"):
        load(path, **words)
    kept = load(path, unlabelled="leave_out", **words).frame.collect()
    assert kept.select("row_id", "row", "status").rows() == [(0, 1, 0), (2, 3, 1), (5, 6, 0)]
    assert "3 rows without a label (NA, pending, nothing) are left out: data.unlabelled=leave_out" in caplog.text
    kept = load(path, unlabelled="genuine", **words).frame.collect()
    assert kept["status"].to_list() == [0, 0, 1, 0, 0, 0]
    assert "count as genuine" in caplog.text
    assert "legit (2), NA (1), fraud (1), pending (1); fraud: fraud" in caplog.text
    (tmp_path / "n.csv").write_text("y,a\n1,2\n0,3\n?,4\n")
    read = load(
        tmp_path / "n.csv", label="y", unlabelled="leave_out", fraud_values=["1"], genuine_values=["0"]
    ).schema.reading
    same = pl.DataFrame({"y": ["1", "0", "?"]}).select(Labels(**read.label).of_file("y", pl.String()).alias("y"))
    assert same["y"].to_list() == [1, 0, None]


@pytest.mark.parametrize(
    "settings", [{}, {"fraud_values": ["true"]}, {"fraud_values": ["TRUE"], "genuine_values": ["False"]}]
)
@pytest.mark.parametrize("unlabelled", ["genuine", "leave_out"])
def test_all_spellings_of_true_are_frauds(unlabelled: str, settings: dict[str, Any], tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", {"row": [1, 2, 3, 4, 5], "fraud": ["true", "TRUE", "FALSE", "false", "NA"]})
    frame = load(path, unlabelled=unlabelled, **settings).frame.collect()
    expected = [(1, 1), (2, 1), (3, 0), (4, 0), (5, 0)]
    assert frame.select("row", "fraud").rows() == expected[: 5 if unlabelled == "genuine" else 4]


def test_one_as_a_fraction_is_a_fraud_beside_other_words(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", {"fraud": ["1.0", "1", "0", "0.0", "x"]})
    assert load(path, unlabelled="genuine").frame.collect()["fraud"].to_list() == [1, 1, 0, 0, 0]
    frame = load(path, unlabelled="leave_out", fraud_values=["1"]).frame.collect()
    assert frame["fraud"].to_list() == [1, 1, 0, 0]


def test_words_in_another_case_are_not_taken_for_genuine(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", {"fraud": ["Yes", "YES", "yes", "No"]})
    with pytest.raises(UserError, match="the meaning of No, YES, yes is not given"):
        load(path, fraud_values=["Yes"])
    frame = load(path, fraud_values=["Yes", "YES", "yes"]).frame.collect()
    assert frame["fraud"].to_list() == [1, 1, 1, 0]
    with pytest.raises(UserError, match=r"data.fraud_values=\[Yes, YES, yes\]"):
        load(path, fraud_values=["Yes"], unlabelled="genuine")


@pytest.mark.parametrize(("typed", "yaml"), [("True", "Yes, On or true"), ("False", "No, Off or false")])
def test_what_yaml_makes_of_yes_is_explained(typed: str, yaml: str, tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", {"fraud": ["Yes", "No"]})
    with pytest.raises(
        UserError, match=f"{typed} is not among .*YAML reads {yaml} as {typed.lower()}: write it in quo"
    ):
        load(path, fraud_values=[typed])


@pytest.mark.parametrize(
    ("values", "asked", "message"),
    [
        (["ok", "lost", "stolen"], ["lost", "stollen"], "stollen is not among .*did you mean stolen"),
        (["Fraud", "Fraud", "Fraud"], ["fraud"], "fraud is not among .*did you mean Fraud"),
        (["a", "b", "a"], ["c"], r"data.fraud_values: c is not among the values of fraud: a \(2\), b \(1\)$"),
        (["010", "020", "020"], ["8"], "YAML reads 010 as 8: write it in quotes"),
    ],
)
def test_a_word_that_no_row_has(values: list[str], asked: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        load(write(tmp_path / "t.csv", {"fraud": values}), fraud_values=asked, unlabelled="genuine")


def test_words_of_other_years_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path / "t.csv", {"fraud": ["ok", "atm", "ok"]})
    load(path, fraud_values=["atm", "web"], unlabelled="genuine")
    assert "data.fraud_values: no row of fraud has web" in caplog.text
