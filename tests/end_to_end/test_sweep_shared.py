"""A sweep that is killed and started again, and one that several processes share."""

import json
import re
import signal
import subprocess
import time
from pathlib import Path

import optuna
import pytest

from tests.support.sweeping import command, trials, written

pytestmark = pytest.mark.slow  # quick ones, with a script in the place of a training: tests/tuning/test_study.py


def wait_for(what, seconds: float = 150) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, "it did not come"
        time.sleep(0.05)


def test_killed_and_started_again_it_loses_and_repeats_nothing(tmp_path: Path, small_data: Path) -> None:
    """Killed in the middle of a trial, asked to stop in another, killed when a trial has finished but is not told."""
    sweep, folder = written(tmp_path), tmp_path / "out"
    begun = command(folder, sweep, small_data)
    killed = subprocess.Popen(begun, stdout=subprocess.DEVNULL)
    wait_for(lambda: len(list(folder.glob("trials/*/config.yaml"))) == 2)
    orphans = children(killed.pid)
    assert len(orphans) == 2
    killed.kill()
    killed.wait()
    wait_for(lambda: not any(map(alive, orphans)), 30)  # trials end with their search

    asked = subprocess.Popen(begun, stdout=subprocess.PIPE, text=True)
    # A trial may have finished before the kill: not until one runs does this process listen to signals.
    wait_for(lambda: children(asked.pid) and list(folder.glob("trials/*/metrics.json")))
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


def test_two_processes_share_a_sweep(tmp_path: Path, small_data: Path) -> None:
    sweep, folder = written(tmp_path), tmp_path / "out"
    both = [
        subprocess.Popen(
            command(folder, sweep, small_data, "jobs=1"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
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


def test_four_machines_share_a_sweep_on_postgresql(tmp_path: Path, small_data: Path, postgresql: str) -> None:
    """Each with a folder of its own."""
    sweep = written(tmp_path)
    all_four = [
        subprocess.Popen(
            command(tmp_path / str(machine), sweep, small_data, "jobs=1", "study=e2e", f"storage='{postgresql}'"),
            stdout=subprocess.PIPE,
            text=True,
        )
        for machine in range(4)
    ]
    printed = [process.communicate(timeout=240)[0] for process in all_four]
    assert all(process.returncode == 0 for process in all_four), printed
    shared(printed, trials(tmp_path, "e2e", postgresql.replace("postgresql:", "postgresql+psycopg:")))
    assert all((tmp_path / str(machine) / "best/experiment/e2e_best.yaml").is_file() for machine in range(4))
