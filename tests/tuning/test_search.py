"""A search as it runs: what it believes of folders and other processes, and what signals do to it."""

import os
import signal
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from fraudlab.errors import UserError
from fraudlab.tuning.search import Stop, Stopped, work_off
from fraudlab.tuning.space import read_space
from fraudlab.tuning.storage import open_storage
from fraudlab.tuning.worklist import WorkList, open_study
from tests.end_to_end.sweeping import NETWORK

METRIC = "val.average_precision"


@pytest.fixture
def work(tmp_path: Path) -> WorkList:
    study = open_study(open_storage(f"sqlite:///{tmp_path}/study.db"), "one", ["maximize"], "same")
    return WorkList(study, read_space({"n": {"int": [1, 1000]}}, "s.yaml"), budget=2, retries=0, grace=60)


def run(work: WorkList, folder: Path, overrides=lambda trial, drawn: [], stop: Stop | None = None) -> None:
    work_off(
        work, folder, overrides, [METRIC], jobs=1, threads=1, prunes=True, grace=60, stop=stop or Stop(),
        on_end=lambda trial, ended: None,
    )  # fmt: skip


def test_figures_in_a_folder_count_for_the_trial_that_made_them_alone(work: WorkList, tmp_path: Path) -> None:
    """A machine that joins a study may have last week's trials in its folder."""
    taken, _ = work.take()
    joins = WorkList(work.study, None, budget=2, retries=0, grace=60)
    stopped = Stop()
    stopped.event.set()
    (tmp_path / "0").mkdir()
    (tmp_path / "0/metrics.json").write_text('{"val": {"average_precision": 0.99}}')
    for owner, state in ((None, TrialState.RUNNING), ("another", TrialState.RUNNING), (work.me, TrialState.COMPLETE)):
        if owner is not None:
            (tmp_path / "0/worker").write_text(owner)
        with pytest.raises(Stopped):
            run(joins, tmp_path, stop=stopped)
        assert work.study.trials[taken.number].state == state


def test_the_folder_of_another_study_is_refused_and_nothing_lost(work: WorkList, tmp_path: Path) -> None:
    (tmp_path / "trials/0").mkdir(parents=True)
    with pytest.raises(UserError, match=r"hydra\.run\.dir=") as error:
        run(work, tmp_path / "trials")
    assert f"Remove {tmp_path / 'trials'}" in str(error.value)
    assert [trial.state for trial in work.trials()] == [TrialState.WAITING]


def test_a_trial_that_another_process_ended_ends_here_too(work: WorkList, tmp_path: Path, small_data: Path) -> None:
    """As after Ctrl-Z and fg, when this process was taken for dead."""

    def overrides(trial: optuna.trial.FrozenTrial, drawn: object) -> list[str]:
        if trial.number == 0:
            work.study.tell(trial.number, state=TrialState.FAIL)
            return [*NETWORK, f"paths.data_dir={small_data}", "test=false", "report=false"]
        return ["model=nothing"]

    run(work, tmp_path / "trials", overrides)
    assert [trial.state for trial in work.study.trials] == [TrialState.FAIL, TrialState.FAIL]
    assert not (tmp_path / "trials/0/metrics.json").exists()
    assert "nothing" in work.study.trials[1].user_attrs["reason"]


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
