"""Sweeps small enough for tests: what they search, the command, and their trials."""

import sys
from pathlib import Path

import optuna
import yaml

from fraudlab.tuning.study import counted
from tests.conftest import SMALL

QUICK = ["model=logistic_regression", "logger=none", *(item for item in SMALL if item.startswith(("data.", "split.")))]
NETWORK = ["model=mlp", "model.hidden=[16]", "logger=none", "seed=3", *SMALL]


def written(folder: Path, name: str = "mine", **changes) -> str:
    raw = {
        "fixed": QUICK,
        "space": {"model.C": {"float": [0.01, 10.0], "log": True}, "model.max_iter": {"int": [200, 300], "step": 50}},
        "sampler": "random",
        "trials": 4,
        "jobs": 2,
        "finalists": 0,
        **changes,
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(raw))
    return str(path)


def trials(folder: Path, name: str = "mine", url: str | None = None) -> list[optuna.trial.FrozenTrial]:
    """Those that count."""
    return counted(optuna.load_study(study_name=name, storage=url or f"sqlite:///{folder}/study.db"))


def command(folder: Path, sweep: str, data: Path, *more: str) -> list[str]:
    where = [f"hydra.run.dir={folder}", f"paths.data_dir={data}", "grace=3"]
    return [sys.executable, "-m", "fraudlab.sweep", f"sweep={sweep}", *where, *more]
