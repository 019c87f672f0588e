"""The record of inputs and answers: whole, and no card in the clear."""

import hmac
import json
import shutil
import signal
from pathlib import Path

import orjson
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from fraudlab import bundle as bundles
from fraudlab.config.serve import ServingConfig
from fraudlab.monitoring import records
from fraudlab.monitoring.erasure import erase
from fraudlab.serving.generation import _hand_over
from fraudlab.serving.recording import Form, Recorder, Rows
from fraudlab.serving.telemetry import Telemetry
from tests.support.server import HASH_KEY, Server, refused, until

HASHED = [*(f"card{i}" for i in range(1, 7)), "client", "addr1"]


def _hash(text: str) -> str:
    return hmac.new(HASH_KEY.encode(), text.encode(), "sha256").hexdigest()


def test_cards_and_named_columns_are_recorded_as_keyed_hashes(exported: tuple[Path, Path], tmp_path: Path) -> None:
    bundle = bundles.load(exported[1])
    sent = [row["record"] for row in bundle.golden()[:6]]
    again = {**sent[0], "TransactionID": 5, "card1": float(sent[0]["card1"])}  # JSON knows one kind of number
    folder = tmp_path / "record"
    settings = (f"serving.record_to={folder}", "serving.hash_columns=[addr1]", "serving.record_reasons=2")
    with Server(exported[1], tmp_path, *settings, "serving.decisions.low=accept") as server:
        said = server.predict(sent, "?explain=1").said["predictions"]
        assert [len(answer["reasons"]) for answer in said] == [1] * 6
        answer = server.predict(again, headers={"X-Request-ID": "the-last"})
        assert (answer.status, "reasons" in answer.said) == (200, False)
        assert server.predict({"TransactionDT": "broken"}).status == 422
        until(lambda: "fraudlab_recorded_total 7.0" in server.ask("/metrics").text)
        rows = records.scan(folder).collect()  # of the journal
        clear = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
        assert server.end() == 0
    assert not list(folder.glob("_journal/*/*.jsonl"))
    (file,) = folder.glob("day=*/*.parquet")
    assert_frame_equal(pl.read_parquet(file), rows)
    assert rows["position"].to_list() == [*range(6), 0]
    assert rows["score"].to_list()[:6] == [answer["score"] for answer in said]
    raw = bundle.probability(bundle.encode(sent))
    assert rows["raw_score"].to_list()[:6] == pytest.approx(raw.tolist(), abs=1e-6)
    assert bundle.decision.calibrate(rows["raw_score"].to_numpy()) == pytest.approx(rows["score"].to_numpy(), abs=1e-6)
    assert rows["risk_level"].to_list()[:6] == [bundle.decision.level(answer["score"]) for answer in said]
    assert rows["transaction_id"].to_list() == [*(str(record["TransactionID"]) for record in sent), "5"]
    assert rows["request_id"][-1] == "the-last"
    assert [len(reasons) for reasons in rows["reasons"]] == [2] * 7
    first = said[0]["reasons"][0]
    assert rows["reasons"][0][0]["feature"] == first["field"]
    assert rows["reasons"][0][0]["share"] == first["share"]
    levels = {"low": "accept", "medium": None, "high": None}
    assert rows["decision"].to_list() == [levels[level] for level in rows["risk_level"]]
    thresholds = rows.select("medium_threshold", "high_threshold").unique().row(0, named=True)
    assert thresholds == {f"{name}_threshold": value for name, value in bundle.decision.thresholds.items()}
    assert set(rows["bundle_version"]) == {bundle.version}
    for row, record in zip(rows["input"].to_list(), [*sent, sent[0]], strict=True):
        for name in HASHED:
            kind = kind_of(bundle, name)
            value = record.get(name)
            expected = None if value is None else _hash(str(float(value)) if kind == "number" else str(value))
            assert row[name] == expected
        assert row["TransactionAmt"] == record["TransactionAmt"]
        assert row["P_emaildomain"] == record.get("P_emaildomain")
    assert rows["input"].struct.field("card1").n_unique() > 1
    assert folder.stat().st_mode & 0o777 == 0o700  # e-mail domains and devices stand there in the clear
    assert {path.stat().st_mode & 0o077 for path in folder.rglob("*")} == {0}
    assert b"visa" not in clear + file.read_bytes()
    assert b"gmail.com" in clear
    same = rows["input"].struct.field("card1") == rows["input"][0]["card1"]
    erased = erase(folder, [f"0{sent[0]['card1']:.0f}"], HASH_KEY.encode())  # zeros before a number are none of it
    assert erased.rows == same.sum()
    assert records.scan(folder).collect().height == 7 - erased.rows


@pytest.mark.parametrize(
    ("override", "key", "said"),
    [
        ("serving.hash_columns=[nobody]", HASH_KEY, "no field nobody"),
        ("serving.hash_columns=[TransactionID]", HASH_KEY, "TransactionID is the transactions' id"),
        ("serving.hash_columns=[addr1]", "short", "FRAUDLAB_HASH_KEY"),
        ("serving.record_upload=bucket", HASH_KEY, "gs://bucket/folder"),
        ("serving.record_to=/proc/nowhere", HASH_KEY, "serving.record_to=/proc/nowhere cannot be written"),
    ],
)
def test_what_cannot_be_hashed_or_written_is_told_at_the_start(
    exported: tuple[Path, Path], tmp_path: Path, override: str, key: str, said: str
) -> None:
    assert said in refused(exported[1], tmp_path, "serving.record_to=r", override, hash_key=key)


