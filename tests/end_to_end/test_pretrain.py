"""Pretraining and the training that starts from it, driven as a user does, on a small simulated table."""

import json
import shlex
from pathlib import Path

import pytest
import torch

from fraudlab.training.checkpoints import load_checkpoint
from tests.conftest import SMALL, Command


@pytest.fixture(scope="module")
def pretrained(command: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "pretrained"
    done = command("pretrain", *SMALL, "logger=csv", f"hydra.run.dir={folder}")
    assert done.returncode == 0, done.stderr
    assert "column means" in done.stdout
    assert f"run folder: {folder}" in done.stdout
    begun = shlex.split(done.stdout.split("train from it: ")[1])
    assert begun[-1] == f"model.pretrained={folder}"
    assert {word for word in SMALL if word.startswith(("data.", "split."))} <= {*begun}
    return folder


def test_the_run_folder_has_all_its_parts(pretrained: Path) -> None:
    for part in ("config.yaml", "run.json", "checkpoints/best.ckpt", "encoder/encoder.json", "pretrain.log",
                 "csv/metrics.csv"):  # fmt: skip
        assert (pretrained / part).is_file(), part
    metrics = json.loads((pretrained / "metrics.json").read_text())
    assert 1 <= metrics["train"]["best_epoch"] <= metrics["train"]["epochs"] == 3
    for part in ("train", "val", "test"):
        assert metrics[part]["baseline"] == pytest.approx(1, abs=0.01)
        assert metrics[part]["reconstruction_loss"] > 0
    logged = [line.split(",") for line in (pretrained / "csv" / "metrics.csv").read_text().splitlines()]
    curve = [row[logged[0].index("val/reconstruction_loss")] for row in logged[1:]]
    assert metrics["val"]["reconstruction_loss"] == pytest.approx(min(float(loss) for loss in curve if loss), rel=1e-4)


def test_training_starts_from_the_pretrained_weights_in_both_fits(
    command: Command, pretrained: Path, tmp_path: Path
) -> None:
    # At a rate of 0 what is pretrained stays as it is.
    still = ["scheduler=constant", "optimizer.lr=0", "model.members=2", "report=false", "logger=none"]
    done = command("train", *SMALL, *still, f"model.pretrained={pretrained}", f"hydra.run.dir={tmp_path}/run")
    assert done.returncode == 0, done.stderr
    _, start = load_checkpoint(pretrained / "checkpoints" / "best.ckpt")
    for folder in (tmp_path / "run", tmp_path / "run" / "selection"):
        rebuild, weights = load_checkpoint(folder / "checkpoints" / "best.ckpt")
        assert "pretrained" not in rebuild["model"]
        for name, weight in weights.items():
            if "running" not in name and "num_batches" not in name and ".head." not in name:
                assert torch.equal(weight, start["network." + name.split(".", 2)[2]]), name
        assert not torch.equal(weights["members.0.head.weight"], weights["members.1.head.weight"])
        encoder = (folder / "encoder" / "encoder.safetensors").read_bytes()
        assert encoder == (pretrained / "encoder" / "encoder.safetensors").read_bytes()


def test_other_settings_are_named_with_what_to_type(command: Command, pretrained: Path, tmp_path: Path) -> None:
    other = ["model.n_d=4", "features.encoder.clip=3", f"model.pretrained={pretrained}"]
    done = command("train", *SMALL, *other, f"hydra.run.dir={tmp_path}/run")
    assert done.returncode == 1
    assert "(model.n_d=4 features.encoder.clip=3.0); add model.n_d=8 features.encoder.clip=null" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run" / "config.yaml").exists()


def test_no_run_folder_is_one_message(command: Command, tmp_path: Path) -> None:
    done = command("train", f"model.pretrained={tmp_path}/nowhere", f"hydra.run.dir={tmp_path}/run")
    assert done.returncode == 1
    assert "nowhere is not a run folder" in done.stderr
    assert "Traceback" not in done.stderr
