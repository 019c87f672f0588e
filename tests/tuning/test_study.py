"""Several processes at one study: no trial twice, none lost, none beyond the budget; one that died is tried again."""

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from optuna.storages import fail_stale_trials
from optuna.trial import FrozenTrial, TrialState

from fraudlab.errors import UserError
from fraudlab.tuning.search import run_trials
from fraudlab.tuning.space import read_space
from fraudlab.tuning.stop import Stop
from fraudlab.tuning.storage import open_storage
from fraudlab.tuning.study import OWNER, Unsigned, counted, frozen, open_study, requeue, surplus, tries
from tests.conftest import REPOSITORY
from tests.support import standin

STANDIN = str(Path(standin.__file__))


def wait_for(what: Callable[[], object], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, "it did not come"
        time.sleep(0.05)


def started(url: str, folder: Path, budget: int, grace: float = 30) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, STANDIN, url, str(folder), str(budget), str(grace)],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    return process


def go(process: subprocess.Popen[str]) -> None:
    process.stdin.write("go\n")
    process.stdin.flush()


def share(url: str, folder: Path, processes: int, budget: int) -> None:
    running = [started(url, folder / str(number), budget) for number in range(processes)]
    for process in running:  # all begin together: none may find the work done while it still starts
        go(process)
    done = []
    for process in running:
        printed, _ = process.communicate(timeout=240)
        assert process.returncode == 0
        done.append([tuple(json.loads(line)) for line in printed.splitlines()])
    ran = [trial for one in done for trial in one]
    assert all(done), "a process did nothing"
    assert len(ran) == budget
    assert max(Counter(number for number, _, _ in ran).values()) == 1
    trials = counted(standin.study(url))
    assert {trial.number for trial in trials} == {number for number, _, _ in ran}
    assert all(trial.state == TrialState.COMPLETE for trial in trials)
    assert [trial.value for trial in trials] == [trial.params["x"] for trial in trials]
    assert len({trial.params["x"] for trial in trials}) == budget  # nobody's first points are another's too
    assert {0.0, 0.25, 0.5} <= {trial.params["x"] for trial in trials}


def test_two_processes_share_an_sqlite_study(tmp_path: Path) -> None:
    share(f"sqlite:///{tmp_path}/study.db", tmp_path, processes=2, budget=16)


def test_four_processes_share_a_postgresql_study(postgresql: str, tmp_path: Path) -> None:
    share(postgresql, tmp_path, processes=4, budget=24)


@pytest.mark.parametrize("server", [False, True], ids=["sqlite", "postgresql"])
def test_what_a_killed_process_ran_another_runs_once(
    tmp_path: Path, request: pytest.FixtureRequest, server: bool
) -> None:
    url = f"{request.getfixturevalue('postgresql')}" if server else f"sqlite:///{tmp_path}/study.db"
    if server:  # the session's server may have this study from another test
        with pytest.MonkeyPatch.context():
            storage = open_storage(url)
            if "shared" in optuna.get_all_study_names(storage):
                optuna.delete_study(study_name="shared", storage=storage)
    killed = started(url, tmp_path / "killed", 4, grace=2)
    (tmp_path / "killed/wait").touch()
    go(killed)
    wait_for(lambda: any(OWNER in trial.user_attrs for trial in standin.study(url).trials))
    wait_for((tmp_path / "killed/trials/0/output.txt").exists)
    killed.kill()
    killed.wait()
    (tmp_path / "killed/wait").unlink()
    other = started(url, tmp_path / "other", 4, grace=2)
    go(other)
    printed, _ = other.communicate(timeout=120)
    assert other.returncode == 0
    trials = counted(standin.study(url))
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 4
    assert sorted(json.loads(line)[1] for line in printed.splitlines()) == sorted(trial.value for trial in trials)
    assert {0.0, 0.25, 0.5} <= {trial.value for trial in trials}
    again = next(trial for trial in trials if trial.value == 0.0)
    assert again.user_attrs["start"] == 0
    assert (tries(again), frozen(standin.study(url), 0).state) == (2, TrialState.FAIL)


def running(study: optuna.Study, *, signed: bool = True, beats: bool = True) -> FrozenTrial:
    """A trial as a process leaves it that dies at once."""
    trial = study.ask()
    if beats:
        storage = study._storage
        storage.record_heartbeat(trial._trial_id)
    if signed:
        trial.set_user_attr(OWNER, "dead")
        standin.SPACE.draw(trial)
    return frozen(study, trial.number)


