"""Labels reach the history of a running server, over HTTP and from files, and change what it scores."""

import json
import shutil
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from fraudlab.bundle.contract import Refused
from fraudlab.monitoring import labels, records
from fraudlab.serving.labels import checked
from tests.conftest import Command
from tests.support.handbook import features
from tests.support.server import KEY, Server

START = datetime(2018, 7, 1, 10)


@pytest.mark.parametrize(
    ("row", "field", "said"),
    [
        (7, None, "an object"),
        ({"fraud": True}, "id", "required"),
        ({"id": 1, "request_id": "a", "position": 0, "fraud": True}, "id", "not by both"),
        ({"request_id": "a", "fraud": True}, "id", "required"),
        ({"request_id": "a b", "position": 0, "fraud": True}, "request_id", "request_id of an answer"),
        ({"request_id": "a", "position": -1, "fraud": True}, "position", "from 0"),
        ({"request_id": "a", "position": 2**31, "fraud": True}, "position", "from 0"),
        ({"id": "", "fraud": True}, "id", "64 bits"),
        ({"id": True, "fraud": True}, "id", "64 bits"),
        ({"id": 2**63, "fraud": True}, "id", "64 bits"),
        ({"id": 1}, "fraud", "required"),
        ({"id": 1, "fraud": 2}, "fraud", "true or false"),
        ({"id": 1, "fraud": True, "reversal": True}, "fraud", "leave fraud out"),
        ({"id": 1, "reversal": "yes"}, "reversal", "true or false"),
        ({"id": 1, "fraud": True, "source": ""}, "source", "1 to 64"),
        ({"id": 1, "fraud": True, "event_time": "2018-02-30"}, "event_time", "ISO 8601"),
        ({"id": 1, "Fraud": True}, "Fraud", "did you mean fraud"),
        ({"id": 1, "fraud": True, "amount": 1}, "amount", "unknown field"),
    ],
)
def test_a_label_of_another_form_is_named(row: Any, field: str | None, said: str) -> None:
    with pytest.raises(Refused) as refused:
        checked([{"id": 1, "fraud": False}, row], "test")
    assert (refused.value.problems[0]["record"], refused.value.problems[0]["field"]) == (1, field)
    assert said in refused.value.problems[0]["problem"]


def test_a_moment_without_a_zone_is_utc() -> None:
    rows = [{"id": 1, "fraud": 1, "event_time": text} for text in ("2018-08-07T09:00", "2018-08-07T11:00:00+02:00")]
    (one, other) = checked(rows, "test")
    assert one.event_time == other.event_time == (datetime(2018, 8, 7, 9) - datetime(1970, 1, 1)).total_seconds() * 1e6


def transaction(number: int, day: float, terminal: int = 9) -> dict[str, Any]:
    at = START + timedelta(days=day)
    ids = {"TRANSACTION_ID": number, "CUSTOMER_ID": 1, "TERMINAL_ID": terminal}
    return {**ids, "TX_DATETIME": at.isoformat(), "TX_AMOUNT": 90.0}


@pytest.fixture(scope="module")
def bundle(handbook_bundle: Path) -> Path:
    return handbook_bundle


