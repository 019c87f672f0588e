"""What comes after the search: which trials are finalists, and that one which failed is tried again."""

from pathlib import Path

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial

from fraudlab.config import SweepConfig
from fraudlab.config.commands import PathsConfig
from fraudlab.tuning.composition import check
from fraudlab.tuning.definition import load_definition
from fraudlab.tuning.stages import Sweep
from fraudlab.tuning.stop import Stop
from fraudlab.tuning.storage import open_storage
from tests.support.sweeping import NETWORK, written

pytestmark = pytest.mark.usefixtures("hydra_conf")

LR = FloatDistribution(0.0001, 0.1, log=True)


def sweep(folder: Path, data: Path, **changes) -> Sweep:
    raw = {"fixed": NETWORK, "space": {"optimizer.lr": {"float": [0.0001, 0.1], "log": True}}, "jobs": 1, **changes}
    paths = PathsConfig(data_dir=str(data), output_dir=str(folder))
    config = SweepConfig(sweep=written(folder, **raw), paths=paths)
    definition = load_definition(config)
    return Sweep(definition, config, check(definition), open_storage(f"sqlite:///{folder}/study.db"), None)


@pytest.mark.slow
def test_the_start_is_not_pruned(tmp_path: Path, small_data: Path) -> None:
    made = sweep(
        tmp_path, small_data, pruner={"name": "median", "n_startup_trials": 1, "n_warmup_steps": 0},
        trials=2, start=[{"optimizer.lr": 0.0001}], finalists=1,
    )  # fmt: skip
    better = dict.fromkeys((1, 2, 3), 0.99)
    made.study.add_trial(
        create_trial(value=0.99, params={"optimizer.lr": 0.05}, distributions={"optimizer.lr": LR},
                     intermediate_values=better)
    )  # fmt: skip
    made.search(Stop())
    best, start = made.finalists()
    assert (best.value, start.params["optimizer.lr"]) == (0.99, 0.0001)
    assert start.intermediate_values.keys() == better.keys()


# In the place of a training: fails where it is told to, and else reaches what its seed says.
TRIAL = """#!/bin/sh
for word; do case $word in
  fail=1) echo "error: told to"; exit 1;;
  seed=*) seed=${word#*=};;
  hydra.run.dir=*) folder=${word#*=};;
esac; done
printf '{"val": {"average_precision": 0.%s}}' "$seed" > "$folder/metrics.json"
"""


def test_a_finalist_that_failed_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "python").write_text(TRIAL)
    (tmp_path / "python").chmod(0o755)
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    made = sweep(tmp_path, tmp_path, trials=1, finalists=1, seeds=[1, 2])
    made.search(Stop())
    (best,) = made.finalists()
    metric = "val.average_precision"
    assert made.repeat("finalists", [best], [metric], Stop(), "fail=1") == []
    for _ in range(2):  # then nothing is left to do
        (candidate,) = sweep(tmp_path, tmp_path, trials=1, finalists=1, seeds=[1, 2]).repeat(
            "finalists", [best], [metric], Stop()
        )
        assert candidate.values.tolist() == [[0.1], [0.2]]
    study = optuna.load_study(study_name="mine finalists", storage=f"sqlite:///{tmp_path}/study.db")
    assert [trial.state for trial in study.trials] == [TrialState.FAIL] * 2 + [TrialState.COMPLETE] * 2
    assert study.trials[0].user_attrs["reason"] == "told to"


def test_the_start_is_a_finalist_beside_the_front(tmp_path: Path) -> None:
    metrics = ["val.average_precision", "val.roc_auc"]
    made = sweep(tmp_path, tmp_path, metrics=metrics, pruner="none", start=[{"optimizer.lr": 0.01}], finalists=1)
    for lr, values, facts in ((0.01, [0.1, 0.1], {"start": 0}), (0.02, [0.3, 0.2], {}), (0.03, [0.2, 0.3], {})):
        made.study.add_trial(
            create_trial(values=values, params={"optimizer.lr": lr}, distributions={"optimizer.lr": LR},
                         user_attrs=facts)
        )  # fmt: skip
    assert [trial.params["optimizer.lr"] for trial in made.finalists()] == [0.02, 0.01]
