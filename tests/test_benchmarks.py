"""The speed scripts run, at sizes that measure nothing, and add to what earlier runs left."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from benchmarks import records
from tests.conftest import REPOSITORY
from tests.support.redis_server import PROGRAM


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", f"benchmarks.{script}", *arguments],
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )


def earlier(path: Path) -> dict:
    """What a run on a GPU left, and one of the same case here."""
    machine = {"gpu": "a GPU", "torch": "2", "date": "2026-01-01"}
    line = {"what": "step", "ours": {"rows_per_s": 2.0}, "theirs": {"rows_per_s": 1.0}, "ratio": 2.0}
    kept = {"case": "handbook_23", "device": "cuda", "machine": machine, "lines": [line]}
    path.write_text(json.dumps({"records": [kept, {**kept, "device": "cpu"}]}))
    return kept


@pytest.mark.slow
def test_training_is_measured_and_added(tmp_path: Path) -> None:
    kept = earlier(out := tmp_path / "out.json")
    done = run(
        "tabnet_train", "--quick", "--out", str(out), "--cases", "handbook_23", "pretrain", "epoch", "growth", "memory"
    )
    assert done.returncode == 0, done.stderr
    assert "TabNetClassifier.fit" in done.stdout
    written = records.load(out)
    assert {(r["case"], r["device"]) for r in written if r != kept} == {
        (case, "cpu") for case in ("handbook_23", "pretrain", "epoch", "growth", "memory")
    }
    assert kept in written
    assert all(line["ratio"] > 0 for record in written for line in record["lines"])


@pytest.mark.slow
def test_predicting_is_measured_and_printed_for_the_documentation(tmp_path: Path) -> None:
    kept = earlier(out := tmp_path / "out.json")
    done = run("tabnet_predict", "--quick", "--out", str(out))
    assert done.returncode == 0, done.stderr
    written = records.load(out)
    assert kept in written
    (line, _) = next(r for r in written if (r["case"], r["device"]) == ("ieee", "cpu"))["lines"]
    assert line["most_apart"] <= 1e-3
    printed = records.markdown(records.load(out))
    assert printed.count("\n| handbook_23 |") == 3
    assert "a GPU" in printed


def test_single_operations_are_measured(tmp_path: Path) -> None:
    done = run("tabnet_ops", "--quick", "--cases", "ops", "--out", str(tmp_path / "out.json"))
    assert done.returncode == 0, done.stderr
    (record,) = records.load(tmp_path / "out.json")
    assert {line["what"].split(":")[0] for line in record["lines"]} >= {"sparsemax", "entmax", "ghost batch norm"}


@pytest.mark.slow
def test_tabm_is_measured(tmp_path: Path) -> None:
    done = run("tabm", "--quick", "--threads", "1", "--cases", "mini_23", "row", "--out", str(tmp_path / "out.json"))
    assert done.returncode == 0, done.stderr
    found = {record["case"]: record["lines"] for record in records.load(tmp_path / "out.json")}
    assert [len(found[case]) for case in ("mini_23", "row")] == [2, 1]
    assert all(line["ratio"] > 0 for lines in found.values() for line in lines)


@pytest.mark.slow
def test_preparation_is_the_same_in_pandas(tmp_path: Path) -> None:
    done = run("prepare", "--quick", "--cases", "plain", "tuned", "full", "scale", "--out", str(tmp_path / "out.json"))
    assert done.returncode == 0, done.stderr
    found = {record["case"]: record["lines"] for record in json.loads((tmp_path / "out.json").read_text())["records"]}
    assert all(0 <= found[case][0]["most_apart"] <= 1e-6 for case in ("plain", "tuned"))
    assert [line["ours"].get("growth_mib", 0) > 0 for line in found["full"]] == [False, True]
    assert found["scale"][0]["ours"]["rows"] == 10 * found["scale"][0]["theirs"]["rows"]


def test_history_features_are_those_of_polars_duckdb_and_pandas(tmp_path: Path) -> None:
    out, cases = tmp_path / "out.json", ("polars", "duckdb", "pandas", "large")
    done = run("history", "--quick", "--rounds", "1", "--cases", *cases, "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert {record["case"] for record in records.load(out)} == {*cases}


@pytest.mark.parametrize("store", ["sqlite", "redis"])
def test_a_history_that_is_asked_live_gives_what_the_batch_gives(store: str) -> None:
    if store == "redis" and PROGRAM is None:
        pytest.skip("no Redis here: apt-get install redis-server")
    done = run("live_history", "--quick", "--store", store)
    assert done.returncode == 0, done.stderr
    assert "300 transactions replayed" in done.stdout
    assert "; 0 transactions differ from the batch" in done.stdout
    assert float(done.stdout.partition("p99_ms ")[2].split()[0]) > 0


@pytest.mark.slow
def test_defaults_are_held_against_plain_scripts_and_fits_are_not_done_twice(tmp_path: Path) -> None:
    out = tmp_path / "tables.json"
    words = ("--tables", "small", "--models", "lightgbm", "logistic_regression", "--folder", str(tmp_path / "tables"))
    for seeds in (("0",), ("0", "1")):
        done = run("tables", *words, "--out", str(out), "--seeds", *seeds)
        assert done.returncode == 0, done.stderr
        assert done.stderr.count('"side": "fraudlab"') == 2
    lines = json.loads(out.read_text())
    assert len(lines) == 6
    ap = {(line["side"], line["model"], line["seed"]): line["test"] for line in lines}
    difference = [ap["fraudlab", "lightgbm", seed] - ap["plain", "lightgbm", seed] for seed in (0, 1)]
    interval = stats.ttest_1samp(difference, 0).confidence_interval()
    printed = run("tables", "--report", "--out", str(out)).stdout
    assert f"{np.mean(difference):+.3f} ± {(interval.high - interval.low) / 2:.3f}" in printed


@pytest.mark.slow
def test_a_script_for_pytorch_tabnet_runs_with_either_import(tmp_path: Path) -> None:
    done = run("drop_in", "--quick", "--threads", "1", "--out", str(tmp_path / "out.json"))
    assert done.returncode == 0, done.stderr
    (record,) = records.load(tmp_path / "out.json")
    (line,) = record["lines"]
    assert line["ratio"] > 0
    # Two epochs of one seed: the same weights and batches, so nearly the same scores.
    assert line["ours"]["auc"] == pytest.approx(line["theirs"]["auc"], abs=0.02)


def test_the_cases_of_a_gpu_run_each_for_itself_and_say_what_is_missing(tmp_path: Path) -> None:
    """On the CPU: each case leaves its JSON, and one whose package is not installed is told, not failed."""
    (tmp_path / "without").mkdir()
    (tmp_path / "without" / "sitecustomize.py").write_text(
        "import sys\n"
        "class Without:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('tabm', 'lightning', 'polars', 'hydra', 'omegaconf'):\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Without())\n"
    )
    done = subprocess.run(
        [
            *(sys.executable, "-m", "benchmarks.gpu", "--device", "cpu", "--quick", "--out", str(tmp_path / "gpu")),
            *("--cases", "resume_mlp", "speed_tabm", "train", "equals_cpu_tabm"),
        ],
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{tmp_path}/without:{REPOSITORY}"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = {path.stem: json.loads(path.read_text()) for path in (tmp_path / "gpu").glob("*.json")}
    assert {name: each["status"] for name, each in found.items()} == {
        **dict.fromkeys(("resume_mlp", "equals_cpu_tabm"), "passed"),
        **dict.fromkeys(("speed_tabm", "train"), "not run"),
    }
    assert "tabm" in found["speed_tabm"]["why"]
    assert "lightning" in found["train"]["why"]
