"""Commands answer mistakes with one message, status 1 and no traceback."""

import dataclasses
import signal
import subprocess
import sys
from pathlib import Path

import hydra
import pytest
import yaml
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fraudlab import api, config
from fraudlab.config.composition import _keys, compose, conf_dir, explain
from fraudlab.config.renamed import GONE, RENAMED
from fraudlab.errors import UserError
from tests.conftest import REPOSITORY, Command


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("model.nd=3", "model.n_d"),
        ("+seedd=3", "seed"),
        ("+model.gama=3", "model.gamma"),
        ("model=tabnett", "tabnet"),
        ("model.n_d=abc", "Integer"),
        ("trainer.max_epoch=3", "trainer.max_epochs"),
        ("+optimizer.lrr=3", "optimizer.lr"),
        ("optimizer._target_=os.system", "not allowed"),
        ("trainer=gpu", "no CUDA device"),
        ("trainer.strategy=ddp_shared_memory", "use trainer.strategy=ddp"),
        ("trainer.precision=bf16-true", "use trainer.precision=bf16-mixed"),
        ("experiment=handbok", "handbook"),
        ("experiment=null", "experiment=none"),
        ("scheduler=plateau", "refit=false"),
    ],
)
def test_a_wrong_override_is_named_with_the_nearest_right_one(command: Command, override: str, said: str) -> None:
    if override == "trainer=gpu":
        torch = pytest.importorskip("torch")
        if torch.cuda.is_available():
            pytest.skip("there is a GPU")
    done = command("train", override)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_setting_that_is_missing_is_named_and_nothing_is_said_of_moved_data() -> None:
    with pytest.raises(UserError, match="out") as told:
        api.compose("rows=10", command="simulate")
    assert "Where the data" not in str(told.value)


def test_full_error_shows_the_traceback(command: Command) -> None:
    done = command("train", "model.nd=3", env={"HYDRA_FULL_ERROR": "1"})
    assert done.returncode != 0
    assert "Traceback" in done.stderr


@pytest.mark.parametrize("name", ["train", "pretrain", "prepare", "simulate", "evaluate", "sweep"])
def test_help_shows_groups_and_examples(command: Command, name: str) -> None:
    done = command(name, "--help")
    assert done.returncode == 0, done.stderr
    assert "Examples:" in done.stdout
    assert "base_" not in done.stdout
    if name == "train":
        assert "model: catboost, lightgbm, logistic_regression, mlp, tabm, tabnet, xgboost" in done.stdout
        assert done.stdout.count("python -m fraudlab.train ") >= 4


def test_nothing_is_said_where_the_reader_has_gone() -> None:
    """As with ``--help | head -1``; this reader goes before anything is printed."""
    typed = f"{sys.executable} -m fraudlab.prepare --help | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", typed], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")


def test_an_unwritable_run_folder_is_one_message(command: Command, tmp_path) -> None:
    (tmp_path / "file").write_text("")
    done = command("train", f"hydra.run.dir={tmp_path}/file/run")
    assert done.returncode == 1
    assert "cannot read or write" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_wrong_key_in_a_users_own_yaml_is_named(command: Command, tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text("# @package _global_\nmodel:\n  gama: 1.5\n")
    done = command("train", "--config-dir", str(tmp_path), "experiment=mine")
    assert done.returncode == 1
    assert "model.gama is no setting. Did you mean model.gamma" in done.stderr
    assert "does not exist" not in done.stderr


OWN = """# @package _global_
defaults:
  - override /data: table
  - override /features: columns
  - override /split: time_fraction
data: {path: claims.csv, label: outcome}
"""


@pytest.mark.parametrize(
    ("override", "said", "never"),
    [
        ("data.path=x=1.csv", ["mismatched input '='", "data.path='\"'\"'x=1.csv'"], "is no setting"),
        ("trainer.max_epoch=2", ["Could not override 'trainer.max_epoch'", "trainer.max_epochs"], "data.path"),
        ("model=tabnett", ["Could not find 'model/tabnett'", "there are: catboost", "Did you mean tabnet"], "base_"),
        ("experiment=claim", ["Could not find 'experiment/claim'", "Did you mean claims?"], "is no setting"),
        ("split.delay_days=3", ["Could not override 'split.del", "delay_days is called label_delay_days now"], "mean"),
        ("+seedd=3", ["Key 'seedd' not in", "seedd is no setting. Did you mean seed"], "claims"),
        ("model.drop_out=0.1", ["'model.drop_out'", "Did you mean model.dropout (of model=mlp or tabm)"], "claims"),
        ("model.n_d=abc", ["model.n_d=abc", "Integer"], "is no setting"),
        ("resume=nowhere", ["nowhere is not a run folder", "outputs/train/"], "hydra.run.dir"),
    ],
)
def test_hydras_reason_comes_first_and_a_users_own_yaml_is_known(
    command: Command, tmp_path: Path, override: str, said: list[str], never: str
) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "claims.yaml").write_text(OWN)
    experiment = [] if override.startswith("experiment") else ["experiment=claims"]
    done = command("train", "--config-dir", str(tmp_path), *experiment, override, cwd=tmp_path)
    assert done.returncode == 1
    assert said[0] in done.stderr.splitlines()[0]
    assert all(words in done.stderr for words in said)
    assert never not in done.stderr
    assert "claims does not exist" not in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "nowhere").exists()


