"""The record as one table: of Parquet, of the journal, by any reader, and each transaction once."""

import json
import math
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import orjson
import pandas as pd
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from fraudlab.errors import UserError
from fraudlab.monitoring import records

START = datetime(2026, 3, 1, 23, 30, tzinfo=UTC)
TYPES = {"amount": "number", "count": "integer", "shop": "string", "score": "number", "at": "datetime"}
FACTS = {"bundle_version": "v1", "instance": "a", "high_threshold": 0.9, "medium_threshold": 0.5, "sample_weight": 4.0}


def row(request: str, position: int, number: str | None, amount: float, minutes: float = 0.0) -> list[Any]:
    scored = (START + timedelta(minutes=minutes)) - datetime(1970, 1, 1, tzinfo=UTC)
    reasons = [{"feature": "amount", "value": "3", "share": 0.5}] if position else None
    times = (None, "2018-07-25T14:30:00+02:00", "2018-07-25", "2018-07-25 12:30", *[None] * 600)
    inputs = [amount, 3.0, "ä", 1, "2018-07-25"]  # JSON knows one kind of number
    own = [request, position, number, times[position], scored // timedelta(microseconds=1), 0.1, 0.2, "low"]
    return [*own, reasons, None, inputs]


def journal(folder: Path, name: str, rows: list[list[Any]], types: dict[str, str] = TYPES, end: str = "") -> Path:
    path = folder / "_journal" / "a" / f"{name}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in [{**FACTS, "types": types}, *rows]) + end)
    return path


def test_every_reader_has_the_rows_of_the_journal_as_one_table(tmp_path: Path) -> None:
    cut_off = json.dumps(row("cut", 0, None, 1.0))[:-20]
    path = journal(tmp_path, "1", [row("r", n, f"t{n}", n / 2, 20 * n) for n in range(4)], end=cut_off)
    rows = records.scan(tmp_path).collect()
    assert rows.schema == records.dtypes(TYPES)
    assert rows["request_id"].to_list() == ["r"] * 4
    assert rows["input"].to_list()[3] == {"amount": 1.5, "count": 3, "shop": "ä", "score": 1.0, "at": "2018-07-25"}
    half_past, midnight = datetime(2018, 7, 25, 12, 30), datetime(2018, 7, 25)
    assert rows["transaction_time"].to_list() == [None, half_past, midnight, half_past]
    assert (rows["sample_weight"][0], rows["high_threshold"][0], rows["score"][0]) == (4.0, 0.9, 0.2)
    for (day,), part in rows.group_by(pl.col("scored_at").dt.date()):
        (tmp_path / f"day={day}").mkdir()
        part.write_parquet(tmp_path / f"day={day}" / "a_00.parquet")
    twice = records.scan(tmp_path).collect()  # where they lie, and counted once
    assert_frame_equal(twice, rows, check_row_order=False)
    path.unlink()
    assert_frame_equal(records.scan(tmp_path).collect(), rows, check_row_order=False)
    glob = f"{tmp_path}/day=*/*.parquet"
    query = f"select sum(input.amount), count(distinct day) from '{glob}'"
    assert duckdb.connect().execute(query).fetchall() == [(3.0, 2)]
    frame = pd.read_parquet(tmp_path)
    assert sorted(value["amount"] for value in frame["input"]) == [0.0, 0.5, 1.0, 1.5]
    assert frame["day"].nunique() == 2
    assert len(pl.read_parquet(glob)) == 4
    later = records.scan(tmp_path, start=START + timedelta(minutes=30)).collect()
    assert sorted(later["position"]) == [2, 3]
    assert records.scan(tmp_path, stop=datetime(2026, 3, 1, 23, 50)).collect()["position"].to_list() == [0]


def test_what_was_sent_again_counts_once_and_nothing_else(tmp_path: Path) -> None:
    rows = [
        row("r1", 0, "1", 1.0, 9),  # first stays the one that was scored first
        row("r1", 0, "1", 1.0),
        row("r1", 1, "2", 2.0),
        row("r2", 1, "2", 2.0, 5),  # a request id of its own, the same transaction
        row("same for all", 0, "3", 3.0),
        row("same for all", 0, "4", 4.0),  # a client that has one request id: other transactions
        row("r5", 0, None, 5.0),
        row("r6", 0, None, 5.0),
        row("r7", 0, "2", 7.0),  # an id that was used again for something else
    ]
    journal(tmp_path, "1", rows)
    found = records.scan(tmp_path).collect()
    kept = [(each["request_id"], each["transaction_id"], each["scored_at"]) for each in found.iter_rows(named=True)]
    want = [("r1", "1"), ("r1", "2"), ("same for all", "3"), ("same for all", "4"), ("r5", None), ("r6", None)]
    assert sorted(kept, key=str) == sorted([(*each, START) for each in (*want, ("r7", "2"))], key=str)


def test_bundles_of_other_fields_stand_in_one_table(tmp_path: Path) -> None:
    journal(tmp_path, "1", [row("r1", 0, "1", 1.0)])
    other = [*row("r2", 0, "2", 1.0)[:-1], [2.5, "code"]]
    journal(tmp_path, "2", [other], {"count": "number", "amount": "string"})
    found = records.scan(tmp_path).collect()["input"].to_list()
    assert found[0] == {"amount": "1.0", "count": 3.0, "shop": "ä", "score": 1.0, "at": "2018-07-25"}
    assert found[1] == {"amount": "code", "count": 2.5, "shop": None, "score": None, "at": None}


def test_values_are_read_as_they_were_sent(tmp_path: Path) -> None:
    """Whatever a text looks like in JSON and in CSV; each in a file of its own: all rows of one are read alike."""
    draw = np.random.default_rng(0)
    floats = draw.integers(0, 2**63, 500, dtype=np.uint64).view(np.float64)
    numbers = [*floats[np.isfinite(floats)].tolist(), 0.0, -0.0, 5e-324, 1.7976931348623157e308, 7, -(2**53), None]
    wholes = [*draw.integers(-(2**63), 2**63 - 1, 20).tolist(), 2**63 - 1, -(2**63), 0, None]
    texts = ["", "null", "a null", "true", "1.0", " a ", "a,b", ",", '"', '"a"', "it's", "a\tb", "a\nb", "\r", "\\",
             "\0", "#", "\ufeff", "日本", "[", "]", "x" * 5000, None]  # fmt: skip
    types = {"number": "number", "whole": "integer", "text": "string", "flag": "boolean", "again": "string"}
    given = [[each, 1, "a", True, "b"] for each in numbers], [[0.5, each, "a", None, "b"] for each in wholes]
    alone = [[[0.5, 1, each, False, last]] for each in texts for last in (each, "b")]
    alone += [[[0.5, 1.0, "a", None, None]], [[1, None, None, None, None]], [[None] * 5]]
    place = tmp_path / "_journal" / "a"
    place.mkdir(parents=True)
    for number, inputs in enumerate([*given, *alone]):
        lines = [
            orjson.dumps(row(f"{number:03}", n, None, 0.0)[:-1]) + b"\t" + orjson.dumps(its)
            for n, its in enumerate(inputs)
        ]
        head = orjson.dumps({**FACTS, "types": types})
        (place / f"{number:03}.jsonl").write_bytes(b"\n".join([head, *lines, b""]))
    found = records.rows(tmp_path).sort("request_id", "position").collect()["input"].to_list()
    sent = [its for inputs in (*given, *alone) for its in inputs]
    assert [list(each.values()) for each in found] == sent
    signs = [math.copysign(1, its["number"]) for its in found if its["number"] == 0]
    assert signs.count(-1) == 1


def test_further_columns_are_those_of_the_bundles_that_have_them(tmp_path: Path) -> None:
    """Rows and files of earlier versions, and of bundles without, have nulls."""
    journal(tmp_path, "1", [row("r1", 0, "1", 1.0)])
    further = {"further": ["rule", "spread_low", "spread_high"], "challenger_version": "v2"}
    path = journal(tmp_path, "2", [[*row("r2", 0, "2", 1.0), ["money", 0.1, 0.4], [0.3, 0.25, "low", None]]])
    head, *lines = path.read_text().splitlines()
    lines += [json.dumps([*row("r3", 0, "3", 1.0), ["money", 0.1], None])]  # not so many as the first line says
    path.write_text("\n".join([json.dumps({**json.loads(head), **further}), *lines]) + "\n")
    found = records.scan(tmp_path).collect().sort("request_id")
    assert found["rule"].to_list() == [None, "money"]
    assert found["spread_low"].to_list() == [None, 0.1]
    assert found["spread_high"].to_list() == [None, 0.4]
    assert found["challenger_score"].to_list() == [None, 0.25]
    (tmp_path / "day=2026-03-01").mkdir()
    found.drop("rule", "spread_low", "spread_high").write_parquet(tmp_path / "day=2026-03-01" / "a_23.parquet")
    shutil.rmtree(tmp_path / "_journal")
    assert records.scan(tmp_path).collect()["spread_low"].to_list() == [None, None]


def test_a_broken_line_costs_that_line_alone(tmp_path: Path) -> None:
    path = journal(tmp_path, "1", [row("r1", 0, "1", 1.0)])
    path.write_text(path.read_text() + '["torn\n' + json.dumps(row("r2", 0, "2", 2.0)) + "\n")
    (path.parent / "2.jsonl").write_text('{"types": {')
    assert records.scan(tmp_path).collect()["request_id"].to_list() == ["r1", "r2"]


def test_what_is_no_record_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"serving\.record_to"):
        records.scan(tmp_path / "nowhere")
    assert records.scan(tmp_path).collect().schema == records.dtypes({})
    (tmp_path / "day=2026-03-01").mkdir()
    pl.DataFrame({"x": [1]}).write_parquet(tmp_path / "day=2026-03-01" / "x.parquet")
    with pytest.raises(UserError, match="request_id"):
        records.scan(tmp_path)


def test_a_time_beyond_the_calendar_is_none_and_costs_no_row(tmp_path: Path) -> None:
    rows = [row(f"r{n}", 0, None, 1.0) for n in range(4)]
    ends = ("0001-01-01T00:00:00+05:00", "9999-12-31T23:59:59-05:00", "0001-01-01T00:00:00-05:00", "9999-12-31")
    for each, text in zip(rows, ends, strict=True):
        each[3] = text
    journal(tmp_path, "1", rows)
    found = records.scan(tmp_path).sort("request_id").collect()["transaction_time"].to_list()
    assert found == [None, None, datetime(1, 1, 1, 5), datetime(9999, 12, 31)]


@pytest.mark.parametrize("broken", [["r2", 0], [*row("r2", 0, None, 1.0)[:-1], [1.0]], {}, 7])
def test_a_line_of_another_form_costs_that_line_alone(tmp_path: Path, broken: Any) -> None:
    journal(tmp_path, "1", [row("r1", 0, None, 1.0), broken, row("r3", 0, None, 1.0)])
    assert records.scan(tmp_path).collect()["request_id"].to_list() == ["r1", "r3"]
