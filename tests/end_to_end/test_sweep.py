"""The sweep as a user runs it: to its end, killed and started again, by two at once, and what goes wrong in a trial."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest
import yaml

from tests.conftest import SMALL, Command

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
    study = optuna.load_study(study_name=name, storage=url or f"sqlite:///{folder}/study.db")
    return [trial for trial in study.trials if not {"surplus", "put_back"} & set(trial.user_attrs)]


def test_a_sweep_of_a_network_to_its_best(door: Command, tmp_path: Path) -> None:
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
    done = door("sweep", f"sweep={sweep}", f"hydra.run.dir={folder}", "test_best=true", "seeds=[0]")
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
    again = door("train", *best, f"hydra.run.dir={tmp_path}/again")
    assert again.returncode == 0, again.stderr
    assert json.loads((tmp_path / "again/metrics.json").read_text())["val"] == finalist["val"]


def command(folder: Path, sweep: str, data: Path, *more: str) -> list[str]:
    where = [f"hydra.run.dir={folder}", f"paths.data_dir={data}", "grace=3"]
    return [sys.executable, "-m", "fraudlab.sweep", f"sweep={sweep}", *where, *more]


@pytest.fixture(scope="module")
def data(door: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweep_data")
    settings = [item for item in QUICK if item.startswith("data.")]
    done = door("prepare", *settings, f"paths.data_dir={folder}")
    assert done.returncode == 0, done.stderr
    return folder


def wait_for(what, seconds: float = 90) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, "it did not come"
        time.sleep(0.05)


def test_killed_and_started_again_it_loses_and_repeats_nothing(tmp_path: Path, data: Path) -> None:
    """Killed in the middle of a trial, asked to stop in another, killed when a trial has finished but is not told."""
    sweep, folder = written(tmp_path), tmp_path / "out"
    begun = command(folder, sweep, data)
    killed = subprocess.Popen(begun, stdout=subprocess.DEVNULL)
    wait_for(lambda: len(list(folder.glob("trials/*/config.yaml"))) == 2)
    orphans = children(killed.pid)
    assert len(orphans) == 2
    killed.kill()
    killed.wait()
    wait_for(lambda: not any(map(alive, orphans)), 10)  # trials end with their search

    asked = subprocess.Popen(begun, stdout=subprocess.PIPE, text=True)
    wait_for(lambda: list(folder.glob("trials/*/metrics.json")))
    asked.send_signal(signal.SIGINT)
    printed, _ = asked.communicate(timeout=60)
    assert asked.returncode == 128 + signal.SIGINT
    assert "the same command goes on" in printed
    finished = {path.parent.name: path.stat().st_mtime_ns for path in folder.glob("trials/*/metrics.json")}

    done = subprocess.run(begun, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    counted = trials(folder)
    assert len(counted) == 4
    assert all(trial.state == optuna.trial.TrialState.COMPLETE for trial in counted)
    for trial in counted:
        metrics = json.loads((folder / f"trials/{trial.number}/metrics.json").read_text())
        assert trial.value == metrics["val"]["average_precision"]
    for number, when in finished.items():
        assert (folder / f"trials/{number}/metrics.json").stat().st_mtime_ns == when
        assert int(number) in {trial.number for trial in counted}
    assert len(list(folder.glob("trials/*/metrics.json"))) == 4  # nothing ran to its end twice


def children(pid: int) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
        if parent == pid:
            found.append(int(folder.name))
    return found


def alive(pid: int) -> bool:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_two_processes_share_a_sweep(tmp_path: Path, data: Path) -> None:
    sweep, folder = written(tmp_path), tmp_path / "out"
    both = [
        subprocess.Popen(
            command(folder, sweep, data, "jobs=1"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for _ in range(2)
    ]
    printed = [process.communicate(timeout=240)[0] for process in both]
    shared(printed, trials(folder))
    assert len(list(folder.glob("trials/*/metrics.json"))) == 4


def shared(printed: list[str], counted: list[optuna.trial.FrozenTrial]) -> None:
    """Each of four trials ran in one process, and finished."""
    assert len(counted) == 4, printed
    assert all(trial.state == optuna.trial.TrialState.COMPLETE for trial in counted)
    ran = [number for text in printed for number in re.findall(r"trial +(\d+)  finished", text)]
    assert sorted(map(int, ran)) == sorted(trial.number for trial in counted)


def test_four_machines_share_a_sweep_on_postgresql(tmp_path: Path, data: Path, postgresql: str) -> None:
    """Each with a folder of its own."""
    sweep = written(tmp_path)
    all_four = [
        subprocess.Popen(
            command(tmp_path / str(machine), sweep, data, "jobs=1", "study=e2e", f"storage='{postgresql}'"),
            stdout=subprocess.PIPE,
            text=True,
        )
        for machine in range(4)
    ]
    printed = [process.communicate(timeout=240)[0] for process in all_four]
    assert all(process.returncode == 0 for process in all_four), printed
    study = optuna.load_study(study_name="e2e", storage=postgresql.replace("postgresql:", "postgresql+psycopg:"))
    shared(printed, [trial for trial in study.trials if not {"surplus", "put_back"} & set(trial.user_attrs)])
    assert all((tmp_path / str(machine) / "best/experiment/e2e_best.yaml").is_file() for machine in range(4))


def test_a_trial_that_diverges_fails_alone_with_its_reason(tmp_path: Path, data: Path) -> None:
    sweep = written(
        tmp_path,
        fixed=[*NETWORK, "scheduler=constant"],
        space={"optimizer.lr": {"float": [0.001, 1e38], "log": True}},
        start=[{"optimizer.lr": 1e38}, {"optimizer.lr": 0.01}],
        trials=2,
    )
    folder = tmp_path / "out"
    subprocess.run(command(folder, sweep, data), capture_output=True, timeout=240, check=False)
    diverged, fine = sorted(trials(folder), key=lambda trial: -trial.params["optimizer.lr"])
    assert diverged.state == optuna.trial.TrialState.FAIL
    assert diverged.user_attrs["reason"].startswith("training diverged in epoch 1")
    assert fine.state == optuna.trial.TrialState.COMPLETE


def test_a_disk_that_is_full_for_trials_ends_the_sweep_with_the_reason(tmp_path: Path, data: Path) -> None:
    """A file size limit stands for the disk: the study's own file stays below it, a network's checkpoint does not."""
    fixed = [*NETWORK, "model.hidden=[512,512]"]
    sweep = written(tmp_path, fixed=fixed, space={"optimizer.lr": {"float": [0.001, 0.1]}}, trials=5)
    folder = tmp_path / "out"
    limited = ["bash", "-c", 'ulimit -f 600; exec "$@"', "bash", *command(folder, sweep, data)]
    plain = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    done = subprocess.run(limited, capture_output=True, text=True, timeout=240, check=False, env=plain)
    assert done.returncode == 1
    assert "trials failed one after the other" in done.stderr
    assert "Traceback" not in done.stderr
    failed = trials(folder)
    assert failed
    assert all(trial.user_attrs.get("reason") for trial in failed if trial.state == optuna.trial.TrialState.FAIL)
    again = subprocess.run(
        command(folder, sweep, data, "trials=4"), capture_output=True, text=True, timeout=240, check=False
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
    door: Command, tmp_path: Path, changes: dict, more: list[str], said: str
) -> None:
    done = door("sweep", f"sweep={written(tmp_path, **changes)}", f"hydra.run.dir={tmp_path}/out", *more)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert "secret" not in done.stderr
    assert not (tmp_path / "out/trials").exists()