def test_a_file_that_is_no_yaml_is_named_with_its_line(command: Command, tmp_path: Path) -> None:
    (tmp_path / "features").mkdir()
    (tmp_path / "features" / "mine.yaml").write_text("a: [1\nb: : 2\n")
    done = command("train", "--config-dir", str(tmp_path), "features=mine")
    assert done.returncode == 1
    assert f"error: {tmp_path}/features/mine.yaml, line 2, column 2: no YAML: " in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_folder_that_has_the_missing_yaml_is_named(command: Command, tmp_path: Path) -> None:
    (tmp_path / "my" / "experiment").mkdir(parents=True)
    (tmp_path / "my" / "experiment" / "claims.yaml").write_text(OWN)
    done = command("train", "experiment=claims", cwd=tmp_path)
    assert done.returncode == 1
    assert "my/experiment/claims.yaml is there: add --config-dir my\n" in done.stderr


def test_processes_that_would_name_a_folder_each_are_refused(command: Command, tmp_path: Path) -> None:
    done = command("train", cwd=tmp_path, env={"WORLD_SIZE": "2"})
    assert done.returncode == 1
    assert "name it, hydra.run.dir=outputs/train/<any name>" in done.stderr


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("train", []),
        ("train", ["data=ieee_cis_simulated"]),
        ("train", ["data=ieee_cis", "features=columns", "model=mlp"]),
        ("train", ["experiment=ieee_cis", "data=ieee_cis_simulated"]),
        ("pretrain", ["data=ieee_cis_simulated"]),
        ("prepare", ["data=ieee_cis_simulated"]),
        ("select", ["data=ieee_cis_simulated"]),
    ],
)
def test_a_notebook_composes_what_the_command_line_does(command: Command, name: str, overrides: list[str]) -> None:
    config.register()
    done = command(name, "--cfg", "job", *overrides, "paths.output_dir=out")
    assert done.returncode == 0, done.stderr
    typed = yaml.safe_load(done.stdout)
    data_dir = typed["paths"]["data_dir"]
    with hydra.initialize(version_base="1.3", config_path=None):
        by_hydra = hydra.compose(name, [*overrides, "paths.output_dir=out", f"paths.data_dir={data_dir}"])
    by_us = compose(name, [*overrides, "paths.output_dir=out", f"paths.data_dir={data_dir}"])
    plain = OmegaConf.masked_copy(by_us, [key for key in by_us if key != "hydra"])
    assert OmegaConf.to_container(by_hydra) == OmegaConf.to_container(plain) == typed
    if "data=ieee_cis_simulated" in overrides:
        assert typed["features"]["name"] == "ieee_cis"


def test_composing_leaves_hydra_as_it_was(hydra_conf: None) -> None:
    before = GlobalHydra.instance().hydra
    assert compose("train", ["paths.output_dir=out"]).model.name == "tabnet"
    with pytest.raises(UserError, match=r"model\.n_d"):
        compose("train", ["model.nd=3"])
    with pytest.raises(UserError, match="there is no folder nowhere"):
        compose("train", [], "nowhere")
    assert GlobalHydra.instance().hydra is before


@pytest.mark.usefixtures("hydra_conf")
@pytest.mark.parametrize("typed", ["model.width=3", "+model.width=3", "~model.width"])
def test_a_renamed_key_is_refused_with_the_new_one(monkeypatch: pytest.MonkeyPatch, typed: str) -> None:
    monkeypatch.setitem(RENAMED, "model.width", "model.n_d")
    with pytest.raises((HydraException, OmegaConfBaseException)) as refused:
        config.typed("train", hydra.compose("train", [typed, "paths.output_dir=out"]))
    assert "model.width is called model.n_d now." in explain(refused.value, "train", [typed])


@pytest.mark.usefixtures("hydra_conf")
@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("serving.record_files=9", "serving.record_files is called serving.record_days now."),
        ("serving.record_rows=9", "serving.record_rows is gone: the record has a file an hour now; leave it out."),
    ],
)
def test_settings_of_the_former_record_are_refused(typed: str, said: str) -> None:
    with pytest.raises((HydraException, OmegaConfBaseException)) as refused:
        config.typed("serve", hydra.compose("serve", [typed, "paths.output_dir=out"]))
    assert said in explain(refused.value, "serve", [typed])


@pytest.mark.usefixtures("hydra_conf")
def test_every_renamed_key_is_gone_and_its_new_one_there() -> None:
    keys = [key for name in config.COMMANDS for key in _keys(OmegaConf.to_container(hydra.compose(name)))]
    options = [(group, option) for group, options in config.SCHEMAS.items() for option in options.values()]
    keys += [f"{group}.{field.name}" for group, option in options for field in dataclasses.fields(option)]
    assert not {*RENAMED, *GONE} & set(keys)
    chosen = {f"{file.parent.name}={file.stem}" for file in conf_dir().glob("*/*.yaml")}
    assert set(RENAMED.values()) <= {*keys, *chosen}
