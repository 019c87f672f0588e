"""Every sampler draws from the space, the same points again after a restart, and none twice."""

import pytest
from optuna import Trial
from optuna.storages import InMemoryStorage

from fraudlab.errors import UserError
from fraudlab.tuning.samplers import make_pruner, make_sampler
from fraudlab.tuning.space import read_space
from fraudlab.tuning.study import open_study

SPACE = read_space(
    {
        "lr": {"float": [0.001, 1.0], "log": True},
        "n": {"int": [1, 64]},
        "kind": {"choice": ["a", "b"]},
        "p": {"float": [0.0, 1.0], "when": {"kind": "a"}},
    },
    "s.yaml",
)


def run(storage: InMemoryStorage, name: str, trials: int, **options) -> list[dict]:
    study = open_study(storage, name, ["maximize"], "same", make_sampler({"name": name, **options}, 7))

    def objective(trial: Trial) -> float:
        drawn = SPACE.draw(trial)
        return -abs(drawn["lr"] - 0.1) - drawn["n"] / 100

    study.optimize(objective, n_trials=trials - len(study.trials))
    return [trial.params for trial in study.trials]


@pytest.mark.parametrize("name", ["tpe", "gp", "cmaes", "random", "qmc"])
def test_a_search_in_two_parts_draws_what_one_in_one_part_does(name: str) -> None:
    options = {} if name in ("random", "qmc") else {"n_startup_trials": 3}
    whole = run(InMemoryStorage(), name, 8, **options)
    stored = InMemoryStorage()
    run(stored, name, 5, **options)
    parts = run(stored, name, 8, **options)
    assert len(whole) == 8
    assert len({tuple(point.items()) for point in whole}) == 8
    for point in whole:
        assert 0.001 <= point["lr"] <= 1
        assert ("p" in point) == (point["kind"] == "a")
    if name != "gp":  # whose optimiser's arithmetic is not promised to repeat
        assert parts == whole


def test_options_are_checked() -> None:
    with pytest.raises(UserError, match="n_startup_trials"):
        make_sampler({"name": "tpe", "startup": 3}, 0)
    assert make_pruner({"name": "hyperband"}, 60) is not None
