"""Commands answer mistakes with one message, status 1 and no traceback."""

from pathlib import Path

import hydra
import pytest
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fraudlab import config
from fraudlab.cli import _keys, explain
from fraudlab.config.renamed import RENAMED
from tests.conftest import Command


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
        assert "model: catboost, lightgbm, logistic_regression, mlp, tabnet, xgboost" in done.stdout
        assert done.stdout.count("python -m fraudlab.train ") >= 4


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


@pytest.mark.usefixtures("hydra_conf")
@pytest.mark.parametrize("typed", ["model.width=3", "+model.width=3", "~model.width"])
def test_a_renamed_key_is_refused_with_the_new_one(monkeypatch: pytest.MonkeyPatch, typed: str) -> None:
    monkeypatch.setitem(RENAMED, "model.width", "model.n_d")
    with pytest.raises((HydraException, OmegaConfBaseException)) as refused:
        config.typed("train", hydra.compose("train", [typed, "paths.output_dir=out"]))
    assert "model.width is called model.n_d now." in explain(refused.value, "train", [typed])


@pytest.mark.usefixtures("hydra_conf")
def test_every_renamed_key_is_gone_and_its_new_one_there() -> None:
    keys = [key for name in config.COMMANDS for key in _keys(OmegaConf.to_container(hydra.compose(name)))]
    assert not set(RENAMED) & set(keys)
    assert set(RENAMED.values()) <= set(keys)
