"""What is wrong with a table or its settings is said in words."""

import datetime
import uuid
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from fraudlab.errors import UserError
from tests.support.tables import ROWS, load, roles, write


def test_paths_that_lead_nowhere(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        load(tmp_path / "none.csv")
    with pytest.raises(UserError, match="matches no file"):
        load(tmp_path / "*.csv")
    with pytest.raises(UserError, match="folder without any table"):
        load(tmp_path)
    write(tmp_path / "t.csv", ROWS)
    write(tmp_path / "t.parquet", ROWS)
    with pytest.raises(UserError, match="CSV and Parquet files"):
        load(tmp_path)


def test_parts_of_different_tables(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", {"size": [1], "fraud": [0]})
    write(tmp_path / "b.csv", {"size": [2], "other": [3]})
    with pytest.raises(UserError, match=r"b\.csv and .*a\.csv are not of one table: only the second has .* fraud"):
        load(tmp_path)
    with pytest.raises(UserError, match="only the second has the column other"):
        load(tmp_path, label="size", numeric=["other"])


@pytest.mark.parametrize("name", ["t.parquet", "t.csv.gz"])
def test_a_file_cut_short(name: str, tmp_path: Path) -> None:
    whole = write(tmp_path / name, {"fraud": [0, 1] * 5000, "text": [f"{row:x}" for row in range(10_000)]}).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=f"{name} cannot be read"):
        load(tmp_path / name)


def test_a_parquet_with_damaged_pages(tmp_path: Path) -> None:
    path = write(tmp_path / "t.parquet", {"text": [f"{row:x}" for row in range(10_000)], "fraud": [0, 1] * 5000})
    content = bytearray(path.read_bytes())
    content[4:2000] = bytes(1996)
    path.write_bytes(content)
    with pytest.raises(UserError, match="cannot be read"):
        load(path)


def test_a_csv_with_ragged_rows(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("size,fraud\n1,0\n1,0,7\n")
    with pytest.raises(UserError, match="line 3 has 3 fields where the table has 2 columns"):
        load(tmp_path / "t.csv")


@pytest.mark.parametrize("content", ["", "size,fraud\n"])
def test_an_empty_csv(content: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(UserError, match=r"is empty|no rows"):
        load(tmp_path / "t.csv")


def test_an_empty_parquet(tmp_path: Path) -> None:
    pl.DataFrame(ROWS).clear().write_parquet(tmp_path / "t.parquet")
    with pytest.raises(UserError, match="has no rows"):
        load(tmp_path / "t.parquet")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"label": "Fraud"}, "data.label=Fraud: .* did you mean fraud"),
        ({"label": "isFraud"}, "did you mean fraud"),
        ({"time": "wenn"}, "data.time=wenn: .* did you mean when"),
        ({"numeric": ["size"]}, "data.numeric=size: .* the table has: .*paid"),
        ({"id": "xyz"}, "data.id=xyz: the table has no such column"),
        ({"card": "who", "carried": ["who"]}, "column who has the role card and, in data.carried, carried"),
        ({"id": "who"}, "data.id=who: ann occurs in several rows"),
        (
            {"label": "kind"},
            r"data.label=kind must be 0 or 1 but holds: a \(2\), \? \(1\), b \(1\); .* data.fraud_values",
        ),
        ({"label": "paid"}, "data.label=paid must be 0 or 1 but holds: "),
        ({"label": "kind", "fraud_values": ["A"]}, "data.fraud_values: A is not among the values of kind: a"),
        ({"fraud_values": ["yes"]}, "data.fraud_values: yes is not among the values of fraud: 0"),
        (
            {"label": "kind", "missing_values": ["?"], "fraud_values": ["a"]},
            "data.label=kind is missing in 1 rows; data.unlab",
        ),
        ({"id": "kind", "missing_values": ["?"]}, "data.id=kind is missing in 1 rows"),
        ({"time": "who"}, "data.time=who: 'ann' is not a time in any known format; give its parts in order"),
        ({"time": "when", "missing_values": ["2020-01-03"]}, "data.time=when is missing in 1 rows"),
        ({"numeric": ["kind"]}, "column kind is numeric but holds 'a', .* data.missing_values"),
        ({"amount": "who"}, "column who is amount but holds 'ann'"),
        ({"amount": "more", "derive": {"more": "paid / (paid - 2)"}}, "data.amount=more holds infinite values"),
        ({"time": "more", "derive": {"more": "LN(paid - 0.25)"}}, "data.time=more holds infinite values"),
        ({"derive": {"more": "payed * 2"}}, "data.derive.more: .*payed"),
        ({"derive": {"more": "paid *"}}, "data.derive.more: "),
        ({"derive": {"day": "STRPTIME(who, '%Y-%m-%d')"}}, "data.derive.day: who is 'ann', not a time"),
        ({"derive": {"row_id": "number"}}, "data.id=row_id"),
        ({"derive": {"flag": "paid > 1"}, "time": "flag"}, "type Boolean is not a time"),
        ({"derive": {"day": "STRPTIME(when, '%Y-%m-%d')"}, "categorical": ["day"]}, "cannot be categorical"),
        ({"derive": {"day": "STRPTIME(when, '%Y-%m-%d')"}, "numeric": ["day"]}, "cannot be numeric"),
    ],
)
def test_wrong_settings_and_values(asked: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        load(write(tmp_path / "t.parquet", ROWS), **asked)


def test_a_column_of_lists_is_left_out_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path / "t.parquet", {"basket": [[1, 2], [3]], "fraud": [0, 1]})
    assert "basket" not in roles(load(path))
    assert 'derive: {basket_of: "ARRAY_LENGTH(basket)"}' in caplog.text
    counted = load(path, derive={"items": "ARRAY_LENGTH(basket)"}).frame.collect()
    assert counted["items"].to_list() == [2, 1]


@pytest.mark.parametrize("label", [[[0], [1]], [{"a": 0}, {"a": 1}], [datetime.timedelta(1), datetime.timedelta(2)]])
def test_a_label_of_no_plain_type(label: list[Any], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data.label=fraud has type .*, which is no label"):
        load(write(tmp_path / "t.parquet", {"size": [1, 2], "fraud": label}))


@pytest.mark.parametrize("role", ["id", "card"])
def test_bytes_are_text_or_refused(role: str, tmp_path: Path) -> None:
    ids = [uuid.UUID(int=2**127 + n).bytes for n in range(2)]
    rows: dict[str, list[Any]] = {"who": ids, "fraud": [0, 1]}
    with pytest.raises(UserError, match=rf"column who is {role} but holds bytes that are not text"):
        load(write(tmp_path / "t.parquet", rows), **{role: "who"})
    found = load(write(tmp_path / "u.parquet", {**rows, "who": [b"ann", b"bob"]}), **{role: "who"})
    assert found.frame.collect()["who"].to_list() == ["ann", "bob"]
