"""What runs on a serving host needs the extra ``serve`` alone: serve, predict, drift, history and labels."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from fraudlab import bundle as bundles
from tests.conftest import REPOSITORY
from tests.support.must import installer_failed
from tests.support.server import KEY, Server

TRAINING = (
    "torch lightning pytorch_tabnet sklearn scipy pandas matplotlib wandb tensorboard onnx onnxscript optuna dvc "
    "lightgbm xgboost catboost psutil"
)
# Read by Python when it starts: modules that an environment of the extra `serve` has not.
BLOCK = f"""
import sys
class Blocked:
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in {TRAINING.split()!r}:
            raise ModuleNotFoundError("blocked: " + name, name=name)
sys.meta_path.insert(0, Blocked)
"""


ONE_AFTER_THE_OTHER = """
import json, runpy, sys
for name, *words in json.loads(sys.argv[1]):
    sys.argv = [name, *words]
    runpy.run_module(f"fraudlab.{name}", run_name="__main__", alter_sys=True)
"""


def _done(python: str, folder: Path, env: dict[str, str], *commands: list[str]) -> None:
    """Run commands in one process, which imports once."""
    words = [python, "-c", ONE_AFTER_THE_OTHER, json.dumps(commands)]
    done = subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def _commands(python: str, bundle: Path, folder: Path, env: dict[str, str]) -> None:
    golden = bundles.load(bundle).golden()
    records: list[dict[str, Any]] = [row["record"] for row in golden]
    rows = pl.DataFrame(records, infer_schema_length=None)
    rows.write_csv(folder / "in.csv")
    times = pl.col("TX_DATETIME").str.to_datetime(time_unit="us")
    rows.with_columns(times).sort("TX_DATETIME", "TRANSACTION_ID").write_parquet(folder / "past.parquet")
    number = records[0]["TRANSACTION_ID"]
    (folder / "labels.csv").write_text(f"id,fraud\n{number},1\n")
    _done(
        *(python, folder, env),
        ["predict", f"bundle={bundle}", "input=in.csv", "output=out.csv"],
        ["drift", f"bundle={bundle}", "input=in.csv", "out=drift"],
        ["history", "transactions=past.parquet", "out=h.sqlite"],
        ["labels", "file=labels.csv", "to=h.sqlite"],
    )
    scores = pl.read_csv(folder / "out.csv")["score"].to_list()
    assert scores == pytest.approx([row["score"] for row in golden], abs=1e-6)
    with Server(
        bundle, folder, "serving.history=h.sqlite", "serving.record_to=record", env=env, python=python
    ) as server:
        answer = server.predict(records[1], key=KEY)
        assert answer.said["score"] == pytest.approx(golden[1]["score"], abs=1e-6)
        assert server.end() == 0
    _done(
        *(python, folder, env),
        ["labels", "file=labels.csv", "to=record"],
        ["labels", "records=record", "out=training", "label_delay_days=0"],
        ["records", "folder=record"],
        ["drift", f"bundle={bundle}", "records=record", "out=drift"],
    )


def test_the_commands_import_nothing_of_training(handbook_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(BLOCK)
    env = {**os.environ, "PYTHONPATH": f"{tmp_path}:{REPOSITORY}"}
    seen = subprocess.run([sys.executable, "-c", "import torch"], cwd=tmp_path, env=env, capture_output=True)
    assert b"blocked" in seen.stderr
    _commands(sys.executable, handbook_bundle, tmp_path, env)


@pytest.mark.slow
def test_an_environment_of_the_wheel_with_the_extra_serve_runs_them(handbook_bundle: Path, tmp_path: Path) -> None:
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(tmp_path)]
    subprocess.run([*build, str(REPOSITORY)], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    python = str(tmp_path / "venv" / "bin" / "python")
    install = [python, "-m", "pip", "install", "--quiet", "-c", str(REPOSITORY / "constraints.txt"), f"{wheel}[serve]"]
    done = subprocess.run(install, capture_output=True, text=True, timeout=600)
    if done.returncode:
        installer_failed(done.stdout + done.stderr)
    there = subprocess.run([python, "-m", "pip", "list"], capture_output=True, text=True, check=True).stdout.lower()
    assert not {line.split()[0] for line in there.splitlines()} & set(TRAINING.split())
    env = {**os.environ, "PYTHONPATH": ""}
    work = tmp_path / "work"
    work.mkdir()
    _commands(python, handbook_bundle, work, env)
    shutil.rmtree(tmp_path / "venv")
