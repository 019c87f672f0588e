"""A trial as a process: its curve is heard, it ends where it is told to, and its end is told apart."""

import signal
from pathlib import Path

import pytest

from fraudlab.training.trial import PRUNED
from fraudlab.tuning.process import OUTPUT, Ended, TrialProcess, values_of
from tests.conftest import SMALL

DATA = [item for item in SMALL if item.startswith(("data.", "split."))]


@pytest.fixture(scope="module")
def trial(small_data: Path):
    """Start a trial on a small table that is made once."""

    def start(folder: Path, *overrides: str) -> TrialProcess:
        folder.mkdir()
        quiet = ("test=false", "report=false", "logger=none", "trainer.enable_progress_bar=false")
        return TrialProcess([*DATA, *quiet, *overrides, f"paths.data_dir={small_data}"], folder, threads=1)

    return start


@pytest.mark.parametrize("model", ["lightgbm", "xgboost", "catboost"])
def test_boosting_ends_where_it_is_pruned(trial, tmp_path: Path, model: str) -> None:
    points: list[int] = []

    def on_point(step: int, value: float) -> bool:
        points.append(step)
        assert 0 <= value <= 1
        return len(points) == 3

    rounds = ("model.n_estimators=1000", "model.learning_rate=0.001", "model.threads=1")
    process = trial(tmp_path / "run", f"model={model}", *rounds)
    assert process.follow(on_point) == Ended("pruned")
    assert process._process.returncode == PRUNED
    assert points == [20, 40, 60]  # fifty times a thousand rounds
    assert values_of(tmp_path / "run", ["val.average_precision"]) is None


@pytest.mark.slow
def test_a_trial_on_two_processes_ends_on_both(trial, tmp_path: Path) -> None:
    small = ("model=mlp", "model.hidden=[16]", "trainer=ddp_sim", "trainer.max_epochs=5", "batch_size=512")
    process = trial(tmp_path / "run", *small)
    points: list[int] = []
    ended = process.follow(lambda step, _: (points.append(step), step == 2)[1])
    assert ended == Ended("pruned")
    assert points == [1, 2]
    assert process._process.returncode == PRUNED


def test_ends_are_told_apart(trial, tmp_path: Path) -> None:
    process = trial(tmp_path / "killed", "model=logistic_regression")
    process._signal(signal.SIGKILL)
    assert process.follow(lambda *_: False) == Ended("died", "killed by SIGKILL")
    process = trial(tmp_path / "wrong", "model=logistic_regression", "loss=focal")
    ended = process.follow(lambda *_: False)
    assert ended.how == "failed"
    assert ended.reason.startswith("model=logistic_regression learns by loss=cross_entropy")
    assert not ended.diverged


def test_a_trial_is_no_part_of_what_a_launcher_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And an exit status beyond 128 that no signal explains is a failure, told as it is."""
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nenv\nexit 255\n")
    python.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(python))
    monkeypatch.setenv("SLURM_PROCID", "1")
    process = TrialProcess([], tmp_path, threads=3)
    ended = process.follow(lambda *_: False)
    assert ended.how == "failed"
    assert ended.reason.startswith("exit status 255")
    printed = (tmp_path / OUTPUT).read_text()
    assert "OMP_NUM_THREADS=3" in printed
    assert "SLURM_PROCID" not in printed


def test_a_metric_that_is_not_there_names_those_that_are(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text('{"val": {"roc_auc": 0.9, "log_loss": null}}')
    assert values_of(tmp_path, ["val.roc_auc"]) == [0.9]
    for name in ("val.auc", "val.log_loss"):
        with pytest.raises(KeyError, match="roc_auc"):
            values_of(tmp_path, [name])
