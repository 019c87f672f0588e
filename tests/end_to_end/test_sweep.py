"""The sweep as a user runs it: to its end, and what goes wrong in a trial."""

import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import optuna
import pytest

from tests.conftest import Command
from tests.support.commands import Commands
from tests.support.sweeping import NETWORK, QUICK, command, trials, written


@pytest.mark.slow
def test_a_sweep_of_a_network_to_its_best(command: Command, tmp_path: Path) -> None:
    sweep = written(
        tmp_path,
        fixed=NETWORK,
        space={
            "optimizer.lr": {"float": [0.0001, 0.05], "log": True},
            "model.dropout": {"float": [0.0, 0.5], "step": 0.1},
        },
        start=[{"optimizer.lr": 0.03, "model.dropout": 0.0}, {"optimizer.lr": 0.0001, "model.dropout": 0.5}],
        pruner={"name": "median", "n_startup_trials": 1, "n_warmup_steps": 0},
        jobs=1,
        trials=3,
        finalists=1,
        seeds=[0, 1],
    )
    folder = tmp_path / "out"
    done = command("sweep", f"sweep={sweep}", f"hydra.run.dir={folder}", "test_best=true", "seeds=[0]")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "simulated data" in done.stdout

    first, second, _ = trials(folder)
    assert first.params == {"optimizer.lr": 0.03, "model.dropout": 0.0}
    assert second.state == optuna.trial.TrialState.PRUNED  # it learns next to nothing in an epoch
    metrics = json.loads((folder / "trials/0/metrics.json").read_text())
    assert "test" not in metrics
    assert not (folder / "trials/0/predictions/test.parquet").exists()
    assert first.value == metrics["val"]["average_precision"]
    assert len(first.intermediate_values) == 3
    assert first.value == pytest.approx(max(first.intermediate_values.values()), abs=1e-6)
    assert not (folder / "trials/1/metrics.json").exists()
    checkpoint = (folder / "trials/0/checkpoints/best.ckpt").read_bytes()
    assert b"optuna" not in checkpoint

    page = (folder / "sweep.html").read_text()
    for said in ("Simulated data", "Parallel coordinates", "History", "optimizer.lr", "pruned"):
        assert said in page
    assert not re.search(r"""(src|href)=["']?http""", page)

    assert f"--config-dir {folder}/best experiment=mine_best" in done.stdout
    tested = [json.loads(path.read_text()) for path in folder.glob("test/*/metrics.json")]
    assert tested
    assert all("test" in metrics for metrics in tested)
    finalist = json.loads((folder / "finalists/0/metrics.json").read_text())
    best = [
        "--config-dir",
        str(folder / "best"),
        "experiment=mine_best",
        "seed=0",
        "test=false",
        "logger=none",
        "report=false",
    ]
    again = command("train", *best, f"hydra.run.dir={tmp_path}/again")
    assert again.returncode == 0, again.stderr
    assert json.loads((tmp_path / "again/metrics.json").read_text())["val"] == finalist["val"]


@pytest.mark.parametrize("name", ["my project (1), a", pytest.param("größe=x {1}?", marks=pytest.mark.slow)])
def test_a_sweep_in_a_folder_of_any_name(
    command: Command, commands: Commands, tmp_path: Path, name: str, small_data: Path
) -> None:
    """And on the data that its fixed settings name, which it says to train the best one again."""
    folder = tmp_path / name
    folder.mkdir()
    shutil.copytree(small_data, folder / "data (2)")
    sweep = written(
        folder, fixed=[*QUICK, "paths.data_dir='data (2)'", "threads=3"], trials=1, finalists=1, seeds=[4], jobs=1
    )
    done = command("sweep", f"sweep={Path(sweep).name}", cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(path.name for path in folder.glob("data*")) == ["data (2)"]
    (best,) = [line.removeprefix("best: ") for line in done.stdout.splitlines() if line.startswith("best: ")]
    words = shlex.split(best)
    assert words[:3] == ["python", "-m", "fraudlab.train"]
    words += ["hydra.run.dir=again", "test=false", "report=false", "logger=none"]
    again = commands.run(words[1:], folder, dict(os.environ))
    assert again.returncode == 0, again.stderr
    mine, its = (
        json.loads((folder / run / "metrics.json").read_text()) for run in ("again", "outputs/sweep/mine/finalists/0")
    )
    assert mine["val"] == its["val"]
    facts = json.loads((folder / "again/run.json").read_text())
    assert (facts["seed"], facts["threads"]) == (4, 3)


def test_a_trial_that_diverges_fails_alone_with_its_reason(
    commands: Commands, tmp_path: Path, small_data: Path
) -> None:
    sweep = written(
        tmp_path,
        fixed=[*NETWORK, "scheduler=constant"],
        space={"optimizer.lr": {"float": [0.001, 1e38], "log": True}},
        start=[{"optimizer.lr": 1e38}, {"optimizer.lr": 0.01}],
        trials=2,
    )
    folder = tmp_path / "out"
    commands.run(command(folder, sweep, small_data)[1:], tmp_path, dict(os.environ))
    diverged, fine = sorted(trials(folder), key=lambda trial: -trial.params["optimizer.lr"])
    assert diverged.state == optuna.trial.TrialState.FAIL
    assert diverged.user_attrs["reason"].startswith("training diverged in epoch 1")
    assert fine.state == optuna.trial.TrialState.COMPLETE


@pytest.mark.slow
def test_a_disk_that_is_full_for_trials_ends_the_sweep_with_the_reason(tmp_path: Path, small_data: Path) -> None:
    """A file size limit stands for the disk: the study's own file stays below it, a network's checkpoint does not."""
    fixed = [*NETWORK, "model.hidden=[1024,1024]"]
    sweep = written(tmp_path, fixed=fixed, space={"optimizer.lr": {"float": [0.001, 0.1]}}, trials=5)
    folder = tmp_path / "out"
    limited = ["bash", "-c", 'ulimit -f 5000; exec "$@"', "bash", *command(folder, sweep, small_data)]
    plain = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    done = subprocess.run(limited, capture_output=True, text=True, timeout=240, check=False, env=plain)
    assert done.returncode == 1
    assert "trials failed one after the other" in done.stderr
    assert "Traceback" not in done.stderr
    failed = trials(folder)
    assert failed
    assert all(trial.user_attrs.get("reason") for trial in failed if trial.state == optuna.trial.TrialState.FAIL)
    again = subprocess.run(
        command(folder, sweep, small_data, "trials=4"), capture_output=True, text=True, timeout=240, check=False
    )
    assert again.returncode == 0, again.stderr
    assert any(trial.state == optuna.trial.TrialState.COMPLETE for trial in trials(folder))


@pytest.mark.parametrize(
    ("changes", "more", "said"),
    [
        ({"space": {"model.c": {"float": [0.1, 1.0]}}}, [], "model.C"),
        ({}, ["storage=postgresql://me:secret@127.0.0.1:9/none"], "cannot be reached"),
        ({}, ["sampler=annealing"], "tpe, gp"),
        ({"space": {"model.C": {"float": [1.0, 0.1]}}}, [], "write float: [0.1, 1.0]"),
    ],
)
def test_mistakes_are_told_before_any_trial(
    command: Command, tmp_path: Path, changes: dict, more: list[str], said: str
) -> None:
    done = command("sweep", f"sweep={written(tmp_path, **changes)}", f"hydra.run.dir={tmp_path}/out", *more)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert "secret" not in done.stderr
    assert not (tmp_path / "out/trials").exists()
