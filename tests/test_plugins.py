"""Parts from outside: the examples train, are measured and scored, and no file brings a module in by itself."""

import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import hydra
import pytest
import yaml

from fraudlab import config
from fraudlab.api import load_bundle
from fraudlab.config import plugins, registry
from fraudlab.config.plumbing import check_plumbing, plumbing
from fraudlab.errors import UserError
from fraudlab.metrics.registry import register_metric
from fraudlab.models.registry import MODELS, make_network, register_network
from fraudlab.runs.settings import load_config
from tests.conftest import REPOSITORY, Command
from tests.support.plugins import unregistered
from tests.support.server import Server
from tests.support.sweeping import written

EXAMPLES = REPOSITORY / "examples"
NAMES = sorted(path.stem for path in EXAMPLES.glob("my_*.py"))
OPTIONS = sorted(EXAMPLES.glob("conf/*/*.yaml"))
ALL = f"plugins=[{','.join(NAMES)}]"
LAYERS = [
    *("--config-dir", "conf", "experiment=none", *(f"{path.parent.name}={path.stem}" for path in OPTIONS)),
    *("trainer.max_epochs=2", "trainer.enable_progress_bar=false", "batch_size=128", "scheduler=constant"),
    *("report=false", "logger=none", ALL),
]


@pytest.fixture
def examples(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of examples on the path, and after the test nothing of them registered."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    with unregistered(*NAMES):
        yield EXAMPLES


def test_there_is_an_example_of_each_kind() -> None:
    kinds = {"callback", "features", "loss", "metric", "network", "optimizer", "source", "split"}
    assert {name.removeprefix("my_") for name in NAMES} == kinds
    assert {path.stem for path in OPTIONS} == set(NAMES) - {"my_metric"}


@pytest.mark.usefixtures("hydra_conf")
@pytest.mark.parametrize("option", OPTIONS, ids=lambda path: path.stem)
def test_an_option_of_a_plugin_is_typed_once_the_plugin_is_named(option: Path, examples: Path) -> None:
    composed = hydra.compose("train", ["paths.output_dir=out", f"+plugins=[{option.stem}]"])
    given = yaml.safe_load(option.read_text())
    given.pop("defaults", None)
    composed[option.parent.name] = given
    typed = config.typed("train", composed)
    assert plugins.loaded() == (option.stem,)
    chosen = getattr(typed, option.parent.name)
    if option.parent.name in config.SCHEMAS:
        assert {key: value for key, value in vars(chosen).items() if key in given and key != "encoder"} == {
            key: value for key, value in given.items() if key != "encoder"
        }
    else:
        check_plumbing(option.parent.name, chosen)


@pytest.fixture(scope="module")
def run(command: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of all examples at once."""
    folder = tmp_path_factory.mktemp("plugins") / "run"
    done = command("train", *LAYERS, f"hydra.run.dir={folder}", cwd=EXAMPLES)
    assert done.returncode == 0, done.stderr
    assert "top genuine" in done.stdout
    return folder


def test_the_examples_are_recorded_and_measured_again(command: Command, run: Path, tmp_path: Path) -> None:
    recorded = yaml.safe_load((run / "config.yaml").read_text())
    assert recorded["plugins"] == NAMES
    assert len((run / "epochs.csv").read_text().splitlines()) == 2
    refused = command("evaluate", f"run={run}", f"hydra.run.dir={tmp_path}/refused", cwd=EXAMPLES)
    assert refused.returncode == 1
    assert ALL in refused.stderr
    done = command("evaluate", f"run={run}", ALL, f"hydra.run.dir={tmp_path}/evaluated", cwd=EXAMPLES)
    assert done.returncode == 0, done.stderr
    assert "the same metrics" in done.stdout


def test_the_examples_are_resumed_searched_compared_and_selected(command: Command, run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "killed")
    (tmp_path / "killed/metrics.json").unlink()
    shutil.rmtree(tmp_path / "killed/predictions")
    sweep = written(tmp_path, fixed=LAYERS[2:-1], space={"model.dropout": {"float": [0.0, 0.5]}},
                    trials=1, jobs=1)  # fmt: skip
    trial = tmp_path / "sweep/trials/0"
    compared = f"runs=[{run},{tmp_path}/killed,{trial}]"
    of_select = [layer for layer in LAYERS if layer.startswith(("--", "conf", "data=", "features=", "split="))]
    for words in (
        ("train", f"resume={tmp_path}/killed"),
        ("sweep", "--config-dir", "conf", f"sweep={sweep}", f"hydra.run.dir={tmp_path}/sweep"),
        ("compare", compared, "part=val", "resamples=100", f"hydra.run.dir={tmp_path}/compared"),
        ("select", *of_select, "days=10", f"hydra.run.dir={tmp_path}/selected"),
    ):
        done = command(*words, ALL, cwd=EXAMPLES)
        assert done.returncode == 0, (words[0], done.stdout + done.stderr)
    metrics = [json.loads((folder / "metrics.json").read_text()) for folder in (run, tmp_path / "killed", trial)]
    assert metrics[0]["test"] == metrics[1]["test"]
    assert metrics[0]["val"].keys() == metrics[2]["val"].keys()
    assert (tmp_path / "compared/compare.html").is_file()


def test_a_bundle_of_a_plugins_features_is_served_where_the_plugin_is_named(
    command: Command, run: Path, tmp_path: Path
) -> None:
    bundle = tmp_path / "bundle"
    done = command("export", f"run={run}", ALL, f"out={bundle}", f"hydra.run.dir={tmp_path}/export", cwd=EXAMPLES)
    assert done.returncode == 0, done.stderr
    missing = "was made with plugins.*add plugins=\\[my_features\\]"
    with pytest.raises(UserError, match=missing):
        load_bundle(bundle)
    folder = {"PYTHONPATH": f"{REPOSITORY}:{EXAMPLES}"}
    with pytest.raises(AssertionError, match=missing):
        Server(bundle, tmp_path, env=folder)
    golden = [json.loads(line) for line in (bundle / "golden.jsonl").read_text().splitlines()][:20]
    with Server(bundle, tmp_path, "plugins=[my_features]", env=folder) as server:
        found = server.predict([one["record"] for one in golden])
    assert found.status == 200
    scores = [one["score"] for one in found.said["predictions"]]
    assert scores == pytest.approx([one["score"] for one in golden], abs=1e-6)


def test_a_run_folder_causes_no_import(examples: Path, tmp_path: Path) -> None:
    (tmp_path / "evil.py").write_text("raise SystemExit('imported')")
    sys.path.insert(0, str(tmp_path))
    try:
        path = tmp_path / "config.yaml"
        path.write_text(yaml.safe_dump({"plugins": ["evil"], "model": {"name": "evil"}}))
        with pytest.raises(UserError, match=r"config.yaml was made with plugins.*add plugins=\[evil\]"):
            load_config(path)
        with pytest.raises(UserError, match=r"evil.Logger is not allowed.*plugins=\[evil\]"):
            plumbing({"_target_": "evil.Logger"})
        with pytest.raises(UserError, match="not allowed"):
            plumbing({"_target_": "torch.optim.AdamW", "inner": [{"_target_": "evil.Logger"}]})
        assert "evil" not in sys.modules
    finally:
        sys.path.remove(str(tmp_path))


def test_a_plugin_that_cannot_be_imported_is_one_message(examples: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no module not_there"):
        plugins.load_plugins(["not_there"])
    sys.path.insert(0, str(tmp_path))
    try:
        (tmp_path / "broken_plugin.py").write_text("1 / 0")
        with pytest.raises(UserError, match="broken_plugin.*ZeroDivisionError"):
            plugins.load_plugins(["broken_plugin"])
        (tmp_path / "lacking_plugin.py").write_text("import not_installed")
        with pytest.raises(UserError, match="needs the package not_installed"):
            plugins.load_plugins(["lacking_plugin"])
    finally:
        sys.path.remove(str(tmp_path))


def test_an_installed_package_needs_no_naming(examples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "mine-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[fraudlab]\nparts = my_network\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    plugins._load_installed.cache_clear()
    plugins.load_plugins([])
    assert plugins.loaded() == ("my_network",)
    assert "my_network" in MODELS
    plugins._load_installed.cache_clear()


def test_what_is_registered_is_checked(examples: Path) -> None:
    @dataclass
    class Named:
        name: str = "mine"
        width: int = 3

    def make(cardinalities: list[int], num_numeric: int, *, width: int) -> str:
        return f"{cardinalities} {num_numeric} {width}"

    with pytest.raises(UserError, match="model=mlp is fraudlab's own"):
        register_network("mlp", make, Named)
    with pytest.raises(UserError, match="must be a dataclass with the field name: str = 'other'"):
        register_network("other", make, Named)
    with pytest.raises(UserError, match="brier is fraudlab's own"):
        register_metric("brier", lambda rows: 0.0, higher_is_better=True)
    register_network("mine", make, Named)
    register_network("mine", make, Named)  # a cell of a notebook runs again
    assert make_network({"model": {"name": "mine", "width": 4}, "cardinalities": [5], "num_numeric": 2}) == "[5] 2 4"


def test_a_registry_tells_its_names() -> None:
    assert registry.unknown("loss", "mine", ["a", "b"]).startswith("loss=mine is not known; there are: a, b.")
