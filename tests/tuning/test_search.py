"""A search as it runs: what it believes of folders and other processes, and what signals do to it."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from optuna.trial import FrozenTrial, TrialState

from fraudlab.config.overrides import Value, override
from fraudlab.errors import UserError
from fraudlab.tuning.process import Ended
from fraudlab.tuning.search import Stage, run_trials
from fraudlab.tuning.stop import Stop, Stopped
from fraudlab.tuning.study import OWNER, counted, retry
from tests.conftest import REPOSITORY
from tests.support import standin

PYTHON = sys.executable


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr("sys.executable", standin.program(tmp_path))
    return f"sqlite:///{tmp_path}/study.db"


def run(url: str, stage: Stage, *, stop_after: int | None = None) -> list[Ended]:
    ends: list[Ended] = []
    stop = Stop()

    def on_end(_: FrozenTrial, ended: Ended) -> None:
        ends.append(ended)
        if len(ends) == stop_after:
            stop.event.set()

    run_trials(stage, lambda: standin.study(url), jobs=1, stop=stop, on_end=on_end)
    return ends


def test_metrics_in_a_folder_count_for_the_trial_that_made_them_alone(url: str, tmp_path: Path) -> None:
    """A machine that joins a study may have last week's trials in its folder."""
    study = standin.study(url)
    trial = study.ask()
    trial.set_user_attr(OWNER, "dead")
    standin.SPACE.draw(trial)
    folder = tmp_path / "trials/0"
    folder.mkdir(parents=True)
    (folder / "metrics.json").write_text('{"val": {"x": 0.99}}')
    for budget, owner in ((2, None), (3, "another")):
        if owner is not None:
            (folder / "worker").write_text(owner)
        with pytest.raises(Stopped):
            run(url, standin.stage(tmp_path, budget, grace=0), stop_after=1)
        assert study.trials[0].state == TrialState.RUNNING
    (folder / "worker").write_text("dead")
    assert run(url, standin.stage(tmp_path, 3, grace=0)) == []
    assert (study.trials[0].state, study.trials[0].value) == (TrialState.COMPLETE, 0.99)


def test_the_folder_of_another_study_is_refused_and_nothing_lost(url: str, tmp_path: Path) -> None:
    (tmp_path / "trials/0").mkdir(parents=True)
    with pytest.raises(UserError, match=r"hydra\.run\.dir=") as error:
        run(url, standin.stage(tmp_path, 2))
    assert f"Remove {tmp_path / 'trials'}" in str(error.value)
    assert [trial.state for trial in counted(standin.study(url))] == [TrialState.WAITING]


def test_a_trial_that_another_process_ended_ends_here_too(url: str, tmp_path: Path) -> None:
    """As after Ctrl-Z and fg, when this process was taken for dead."""

    def overrides(trial: FrozenTrial, drawn: Mapping[str, Value]) -> list[str]:
        if trial.number == 0:
            study = standin.study(url)
            study.tell(0, state=TrialState.FAIL)
            assert retry(study, study.trials[0], 2)
        return [override(*item) for item in drawn.items()]

    ends = run(url, standin.stage(tmp_path, 2, overrides=overrides))
    assert [end.how for end in ends] == ["finished"] * 3
    trials = standin.study(url).trials
    assert [trial.state for trial in trials] == [TrialState.FAIL, TrialState.COMPLETE, TrialState.COMPLETE]
    assert trials[1].params == trials[0].params


def test_a_trial_that_keeps_dying_fails_with_its_reason(url: str, tmp_path: Path) -> None:
    """And one that finished before it was killed has finished."""
    killed = """#!/bin/sh
for word; do case $word in hydra.run.dir=*) folder=${word#*=};; esac; done
case $folder in */3) echo '{"val": {"x": 0.5}}' > "$folder/metrics.json"; esac
kill -9 $$
"""
    Path(sys.executable).write_text(killed)
    ends = run(url, standin.stage(tmp_path, 2, retries=2))
    assert [end.how for end in ends] == ["died", "died", "failed", "finished"]
    failed, finished = counted(standin.study(url))
    assert failed.user_attrs["reason"] == "killed by SIGKILL, 3 times"
    assert failed.params == standin.study(url).trials[0].params
    assert finished.value == 0.5


DIES = """
import os, signal, sys
from pathlib import Path
from optuna.storages._heartbeat import HeartbeatThread
HeartbeatThread.start = HeartbeatThread.join = lambda self: None  # it gets no turn before the end
from fraudlab.tuning.search import run_trials
from fraudlab.tuning.stop import Stop
from tests.support import standin
stage = standin.stage(Path(sys.argv[2]), 1, overrides=lambda *_: os.kill(os.getpid(), signal.SIGKILL))
run_trials(stage, lambda: standin.study(sys.argv[1]), jobs=1, stop=Stop(), on_end=lambda *_: None)
"""


def test_what_a_process_took_that_died_at_once_another_runs(url: str, tmp_path: Path) -> None:
    """It had named itself, and Optuna's thread had not recorded a heartbeat yet."""
    words = [PYTHON, "-c", DIES, url, str(tmp_path / "killed")]
    died = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert died.returncode == -signal.SIGKILL, died.stderr
    (left,) = standin.study(url).trials
    assert (left.state, OWNER in left.user_attrs) == (TrialState.RUNNING, True)
    ends: list[str] = []
    run_trials(
        standin.stage(tmp_path, 1, grace=1),
        lambda: standin.study(url, grace=1),
        jobs=1,
        stop=Stop(),
        on_end=lambda _, ended: ends.append(ended.how),
    )
    assert ends == ["finished"]
    (finished,) = counted(standin.study(url))
    assert finished.params == left.params


def test_a_search_under_nohup_outlives_its_terminal() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Stop().on_signals() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop.event.is_set()
            os.kill(os.getpid(), signal.SIGTERM)
            assert (stop.event.is_set(), stop.number) == (True, signal.SIGTERM)
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