def test_a_reason_has_the_hash_of_a_hashed_field(exported: tuple[Path, Path]) -> None:
    bundle = bundles.load(exported[1])
    fields = [{**field, **({"type": "number"} if field["role"] == "id" else {})} for field in bundle.schema["fields"]]
    record = {**bundle.golden()[0]["record"], "card1": 4497.0, "TransactionAmt": 12.5, "addr1": None}
    record["TransactionID"] = 7.0
    reasons = [("card1", 4497), ("TransactionAmt", 12.5), ("addr1", None), ("made", "x")]
    why = [{"field": name, "value": value, "share": 0.25} for name, value in reasons]
    answer = {"score": 0.5, "risk_level": "low", "reasons": why}
    rows = Rows({"fields": fields}, Form(["card1", "addr1"], HASH_KEY.encode(), 4, {}), bundle.reading.times_of)
    (line,) = rows.lines("r", [record], [0.5], [answer]).splitlines()
    row, inputs = map(json.loads, line.split(b"\t"))
    assert row[2] == "7"  # as a label names it, whatever JSON or a table of numbers made of it
    names = [field["name"] for field in fields]
    assert [one["value"] for one in row[8]] == [inputs[names.index("card1")], "12.5", None, "x"]
    assert row[8][0]["value"] == _hash(str({"integer": int, "number": float}[kind_of(bundle, "card1")](4497)))


def test_a_row_is_the_same_in_whatever_order_its_fields_come(exported: tuple[Path, Path]) -> None:
    bundle = bundles.load(exported[1])
    names = [field["name"] for field in bundle.schema["fields"]]
    golden = bundle.golden()[0]["record"]
    ordered = {name: golden.get(name) for name in names}
    without = {name: value for name, value in ordered.items() if name != "TransactionAmt"}
    backwards, further = dict(reversed(ordered.items())), {**ordered, "further": 1}
    rows = Rows(bundle.schema, Form(["addr1"], HASH_KEY.encode(), 0, {}), bundle.reading.times_of)
    sent = [orjson.loads(orjson.dumps(each)) for each in (ordered, backwards, ordered, further, without, ordered)]
    lines = rows.lines("r", sent, [0.5] * 6, [{"score": 0.5, "risk_level": "low"}] * 6).splitlines()
    inputs = [json.loads(line.partition(b"\t")[2]) for line in lines]
    wanted = [
        None if value is None else _hash(str(value)) if name == "addr1" else value for name, value in ordered.items()
    ]
    assert inputs[:4] == [wanted] * 4
    assert inputs[4] == [None if name == "TransactionAmt" else value for name, value in zip(names, wanted, strict=True)]
    assert inputs[5] == wanted
    assert sent[0]["addr1"] == ordered["addr1"]  # the answer's record is left alone


def kind_of(bundle: bundles.Bundle, name: str) -> str:
    return next(str(field["type"]) for field in bundle.schema["fields"] if field["name"] == name)


def test_a_reload_ends_the_writer_and_loses_no_row(exported: tuple[Path, Path], tmp_path: Path) -> None:
    record = bundles.load(exported[1]).golden()[0]["record"]
    with Server(exported[1], tmp_path, "serving.record_to=record") as server:
        assert server.predict({**record, "TransactionID": 1}).status == 200
        server.process.send_signal(signal.SIGHUP)
        until(lambda: "reloaded: the bundle" in server.log.read_text(), 60)
        assert server.predict({**record, "TransactionID": 2}).status == 200
        assert server.end() == 0
        assert "did not stop cleanly" not in server.log.read_text()
    assert sorted(pl.read_parquet(tmp_path / "record" / "day=*" / "*.parquet")["transaction_id"]) == ["1", "2"]


def test_rows_lost_before_a_reload_are_handed_over(exported: tuple[Path, Path], tmp_path: Path) -> None:
    settings = ServingConfig(record_to=str(tmp_path / "record"))
    recorder = Recorder(bundles.load(exported[1]), Form([], b"key", 0, {}), settings)
    shutil.rmtree(tmp_path / "record")
    (tmp_path / "record").write_text("")  # no folder, so that no file can be written
    for _ in range(3):
        recorder.journal.put(1, b"[]\n")
    recorder.flush()
    recorder.close()
    former = Telemetry("v", None, tmp_path / "0.json")
    _hand_over(former, recorder)
    page = Telemetry("v", tmp_path / "0.json", tmp_path / "1.json").page().decode()
    assert "fraudlab_unrecorded_total 3.0" in page
    assert "fraudlab_recorded_total 0.0" in page


def test_a_share_of_the_requests_stands_for_all(exported: tuple[Path, Path], tmp_path: Path) -> None:
    record = bundles.load(exported[1]).golden()[0]["record"]
    with Server(exported[1], tmp_path, "serving.record_to=record", "serving.record_share=0.5") as server:
        for number in range(40):
            assert server.predict({**record, "TransactionID": number}).status == 200
        assert server.end() == 0
    rows = records.scan(tmp_path / "record").collect()
    assert 4 <= len(rows) <= 36  # less likely than one in a million otherwise
    assert set(rows["sample_weight"]) == {2.0}