def test_a_trial_that_dies_too_often_is_failed(tmp_path: Path) -> None:
    study = standin.study(f"sqlite:///{tmp_path}/study.db", grace=1, retries=1)
    first = running(study)

    def stale() -> bool:
        fail_stale_trials(study)
        return all(trial.state != TrialState.RUNNING for trial in study.trials)

    wait_for(stale)
    (again,) = counted(study)
    assert (again.state, again.params, again.number) == (TrialState.WAITING, first.params, 1)
    assert running(study).params == first.params
    wait_for(stale)
    (failed,) = counted(study)
    assert (failed.state, failed.number) == (TrialState.FAIL, 1)


def test_a_process_that_dies_before_its_first_heartbeat_is_noticed(tmp_path: Path) -> None:
    study = standin.study(f"sqlite:///{tmp_path}/study.db")
    running(study, signed=False, beats=False)
    watching = Unsigned(retries=1, grace=0.05)
    watching.fail(study)
    assert study.trials[0].state == TrialState.RUNNING  # the first look only notes it

    def noticed() -> bool:
        watching.fail(study)
        return len(study.trials) == 2

    wait_for(noticed)
    assert [trial.state for trial in study.trials] == [TrialState.FAIL, TrialState.WAITING]
    assert [trial.number for trial in counted(study)] == [1]


def test_a_surplus_trial_of_a_dead_process_does_not_come_back(tmp_path: Path) -> None:
    study = standin.study(f"sqlite:///{tmp_path}/study.db", grace=1)
    trial = study.ask()
    study._storage.record_heartbeat(trial._trial_id)
    trial.set_user_attr("surplus", "beyond the budget")  # killed between marking it and ending it

    def stale() -> bool:
        fail_stale_trials(study)
        return study.trials[0].state == TrialState.FAIL

    wait_for(stale)
    assert len(study.trials) == 1
    assert counted(study) == []


def test_a_stop_costs_no_retry(tmp_path: Path) -> None:
    study = standin.study(f"sqlite:///{tmp_path}/study.db")
    study.enqueue_trial({"x": 0.5, "n": 1}, user_attrs={"start": 0})
    for number in range(4):
        trial = running(study)
        requeue(study, trial)
        study.tell(number, state=TrialState.FAIL)
    (waiting,) = counted(study)
    assert (waiting.state, tries(waiting), waiting.user_attrs["start"]) == (TrialState.WAITING, 1, 0)
    assert running(study).params == {"x": 0.5, "n": 1}


def test_what_does_not_count(tmp_path: Path) -> None:
    """Fresh trials beyond the budget, points that were there before; not what is queued again."""
    study = standin.study(f"sqlite:///{tmp_path}/study.db")
    for _ in range(2):  # as two processes at once
        study.enqueue_trial({"x": 0.5, "n": 1}, user_attrs={"start": 0})
    first = running(study)
    assert surplus(study, first.number, 2, redraw=True) is None
    for budget, why in ((2, "there before"), (1, "beyond the budget")):
        trial = study.ask()
        standin.SPACE.draw(trial)
        assert surplus(study, trial.number, budget, redraw=True) == why
        trial.set_user_attr("surplus", why)
    requeue(study, first)
    study.tell(first.number, state=TrialState.FAIL)
    assert surplus(study, running(study).number, 2, redraw=True) is None


def test_a_point_is_not_drawn_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{tmp_path}/study.db"
    monkeypatch.setattr("sys.executable", standin.program(tmp_path))
    few = read_space({"x": {"int": [1, 4]}}, "s.yaml")
    stage = standin.stage(tmp_path, 4, space=few)
    run_trials(stage, lambda: standin.study(url), jobs=1, stop=Stop(), on_end=lambda trial, ended: None)
    points = [trial.params["x"] for trial in counted(standin.study(url))]
    assert sorted(points) == [1, 2, 3, 4]


def test_a_study_of_another_space_is_refused(tmp_path: Path) -> None:
    storage = open_storage(f"sqlite:///{tmp_path}/study.db")
    open_study(storage, "one", ["maximize"], "a")
    open_study(storage, "one", ["maximize"], "a")
    for directions, identity in ((["maximize"], "b"), (["minimize"], "a"), (["maximize", "minimize"], "a")):
        with pytest.raises(UserError, match="study=<another name>"):
            open_study(storage, "one", directions, identity)


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:////proc/nowhere/study.db",
        "postgresql://nobody:secret@127.0.0.1:9/none",
        "nonsense",
    ],
)
def test_a_storage_out_of_reach_is_told_without_its_password(url: str) -> None:
    with pytest.raises(UserError) as error:
        open_storage(url)
    assert "cannot be reached" in str(error.value)
    assert "secret" not in str(error.value)
    assert "sqlite:///<file>" in str(error.value)


def test_a_journal_is_answered_with_what_to_type() -> None:
    with pytest.raises(UserError, match="use sqlite:///<file>.*postgresql://"):
        open_storage("journal:/shared/study.log")
