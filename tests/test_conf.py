"""Every YAML in conf/ composes, has its types, and builds; wrong keys are named."""

import dataclasses
import re
from pathlib import Path

import hydra
import pytest
import yaml
from omegaconf import OmegaConf

from fraudlab import config
from fraudlab.cli import conf_dir
from fraudlab.config.plumbing import check_plumbing
from fraudlab.errors import UserError
from fraudlab.features import handbook
from fraudlab.models.registry import MODELS, estimator_class, make_network
from fraudlab.training.auto import chosen, settled
from fraudlab.training.losses.registry import make_loss
from fraudlab.training.optimizers import make_optimizer, make_scheduler
from tests.conftest import REPOSITORY

PLUMBING = ("optimizer", "scheduler", "trainer", "callbacks", "logger")
OPTIONS = [
    (folder.name, file.stem)
    for folder in sorted(conf_dir().iterdir())
    if folder.name not in ("hydra", "local", "recipe")  # recipes are chosen by experiment and model
    for file in sorted(folder.glob("*.yaml"))
]

pytestmark = pytest.mark.usefixtures("hydra_conf")


def compose(command: str, *overrides: str):
    return hydra.compose(command, ["paths.output_dir=out", *overrides])


def required(group: str, option: str) -> list[str]:
    return {
        ("data", "table"): ["data.path=x.csv", "data.label=fraud"],
        ("split", "time_spans"): ["split.train_until=2020-01-05", "split.test_from=2020-01-06"],
    }.get((group, option), [])


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_option_composes_types_and_builds(group: str, option: str) -> None:
    if (group, option) == ("debug", "default"):
        pytest.skip("only other debug configs extend it")
    typed = config.typed("train", compose("train", f"{group}={option}", *required(group, option)))
    assert isinstance(typed, config.TrainConfig)
    for product, options in config.SCHEMAS.items():
        assert isinstance(getattr(typed, product), tuple(options.values()))
    for plumbing in PLUMBING:
        settings = dict(getattr(typed, plumbing) or {})
        settings = {key: value for key, value in settings.items() if key not in ("interval", "monitor", "decay")}
        check_plumbing(plumbing, settings)
    make_loss(typed.loss)
    if MODELS[typed.model.name].kind == "estimator":
        assert estimator_class(typed.model.name).FILE
        return
    typed = settled(typed, chosen(typed, 1000, 10, [5], 3))
    rebuild = {"model": dataclasses.asdict(typed.model), "cardinalities": [5], "num_numeric": 3}
    optimizer = make_optimizer(typed.optimizer)(make_network(rebuild))
    made = make_scheduler(typed.scheduler)
    assert made is not None
    assert made(optimizer, 100)["scheduler"].optimizer is optimizer


@pytest.mark.parametrize("command", sorted(config.COMMANDS))
def test_every_command_composes(command: str) -> None:
    overrides = {
        "describe": ["data.path=x.csv"],
        "evaluate": ["run=x"],
        "simulate": ["out=x"],
        "compare": ["runs=[x,y]"],
        "blend": ["runs=[x,y]"],
        "cloud": ["action=status"],
        "history": ["transactions=x", "out=x"],
        "labels": ["file=x", "to=x"],
        "drift": ["bundle=x", "input=x.csv", "out=x"],
        "challenger": ["bundle=x", "records=x", "out=x"],
        "performance": ["bundle=x", "records=x", "mature_days=30", "out=x"],
        "records": ["folder=x"],
        "sweep": ["sweep=x"],
        "export": ["run=x"],
        "predict": ["bundle=x", "input=x.csv", "output=y.csv"],
    }.get(command, [])
    assert isinstance(config.typed(command, compose(command, *overrides)), config.COMMANDS[command])


def _extends_schema(file: Path) -> bool:
    """Whether a YAML is an option, not settings of another."""
    return str(yaml.safe_load(file.read_text())["defaults"][0]).startswith("base_")


@pytest.mark.parametrize(("preset", "extended"), [("handbook", False), ("handbook_extended", True)])
def test_the_handbooks_features_are_a_definition_of_history(preset: str, extended: bool) -> None:
    features = config.typed("train", compose("train", f"features={preset}")).features
    assert features == config.HistoryFeaturesConfig(**handbook.settings(extended))


@pytest.mark.parametrize("group", sorted(config.SCHEMAS))
def test_file_stems_are_registry_names(group: str) -> None:
    stems = {file.stem for file in (conf_dir() / group).glob("*.yaml")}
    presets = {file.stem for file in (conf_dir() / group).glob("*.yaml") if not _extends_schema(file)}
    assert stems - presets == set(config.SCHEMAS[group])
    for name, schema in config.SCHEMAS[group].items():
        assert {field.name: field.default for field in dataclasses.fields(schema)}["name"] == name


