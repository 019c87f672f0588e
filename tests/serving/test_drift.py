"""``GET /drift`` tells what the command tells of the same rows, over several workers and instances."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from fraudlab import bundle as bundles
from tests.conftest import Command
from tests.support.server import HASH_KEY, Server

LATE = 30.0  # seconds until workers have told their counts


def drift(server: Server, rows: int) -> tuple[str, dict[str, Any]]:
    """The answer, once all that was scored is counted."""
    until = time.monotonic() + LATE
    while True:
        answer = server.ask("/drift?hours=48")
        assert answer.status == 200, answer.text
        if answer.said["rows"] >= rows:
            return answer.text, answer.said
        assert time.monotonic() < until, answer.said["rows"]
        time.sleep(0.1)


def same(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    return one == other if not isinstance(one, float) else abs(one - other) <= 1e-12


def report(command: Command, folder: Path, *overrides: str, env: dict[str, str] | None = None) -> dict[str, Any]:
    done = command("drift", *overrides, "out=report", cwd=folder, env=env)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads((folder / "report" / "drift.json").read_text())
    datetime.fromisoformat(found.pop("made_at"))
    return found


def test_live_is_batch(exported: tuple[Path, Path], command: Command, tmp_path: Path) -> None:
    bundle = exported[1]
    records = [row["record"] for row in bundles.load(bundle).golden()]
    some, others = records[: len(records) // 3], records[len(records) // 3 :]
    pl.DataFrame(records, infer_schema_length=None).write_parquet(tmp_path / "in.parquet")
    settings = "serving.workers=4", f"serving.record_to={tmp_path}/record"
    with (
        Server(bundle, tmp_path, *settings) as one,
        Server(bundle, tmp_path, *settings) as other,
        ThreadPoolExecutor(8) as clients,  # so many at once that all workers score
    ):
        for number, (server, part) in enumerate(((one, some), (other, others))):
            assert server.ask("/drift").said["rows"] == 0
            query = "?explain=2" if number else ""
            asked = (part[start : start + 3] for start in range(0, len(part), 3))
            answers = [clients.submit(server.predict, records, query) for records in asked]
            assert {answer.result().status for answer in answers} == {200}
            assert server.predict([{"nonsense": 1}]).status == 422  # what is refused is not counted
            text, said = drift(server, len(part))
            assert said["rows"] == len(part)
            assert server.ask("/drift?hours=0").status == 422
            shown = server.ask("/metrics").text
            assert f"fraudlab_drift_rows {float(len(part))}" in shown
            assert shown.count("fraudlab_drift_index{") == 20
            (tmp_path / f"{number}.json").write_text(text)
        assert (one.end(), other.end()) == (0, 0)
    assert sum(said["reasons"].values()) == pytest.approx(1) or not said["reasons"]
    batch = report(command, tmp_path, f"bundle={bundle}", "input=in.parquet")
    merged = report(command, tmp_path, f"bundle={bundle}", "answers=[0.json,1.json]")
    assert same({**merged, "reasons": {}}, batch)
    # The record has keyed hashes of cards: what is made of those that the model does not know is not judged.
    key = {"FRAUDLAB_HASH_KEY": HASH_KEY}
    for env, cards in ((key, True), ({"FRAUDLAB_HASH_KEY": ""}, False)):
        recorded = report(command, tmp_path, f"bundle={bundle}", "records=record", env=env)
        assert recorded["rows"] == len(records)
        assert recorded["columns"].keys() | recorded["not_judged"].keys() == batch["columns"].keys()
        assert ("card4" in recorded["columns"]) is cards
        for name, column in recorded["columns"].items():
            assert all(same(column[part], batch["columns"][name][part]) for part in ("psi", "js", "p_value", "missing"))
        for level, it in recorded["alerts_per_1000"].items():
            assert same({**it, "alarm": None}, {**batch["alerts_per_1000"][level], "alarm": None})
    pl.DataFrame(others, infer_schema_length=None).write_parquet(tmp_path / "others.parquet")
    batch = report(command, tmp_path, f"bundle={bundle}", "input=others.parquet")
    assert same({**{name: said[name] for name in batch}, "reasons": {}}, batch)
