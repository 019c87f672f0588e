"""Make the runs, bundles and study of one version of fraudlab: ``python tests/compat/make_fixtures.py <folder>``.

Later versions must go on reading what this version wrote, so fixtures that are committed are never made again: a new
format gets a new folder. Everything happens in a temporary folder with relative paths. A model.onnx of format 1 names
the folders of the code all the same, so the checkout and its environment should lie at a neutral path (/opt/fraudlab).
"""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import polars as pl
import psutil
import yaml

REPOSITORY = Path(__file__).parents[2]
KILLED = REPOSITORY / "tests" / "end_to_end" / "killed.py"
DATA = ("data.customers=50", "data.terminals=300", "data.radius=10", "data.days=41")
SPLIT = ("split.train_start=2018-04-20", "split.train_days=7")
QUICK = ("trainer=cpu", "trainer.enable_progress_bar=false", "report=false")
TABNET = (
    *DATA,
    *SPLIT,
    *QUICK,
    "trainer.max_epochs=3",
    "batch_size=256",
    "callbacks.last_checkpoint.every_n_steps=2",
    "logger=csv",
)
MLP = (
    *("data=table", "data.path=table.csv", "data.label=fraud", "data.time=time", "data.card=card"),
    *("data.amount=amount", "data.missing_values=['?']", "features=columns", "split=time_fraction"),
    *(
        "experiment=none",
        "model=mlp",
        "model.hidden=[16]",
        *QUICK,
        "batch_size=64",
        "logger=none",
        "optimizer.lr=0.05",
        "trainer.max_epochs=10",
    ),
)
SWEEP = {
    "fixed": ["model=logistic_regression", "logger=none", *DATA, *SPLIT],
    "space": {"model.C": {"float": [0.01, 10.0], "log": True}, "model.max_iter": {"int": [200, 300], "step": 50}},
    "sampler": "random",
    "trials": 4,
    "jobs": 1,
    "finalists": 0,
}


def own_table(rows: int = 1500) -> pl.DataFrame:
    """A table with categories, missing values and a label that depends on both kinds of columns."""
    draws = np.random.default_rng(0)
    amount = draws.lognormal(3, 1, rows).round(2)
    country = draws.choice(["de", "fr", "nl", "?", "us"], rows)
    age = draws.integers(18, 90, rows)
    risk = -4 + 1.2 * (country == "us") + 0.03 * amount + 0.8 * (age < 25)
    return pl.DataFrame(
        {
            "time": np.sort(draws.integers(0, 90 * 86_400, rows)),
            "card": draws.integers(0, 200, rows),
            "amount": amount,
            "country": country,
            "age": [
                None if missing else int(value) for missing, value in zip(draws.random(rows) < 0.1, age, strict=True)
            ],
            "fraud": (draws.random(rows) < 1 / (1 + np.exp(-risk))).astype(int),
        }
    )


def command(name: str, *overrides: str) -> list[str]:
    return [sys.executable, "-m", f"fraudlab.{name}", *overrides, "paths.data_dir=data"]


def done(folder: Path, words: list[str], status: int = 0, **env: str) -> None:
    ended = subprocess.run(
        words, cwd=folder, env={**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", **env}, check=False
    )
    if ended.returncode != status:
        raise SystemExit(f"{words} ended with {ended.returncode}, not {status}")


def killed_sweep(folder: Path) -> None:
    """A search that is killed while its second trial or a later one runs."""
    (folder / "old_sweep.yaml").write_text(yaml.safe_dump(SWEEP))
    words = command("sweep", "sweep=old_sweep.yaml", "hydra.run.dir=sweep")
    process = psutil.Popen(words, cwd=folder, env={**os.environ, "PYTHONPATH": str(REPOSITORY)})
    study = folder / "sweep" / "study.db"
    states: list[str] = []
    while not ("COMPLETE" in states and "RUNNING" in states):
        if process.poll() is not None:
            raise SystemExit("the sweep ended before it could be killed")
        time.sleep(0.2)
        if study.is_file():
            with closing(sqlite3.connect(study)) as connection:
                tables = connection.execute("SELECT name FROM sqlite_master WHERE name = 'trials'").fetchall()
                states = [state for (state,) in connection.execute("SELECT state FROM trials")] if tables else []
    family = [process, *process.children(recursive=True)]
    for member in family:
        member.kill()
    for member in family:
        member.wait()
    with closing(sqlite3.connect(study)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")  # everything in the one file


def main(out: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="fraudlab_fixtures_") as temporary:
        folder = Path(temporary)
        own_table().write_csv(folder / "table.csv", null_value="")
        done(folder, command("train", *TABNET, "hydra.run.dir=tabnet"))
        shutil.copy(KILLED, folder)
        killed = [sys.executable, KILLED.name, *TABNET, "hydra.run.dir=killed", "paths.data_dir=data"]
        done(folder, killed, -signal.SIGKILL, BATCHES="11")
        done(folder, command("train", *MLP, "hydra.run.dir=mlp"))
        done(folder, command("export", "run=tabnet", "out=bundle_with_masks", "calibration=platt"))
        done(folder, command("export", "run=mlp", "out=bundle_without_masks"))
        killed_sweep(folder)
        for made in ("tabnet", "killed", "mlp", "bundle_with_masks", "bundle_without_masks", "sweep"):
            shutil.copytree(folder / made, out / made)
        for name in ("table.csv", "old_sweep.yaml"):
            shutil.copy(folder / name, out / name)
    for unread in ("train.log", "sweep.log", "previous.ckpt", "study.db-wal", "study.db-shm"):
        for path in out.rglob(unread):
            path.unlink()
    for last in (out / "tabnet", out / "mlp"):  # what a finished run is not read from
        for path in last.rglob("last.ckpt"):
            path.unlink()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
