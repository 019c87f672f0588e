"""The record of inputs and answers: whole, and no card in the clear."""

import hmac
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from fraudlab import bundle as bundles
from fraudlab.serving.generation import _hand_over
from fraudlab.serving.recording import Recorder
from fraudlab.serving.telemetry import Telemetry
from tests.support.server import HASH_KEY, Server

HASHED = [*(f"card{i}" for i in range(1, 7)), "client", "addr1"]


def _hash(text: str) -> str:
    return hmac.new(HASH_KEY.encode(), text.encode(), "sha256").hexdigest()


def test_cards_and_named_columns_are_recorded_as_keyed_hashes(exported: tuple[Path, Path], tmp_path: Path) -> None:
    bundle = bundles.load(exported[1])
    records = [row["record"] for row in bundle.golden()[:6]]
    again = {**records[0], "card1": float(records[0]["card1"])}  # JSON knows one kind of number
    folder = tmp_path / "record"
    settings = (f"serving.record_to={folder}", "serving.hash_columns=[addr1]", "serving.record_rows=4")
    with Server(exported[1], tmp_path, *settings) as server:
        scores = [row["score"] for row in server.predict(records).said["predictions"]]
        assert server.predict(again, headers={"X-Request-ID": "the-last"}).status == 200
        assert server.predict({"TransactionDT": "broken"}).status == 422
        assert server.end() == 0
    rows = pl.read_parquet(folder / "*.parquet").sort("scored_at", maintain_order=True)
    assert rows["score"].to_list()[:6] == scores
    assert rows["risk_level"].to_list()[:6] == [bundle.decision.level(score) for score in scores]
    assert rows["request_id"][-1] == "the-last"
    assert set(rows["bundle_version"]) == {bundle.version}
    for row, record in zip(rows.to_dicts(), [*records, records[0]], strict=True):
        for name in HASHED:
            kind = next(field["type"] for field in bundle.schema["fields"] if field["name"] == name)
            value = record.get(name)
            expected = None if value is None else _hash(str(float(value)) if kind == "number" else str(value))
            assert row[name] == expected
        assert row["TransactionAmt"] == record["TransactionAmt"]
        assert row["P_emaildomain"] == record.get("P_emaildomain")
    assert rows["card1"].n_unique() > 1
    assert folder.stat().st_mode & 0o777 == 0o700  # e-mail domains and devices stand there in the clear
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    raw = b"".join(path.read_bytes() for path in folder.iterdir())
    assert b"visa" not in raw
    assert b"gmail.com" in raw


@pytest.mark.parametrize(
    ("override", "key", "said"),
    [
        ("serving.hash_columns=[nobody]", HASH_KEY, "no field nobody"),
        ("serving.hash_columns=[addr1]", "short", "FRAUDLAB_HASH_KEY"),
        ("serving.record_to=/proc/nowhere", HASH_KEY, "serving.record_to=/proc/nowhere cannot be written"),
    ],
)
def test_what_cannot_be_hashed_or_written_is_told_at_the_start(
    exported: tuple[Path, Path], tmp_path: Path, override: str, key: str, said: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fraudlab.serve", f"bundle={exported[1]}", "serving.record_to=r", override],
        cwd=tmp_path,
        env={**os.environ, "FRAUDLAB_HASH_KEY": key},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_records_lost_before_a_reload_are_handed_over(tmp_path: Path) -> None:
    schema = {"fields": [{"name": "amount", "type": "number", "role": "amount"}]}
    recorder = Recorder(tmp_path / "record", schema, "v", [], b"key", 1.0, 1, 9)
    (tmp_path / "record").rmdir()
    (tmp_path / "record").write_text("")  # no folder, so that no file can be written
    for _ in range(3):
        recorder.put("one", [{"amount": 4.0}], [{"score": 0.1, "risk_level": "low"}])
    recorder.close()
    former = Telemetry("v", None, tmp_path / "0.json")
    _hand_over(former, recorder)
    page = Telemetry("v", tmp_path / "0.json", tmp_path / "1.json").page().decode()
    assert "fraudlab_unrecorded_total 3.0" in page