@pytest.mark.parametrize(("group", "option"), [(g, o) for g, options in config.SCHEMAS.items() for o in options])
def test_yaml_shows_each_value_of_its_dataclass_with_a_comment(group: str, option: str) -> None:
    path = conf_dir() / group / f"{option}.yaml"
    shown = {key: value for key, value in yaml.safe_load(path.read_text()).items() if key != "defaults"}
    default = OmegaConf.to_container(OmegaConf.structured(config.SCHEMAS[group][option]))
    assert default.pop("name") == option
    needed = {key for key, value in default.items() if value == "???"}  # for which YAML may have a value
    assert {key: value for key, value in shown.items() if key not in needed} == {
        key: value for key, value in default.items() if key not in needed
    }
    assert needed <= set(shown)
    values = [line for line in path.read_text().splitlines() if re.match(r" *\w+: +\S", line)]
    assert all(re.search(r" # \S", line) for line in values if not line.startswith("defaults:"))


def test_what_a_comment_of_debug_profile_advertises_composes() -> None:
    text = (conf_dir() / "debug" / "profile.yaml").read_text()
    override = re.search(r"trainer\.profiler\S+=\S+", text)
    assert override is not None
    typed = config.typed("train", compose("train", "debug=profile", override[0]))
    check_plumbing("trainer", typed.trainer)


def test_registry_names_are_modules_with_tests() -> None:
    package, tests = REPOSITORY / "fraudlab", REPOSITORY / "tests"
    for name in config.SCHEMAS["data"]:
        places = package / "data" / "sources", tests / "data" / "sources"
        assert (places[0] / f"{name}.py").is_file() or (places[0] / name).is_dir()
        assert (places[1] / f"test_{name}.py").is_file() or (places[1] / name).is_dir()
    for name in config.SCHEMAS["features"]:
        assert (package / "features" / f"{name}.py").is_file() or (package / "features" / name).is_dir()
        assert (tests / "features" / f"test_{name}.py").is_file()
    assert set(MODELS) == set(config.SCHEMAS["model"])
    for name in MODELS:
        assert [*(tests / "models").glob(f"**/test_{name}.py"), *(tests / "models" / name).glob("test_*.py")]


@pytest.mark.parametrize("recipe", sorted((conf_dir() / "recipe").glob("*/*.yaml")), ids=lambda path: str(path)[-30:])
def test_every_recipe_is_that_of_its_experiment_and_model(recipe: Path) -> None:
    experiment, model = recipe.parent.name, recipe.stem
    plain = compose("train", f"experiment={experiment}", f"model={model}")
    typed = config.typed("train", plain)
    chosen = yaml.safe_load(recipe.read_text())
    if MODELS[typed.model.name].kind == "network":
        assert typed.batch_size == chosen["batch_size"]
        assert typed.trainer["max_epochs"] == chosen["trainer"]["max_epochs"]
    assert dataclasses.asdict(typed.model).items() >= chosen["model"].items()


def test_an_experiment_and_debug_layer_win_over_groups() -> None:
    typed = config.typed("train", compose("train", "experiment=handbook", "debug=fast"))
    assert typed.features.columns[-1] == "CUSTOMER_ID_NB_FRAUD_30DAY_WINDOW"
    assert typed.split.train_days == 92
    assert typed.trainer["max_epochs"] == 1
    assert not typed.report


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("model.mask_type=softmax", "sparsemax, entmax"),
        ("model.n_d=0", "at least 1"),
        ("model.virtual_batch_size=1", "at least 2"),
        ("model.gamma=0.5", "at least 1"),
        ("model.momentum=2", "must lie in"),
        ("model.epsilon=0", "must lie in"),
        ("loss.fraud_weight=0", "above 0"),
        ("split=random split.test=1.5", "leave rows for training"),
        ("features.encoder.scaling=minmax", "quantile_normal"),
        ("keep_on_device=perhaps", "auto, always, never"),
        ("features.encoder.clip=-1", "positive"),
        ("model=lightgbm model.num_leaves=1", "at least 2"),
        ("model=xgboost model.subsample=1.5", "must lie in"),
        ("model=logistic_regression model.C=0", "above 0"),
    ],
)
def test_a_value_out_of_range_is_refused(override: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        config.typed("train", compose("train", *override.split()))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"_target_": "os.system", "command": "true"}, "not allowed"),
        ({"_target_": "torch.optim.Adamm"}, "cannot be imported"),
        ({"_target_": "torch.optim.AdamW", "lrr": 1}, "optimizer.lr"),
        ({"inner": {"_target_": "builtins.eval"}}, "optimizer.inner"),
    ],
)
def test_plumbing_is_checked(settings: dict, said: str) -> None:
    with pytest.raises(UserError, match=said):
        check_plumbing("optimizer", settings)


def test_a_refused_argument_names_its_class() -> None:
    with pytest.raises(UserError, match=r"torch\.optim\.AdamW.*[Ii]nvalid learning rate"):
        make_optimizer({"_target_": "torch.optim.AdamW", "lr": -1.0})(
            make_network({"model": {"name": "mlp"}, "cardinalities": [], "num_numeric": 2})
        )


def test_the_package_finds_conf(tmp_path: Path) -> None:
    assert (conf_dir() / "train.yaml").is_file()
