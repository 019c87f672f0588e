"""Several processes on one study: no trial twice, none lost, none beyond the budget; the dead are put back."""

import json
import subprocess
import sys
import textwrap
import time
from collections import Counter
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from fraudlab.errors import UserError
from fraudlab.tuning.samplers import make_sampler
from fraudlab.tuning.space import read_space
from fraudlab.tuning.storage import open_storage
from fraudlab.tuning.worklist import WorkList, open_study
from tests.conftest import REPOSITORY

SPACE = read_space({"x": {"float": [0.0, 1.0]}, "n": {"int": [1, 1000]}}, "s.yaml")
WORKER = textwrap.dedent("""
    import json, random, sys, time
    import optuna
    from fraudlab.tuning.samplers import make_sampler
    from fraudlab.tuning.space import read_space
    from fraudlab.tuning.storage import open_storage
    from fraudlab.tuning.worklist import WorkList, open_study
    url, budget = sys.argv[1], int(sys.argv[2])
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    space = read_space({"x": {"float": [0.0, 1.0]}, "n": {"int": [1, 1000]}}, "s.yaml")
    study = open_study(open_storage(url), "shared", ["maximize"], "same", make_sampler({"name": "random"}, 0))
    work = WorkList(study, space, budget, retries=2, grace=60)
    for number in range(3):
        work.put(f"start {number}", {"x": number / 4, "n": number + 1})
    print("ready", flush=True)
    sys.stdin.readline()
    while not work.done():
        taken = work.take()
        if taken is None:
            time.sleep(0.05)
            continue
        trial, drawn = taken
        time.sleep(random.random() / 10)  # long enough for the others to come to the lock
        print(json.dumps([trial.number, drawn["x"]]), flush=True)
        work.finish(trial.number, [drawn["x"]])
""")


def share(url: str, processes: int, budget: int) -> None:
    running = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, url, str(budget)],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(processes)
    ]
    for process in running:  # all begin together: none may find the work done while it still starts
        assert process.stdout.readline() == "ready\n"
    for process in running:
        process.stdin.write("go\n")
        process.stdin.flush()
    done = []
    for process in running:
        printed, _ = process.communicate(timeout=240)
        assert process.returncode == 0
        done.append([tuple(json.loads(line)) for line in printed.splitlines()])
    ran = [trial for one in done for trial in one]
    assert all(done), "a process did nothing"
    assert len(ran) == budget
    assert max(Counter(number for number, _ in ran).values()) == 1
    study = optuna.load_study(study_name="shared", storage=open_storage(url))
    counted = [trial for trial in study.trials if "surplus" not in trial.user_attrs]
    assert {trial.number for trial in counted} == {number for number, _ in ran}
    assert all(trial.state == TrialState.COMPLETE for trial in counted)
    assert [trial.value for trial in counted] == [trial.params["x"] for trial in counted]
    assert len({trial.params["x"] for trial in counted}) == budget  # nobody's first points are another's too
    assert {0.0, 0.25, 0.5} <= {trial.params["x"] for trial in counted}


def test_two_processes_share_an_sqlite_study(tmp_path: Path) -> None:
    share(f"sqlite:///{tmp_path}/study.db", processes=2, budget=24)


def test_four_processes_share_a_postgresql_study(postgresql: str) -> None:
    share(postgresql, processes=4, budget=40)


def test_three_processes_share_a_journal(tmp_path: Path) -> None:
    share(f"journal:{tmp_path}/study.log", processes=3, budget=24)


def test_a_line_of_a_journal_that_a_full_disk_cut_short_harms_nothing(tmp_path: Path) -> None:
    url = f"journal:{tmp_path}/study.log"
    study = open_study(open_storage(url), "one", ["maximize"], "same")
    study.tell(study.ask(), 1.0)
    with (tmp_path / "study.log").open("ab") as journal:
        journal.write(b'{"op_code":6,"worker_id":"e581')
    study.tell(study.ask(), 2.0)
    again = open_study(open_storage(url), "one", ["maximize"], "same")
    again.tell(again.ask(), 3.0)
    assert [trial.value for trial in again.trials] == [1.0, 2.0, 3.0]


