"""Doors answer mistakes with one message, status 1 and no traceback."""

import pytest

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
def test_a_wrong_override_is_named_with_the_nearest_right_one(door: Command, override: str, said: str) -> None:
    if override == "trainer=gpu":
        torch = pytest.importorskip("torch")
        if torch.cuda.is_available():
            pytest.skip("there is a GPU")
    done = door("train", override)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_full_error_shows_the_traceback(door: Command) -> None:
    done = door("train", "model.nd=3", env={"HYDRA_FULL_ERROR": "1"})
    assert done.returncode != 0
    assert "Traceback" in done.stderr


@pytest.mark.parametrize("name", ["train", "pretrain", "prepare", "simulate", "evaluate", "sweep"])
def test_help_shows_groups_and_examples(door: Command, name: str) -> None:
    done = door(name, "--help")
    assert done.returncode == 0, done.stderr
    assert "Examples:" in done.stdout
    assert "base_" not in done.stdout
    if name == "train":
        assert "model: catboost, lightgbm, logistic_regression, mlp, tabnet, xgboost" in done.stdout
        assert done.stdout.count("python -m fraudlab.train ") >= 4


def test_an_unwritable_run_folder_is_one_message(door: Command, tmp_path) -> None:
    (tmp_path / "file").write_text("")
    done = door("train", f"hydra.run.dir={tmp_path}/file/run")
    assert done.returncode == 1
    assert "cannot read or write" in done.stderr
    assert "Traceback" not in done.stderr
