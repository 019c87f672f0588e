"""sweeps/*.yaml: every one of ours composes with train; what makes no sense is refused before any trial."""

from pathlib import Path

import hydra
import pytest
import yaml
from hydra.core.global_hydra import GlobalHydra

from fraudlab.cli import HYDRA_VERSION_BASE, conf_dir
from fraudlab.config import SweepConfig
from fraudlab.errors import UserError
from fraudlab.tuning.composition import check, compose, experiment, typed
from fraudlab.tuning.definition import load_definition, sweeps_dir

NAMES = sorted(file.stem for file in sweeps_dir().glob("*.yaml"))

pytestmark = [pytest.mark.usefixtures("hydra_conf"), pytest.mark.long]


@pytest.mark.parametrize("name", NAMES)
def test_each_of_ours_can_be_tried(name: str) -> None:
    definition = load_definition(SweepConfig(sweep=name))
    base = check(definition)
    for point in definition.start:  # the recipe: what the fixed settings alone give
        settings = typed(compose(definition.overrides(point)), definition.overrides(point))
        assert (settings.model, settings.optimizer, settings.batch_size) == (
            base.model,
            base.optimizer,
            base.batch_size,
        )


def written(tmp_path: Path, **changes) -> str:
    raw = {"fixed": ["model=mlp"], "space": {"optimizer.lr": {"float": [0.001, 0.1], "log": True}}, **changes}
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(raw))
    return str(path)


def test_the_command_wins_over_the_file(tmp_path: Path) -> None:
    given = SweepConfig(sweep=written(tmp_path), trials=7, sampler="random", seeds=[5], fixed=["seed=4"], study="other")
    definition = load_definition(given)
    assert (definition.trials, definition.sampler["name"], definition.seeds) == (7, "random", (5,))
    assert definition.fixed == ("model=mlp", "seed=4")
    assert definition.name == "other"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"space": {"optimizer.lrr": {"float": [0.1, 1.0]}}}, "optimizer.lr"),
        ({"space": {"model.n_d": {"int": [4, 8]}}}, "model.n_d is no setting"),
        ({"space": {"model.embedding_dim": {"float": [0.5, 2.5]}}}, "use int:"),
        ({"space": {"model.dropout": {"float": [0.0, 2.0]}}}, "out of range"),
        ({"space": {"batch_size": {"choice": ["many"]}}}, "instead of a number"),
        ({"space": {"optimizer._target_": {"int": [1, 2]}}}, "instead of a word"),
        ({"space": {"model": {"choice": ["mlp", "tabnett"]}}}, "tabnet"),
        ({"fixed": ["model=mlpp"]}, "mlp"),
        ({"fixed": ["model"]}, "settings as on the command line"),
        ({"metrics": ["test.average_precision"]}, "never sees the test window"),
        ({"metrics": [{"val.log_loss": "least"}]}, "minimize"),
        ({"metrics": [{"val.log_loss": "minimize"}], "pruner": "median"}, "use pruner=none"),
        ({"sampler": "tpee"}, "tpe, gp, cmaes, random, qmc"),
        ({"pruner": {"name": "median", "n_startup": 3}}, "n_startup_trials"),
        ({"trials": 0}, "at least 1"),
        ({"trails": 3}, "trials"),
        ({"start": [{"optimizer.lr": 1.0}]}, "is outside the space"),
        ({"start": [{"lr": 1.0}]}, "not in the space"),
        ({"space": {}}, "must name settings"),
    ],
)
def test_a_senseless_search_is_refused(tmp_path: Path, changes: dict, said: str) -> None:
    with pytest.raises(UserError) as error:  # noqa: PT012 (options of a pruner are checked where it is made)
        definition = load_definition(SweepConfig(sweep=written(tmp_path, **changes)))
        check(definition)
        from fraudlab.tuning.samplers import make_pruner

        make_pruner(definition.pruner, 10)
    assert said in str(error.value)


def test_a_setting_that_follows_from_the_rows_may_be_searched(tmp_path: Path) -> None:
    """On a table of one's own the learning rate is auto, which is a word."""
    own = ["experiment=none", "data=table", "data.path=t.csv", "data.label=fraud", "features=columns", "model=mlp"]
    definition = load_definition(SweepConfig(sweep=written(tmp_path, fixed=own)))
    assert check(definition).optimizer["lr"] == "auto"


def test_a_name_that_does_not_exist_names_the_nearest() -> None:
    with pytest.raises(UserError, match=r"Did you mean tabnet_handbook"):
        load_definition(SweepConfig(sweep="tabnet_handbok"))


@pytest.mark.parametrize("name", ["tabnet_handbook", "lightgbm_handbook"])
def test_the_best_as_an_experiment_is_the_trial_it_was(tmp_path: Path, name: str) -> None:
    definition = load_definition(SweepConfig(sweep=name))
    overrides = definition.overrides(definition.space.corners()[0])
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(experiment(overrides, "a test"))
    trial = typed(compose(overrides), overrides)
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(conf_dir()), version_base=HYDRA_VERSION_BASE):
        given = ["experiment=mine", f"hydra.searchpath=[{tmp_path}]", f"seed={trial.seed}"]
        again = typed(compose(given), given)
    assert again.tried == "a test"
    for key in ("data", "features", "split", "model", "loss", "optimizer", "scheduler", "trainer", "callbacks"):
        assert getattr(again, key) == getattr(trial, key), key
    assert (again.batch_size, again.seed, again.refit) == (trial.batch_size, trial.seed, trial.refit)


def test_a_search_with_a_finalists_seed_is_warned(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for settings, warned in (({}, False), ({"seeds": [0, 1]}, True), ({"seeds": [0, 1], "finalists": 0}, False)):
        caplog.clear()
        check(load_definition(SweepConfig(sweep=written(tmp_path, **settings))))
        assert ("give the search another (fixed: [seed=2])" in caplog.text) == warned