def work_list(path: Path, budget: int = 3, **settings) -> WorkList:
    study = open_study(
        open_storage(f"sqlite:///{path}/study.db"), "one", ["maximize"], "same", make_sampler({"name": "random"}, 0)
    )
    return WorkList(study, SPACE, budget, **{"retries": 1, "grace": 0.05, **settings})


def test_a_dead_process_leaves_its_trial_to_others_a_few_times(tmp_path: Path) -> None:
    dying = work_list(tmp_path)
    dying.live()
    trial, drawn = dying.take()
    alive = work_list(tmp_path)
    assert alive.bury() == []  # the first look only notes the sign of life
    time.sleep(0.1)
    dying.live()
    assert alive.bury() == []
    time.sleep(0.1)
    (dead,) = alive.bury()
    assert dead.number == trial.number
    assert alive.put_back(dead, "its process died")
    assert alive.put_back(dead, "its process died")  # as two watchers would at once
    again, same = alive.take()
    assert (again.number, same) == (trial.number + 1, drawn)
    assert len(alive.trials()) == 1
    (frozen,) = alive.trials(TrialState.RUNNING)
    assert not alive.put_back(frozen, "killed by SIGKILL")
    (failed,) = alive.trials(TrialState.FAIL)
    assert failed.user_attrs["reason"] == "killed by SIGKILL, 2 times"
    for _ in range(2):
        alive.finish(alive.take()[0].number, [1.0])
    assert alive.take() is None
    assert alive.done()


def test_a_process_that_dies_before_it_signs_a_trial_is_noticed(tmp_path: Path) -> None:
    alive = work_list(tmp_path)
    number = alive.study.ask().number
    assert alive.bury() == []
    time.sleep(0.1)
    (dead,) = alive.bury()
    assert dead.number == number


def test_a_surplus_trial_of_a_dead_process_does_not_come_back(tmp_path: Path) -> None:
    work_list(tmp_path, budget=1).put("start 0", {"x": 0.5, "n": 1})
    alive = work_list(tmp_path, budget=1)
    alive.finish(alive.take()[0].number, [1.0])
    surplus = alive.study.ask()  # killed between marking it and ending it
    surplus.set_user_attr("worker", "dead")
    surplus.set_user_attr("surplus", "beyond the budget")
    assert alive.bury() == []
    time.sleep(0.1)
    (dead,) = alive.bury()
    assert not alive.put_back(dead, "its process died")
    assert alive.take() is None
    assert alive.done()


def test_a_trial_that_ended_after_all_is_not_run_again(tmp_path: Path) -> None:
    slow, watcher = work_list(tmp_path, budget=1), work_list(tmp_path, budget=1)
    trial, _ = slow.take()
    (seen,) = watcher.trials(TrialState.RUNNING)
    watcher.put(f"trial {seen.number} again", seen.params, {"again": seen.number})
    slow.finish(trial.number, [0.5])
    watcher.put_back(seen, "its process died")
    taken = watcher.take()
    assert taken is None
    (done,) = watcher.trials(TrialState.COMPLETE) or [None]
    assert done is None or done.value == 0.5


def test_a_stop_costs_no_retry(tmp_path: Path) -> None:
    work = work_list(tmp_path, budget=1)
    for _ in range(4):
        assert work.take()
        (frozen,) = work.trials(TrialState.RUNNING)
        assert work.put_back(frozen, "the search was stopped", its_fault=False)
    work.finish(work.take()[0].number, [1.0])
    assert work.done()


def test_a_point_is_not_drawn_twice(tmp_path: Path) -> None:
    study = open_study(
        open_storage(f"sqlite:///{tmp_path}/study.db"), "few", ["maximize"], "few", make_sampler({"name": "random"}, 0)
    )
    work = WorkList(study, read_space({"n": {"int": [1, 4]}}, "s.yaml"), 4, retries=0, grace=60)
    points = [work.take()[1]["n"] for _ in range(3)]
    assert len(set(points)) == 3


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
        "journal:/proc/x/y",
    ],
)
def test_a_storage_out_of_reach_is_told_without_its_password(url: str) -> None:
    with pytest.raises(UserError) as error:
        open_storage(url)
    assert "cannot be reached" in str(error.value)
    assert "secret" not in str(error.value)
    assert "sqlite:///<file>" in str(error.value)