@pytest.fixture(scope="module")
def store(command: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("history")
    rows = pl.DataFrame([transaction(number, -10) for number in range(20)]).with_columns(
        pl.col("TX_DATETIME").str.to_datetime(time_unit="us")
    )
    rows.write_parquet(folder / "past.parquet")
    done = command("history", f"transactions={folder}/past.parquet", f"out={folder}/h.sqlite", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "h.sqlite"


@pytest.fixture(scope="module")
def server(bundle: Path, store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(bundle, tmp_path_factory.mktemp("server"), f"serving.history={store}") as started:
        yield started


def _tell(server: Server, rows: Any, key: str = KEY) -> Any:
    return server.ask("/labels", json.dumps(rows).encode(), key=key)


def _risk(store: Path, number: int, day: float) -> float:
    from fraudlab.serving.history import History

    history = History.open(store, features())
    try:
        return history.features(transaction(number, day))["TERMINAL_ID_RISK_7DAY_WINDOW"]
    finally:
        history.close()


def test_labels_over_http_all_or_none_and_once(server: Server, store: Path) -> None:
    scored = server.predict([transaction(100 + n, n) for n in range(4)], headers={"X-Request-ID": "morning"})
    assert scored.status == 200
    before = server.predict(transaction(200, 10))
    assert _risk(store, 201, 10) == 0.0
    unknown = _tell(server, [{"id": 100, "fraud": True}, {"id": 999_999, "fraud": True}])
    assert (unknown.status, unknown.said["problems"][0]["record"]) == (422, 1)
    assert "no transaction 999999" in unknown.said["error"]
    assert _risk(store, 201, 10) == 0.0
    rows = [
        {"id": 100, "fraud": True, "source": "chargeback", "event_time": "2018-07-20T00:00:00Z"},
        {"request_id": "morning", "position": 1, "fraud": True},
        {"id": 102, "fraud": False},
    ]
    told = [_tell(server, rows) for _ in range(2)]
    assert [(each.status, each.said["labels"], each.said["new"]) for each in told] == [(200, 3, 3), (200, 3, 0)]
    assert _risk(store, 201, 10) == pytest.approx(2 / 4)
    after = server.predict(transaction(202, 10))
    assert before.status == after.status == 200
    back = [{"id": 100, "reversal": True, "source": "chargeback", "event_time": "2018-07-21T00:00:00Z"}]
    assert _tell(server, back).said["new"] == 1
    assert _risk(store, 201, 10) == pytest.approx(1 / 4)
    counted = server.ask("/metrics").text
    assert 'fraudlab_labels_total{fraud="true"} 4.0' in counted
    assert 'fraudlab_labels_total{fraud="taken back"} 1.0' in counted


def test_a_refused_list_leaves_nothing_and_its_correction_is_taken(server: Server, store: Path) -> None:
    other = transaction(300, 11)
    assert server.predict(other).status == 200
    rows = [transaction(301, 11), {**other, "TX_AMOUNT": 91.0}]  # the second stands for another transaction
    refused = server.predict(rows)
    assert (refused.status, refused.said["problems"][0]["record"]) == (422, 1)
    assert refused.said["problems"][0]["field"] == "TRANSACTION_ID"
    assert _tell(server, [{"id": 301, "fraud": True}]).status == 422
    rows = [{**transaction(301, 11), "TX_AMOUNT": 92.0}, transaction(302, 11)]
    assert server.predict(rows).status == 200


def test_the_description_says_what_the_server_takes(server: Server) -> None:
    described = server.ask("/openapi.json").said["components"]["schemas"]["Transaction"]
    assert set(transaction(1, 0)) == set(described["required"])
    time = described["properties"]["TX_DATETIME"]
    assert "format" not in time
    wanted = {"2018-07-25T14:30:00": 200, "2018-07-25T14:30": 200, "2018-07-25T14:30:00Z": 200, "2018-07-25T25:30": 422}
    for number, (text, status) in enumerate(wanted.items()):
        answer = server.predict({**transaction(400 + number, 0), "TX_DATETIME": text})
        assert answer.status == status, answer.text
        assert (pl.Series([text]).str.contains(time["pattern"].replace("(?!0000)", ""))[0]) == (status == 200)
    for name in described["required"]:
        lacking = {key: value for key, value in transaction(500, 0).items() if key != name}
        answer = server.predict(lacking)
        assert (answer.status, answer.said["problems"][0]["field"]) == (422, name)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_file_of_labels(server: Server, store: Path, command: Command, tmp_path: Path, kind: str) -> None:
    first = 600 if kind == "csv" else 700
    assert server.predict([transaction(first + n, 20, first) for n in range(2)]).status == 200
    rows = pl.DataFrame({"id": [first, first + 1], "fraud": [1, 0], "event_time": ["2018-08-01T00:00:00", None]})
    path = tmp_path / f"labels.{kind}"
    rows.write_csv(path) if kind == "csv" else rows.write_parquet(path)
    said = [command("labels", f"file={path}", f"to={store}", cwd=tmp_path) for _ in range(2)]
    assert [each.returncode for each in said] == [0, 0], said[0].stderr
    assert ["new        2" in said[0].stdout, "new        0" in said[1].stdout] == [True, True]
    pl.concat(
        [
            rows[:1].with_columns(event_time=pl.lit("2018-08-02T00:00:00")),
            rows[:1].with_columns(id=pl.lit(-5, pl.Int64)),
        ]
    ).write_csv(tmp_path / "more.csv")
    refused = command("labels", f"file={tmp_path}/more.csv", f"to={store}", cwd=tmp_path)
    assert (refused.returncode, "record 1 field id: no transaction -5" in refused.stderr) == (1, True)
    skipped = command("labels", f"file={tmp_path}/more.csv", f"to={store}", "unknown=skip", cwd=tmp_path)
    assert ["new        1" in skipped.stdout, "unknown    1" in skipped.stdout] == [True, True]


def test_labels_reach_the_history_and_the_record(bundle: Path, store: Path, tmp_path: Path) -> None:
    settings = (f"serving.history={shutil.copy(store, tmp_path)}", "serving.record_to=record")
    with Server(bundle, tmp_path, *settings) as server:
        assert server.predict(transaction(800, 30), headers={"X-Request-ID": "noon"}).status == 200
        rows = [
            {"request_id": "noon", "position": 0, "fraud": True, "event_time": "2018-08-07T09:00:00Z"},
            {"id": 999_999, "fraud": True, "source": "bank"},  # forgotten by the history, or never there
        ]
        told = _tell(server, rows)
        assert (told.status, told.said["labels"], told.said["new"], told.said["unknown"]) == (200, 2, 1, 1)
        described = server.ask("/openapi.json").said["paths"]["/labels"]["post"]["responses"]["200"]
        assert {*told.said, "future"} == set(described["content"]["application/json"]["schema"]["properties"])
        wrong = _tell(server, [{"id": 800, "fraud": True}, {"id": 800}])
        assert (wrong.status, wrong.said["problems"][0]["record"]) == (422, 1)
        assert server.end() == 0
    said = labels.told(tmp_path / "record")
    assert sorted(zip(said["transaction_id"], said["source"], strict=True)) == [("800", "key_1"), ("999999", "bank")]
    row = records.scan(tmp_path / "record").collect().row(0, named=True)
    assert row["transaction_time"] == START + timedelta(days=30)
    assert row["input"]["TERMINAL_ID_RISK_7DAY_WINDOW"] is not None  # as the model saw it
    with Server(bundle, tmp_path, "serving.record_to=record") as server:
        alone = _tell(server, {"id": 1, "reversal": True})
        assert (alone.status, set(alone.said)) == (200, {"labels", "request_id"})
        ahead = _tell(server, {"id": 2, "fraud": True, "event_time": "2999-01-01"})
        assert (ahead.status, ahead.said["future"]) == (200, 1)
        assert 'fraudlab_labels_total{fraud="taken back"} 1.0' in server.ask("/metrics").text
    assert labels.told(tmp_path / "record").height == 4


def test_a_server_without_a_history_says_so(bundle: Path, tmp_path: Path) -> None:
    with Server(bundle, tmp_path) as server:
        answer = _tell(server, [{"id": 1, "fraud": True}])
        assert (answer.status, "serving.history" in answer.said["error"]) == (404, True)
        raw = server.predict(transaction(1, 0))
        assert (raw.status, "serving.history" in raw.said["error"]) == (422, True)
        assert {each["field"] for each in raw.said["problems"]} >= {"TX_DURING_NIGHT", "TERMINAL_ID_RISK_7DAY_WINDOW"}
