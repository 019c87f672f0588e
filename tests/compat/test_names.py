"""Names that users' code, YAML and recorded runs rely on stay as they are."""

import importlib
from dataclasses import replace
from pathlib import Path

import hydra
import numpy as np
import pytest
import torch
import yaml

from fraudlab import config
from fraudlab.data.prepared import prepared_table
from fraudlab.data.sources import handbook
from tests.conftest import SMALL, Command

CALLBACKS = {
    "best": {"_target_": "fraudlab.callbacks.BestCheckpoint"},
    "last": {"_target_": "fraudlab.callbacks.LastCheckpoint", "every_n_steps": 5},
    "progress": {"_target_": "fraudlab.callbacks.Progress", "refresh_rate": 10},
    "stop": {"_target_": "fraudlab.callbacks.StopAfter", "epochs": 2},
    "report": {"_target_": "fraudlab.callbacks.TrialReport"},
    "module": {"_target_": "fraudlab.callbacks.stop_after.StopAfter", "epochs": 2},
}


@pytest.mark.usefixtures("hydra_conf")
@pytest.mark.parametrize(
    ("experiment", "fingerprint"), [("handbook_book", "245ea9cc31413ce3"), ("handbook", "fd8e6c1cd7211049")]
)
def test_the_data_fingerprint_of_an_experiment(
    experiment: str, fingerprint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fingerprints that recorded runs (``benchmarks/results/``) have: of the settings, so few rows do here."""
    simulate = handbook.simulate
    monkeypatch.setattr(handbook, "simulate", lambda full: simulate(replace(full, customers=60, days=10, radius=20)))
    composed = hydra.compose("train", [f"experiment={experiment}", "paths.output_dir=out"])
    typed = config.typed("train", composed)
    assert prepared_table(typed.data, typed.features, typed.label_delay_days, tmp_path).data_fingerprint == fingerprint


def test_a_users_yaml_may_name_callbacks_by_their_first_place(command: Command, tmp_path: Path) -> None:
    (tmp_path / "callbacks").mkdir()
    (tmp_path / "callbacks" / "mine.yaml").write_text(yaml.safe_dump(CALLBACKS))
    settings = [setting for setting in SMALL if not setting.startswith("trainer.max_epochs")]
    done = command(
        "train", "--config-dir", str(tmp_path), "callbacks=mine", "model=mlp", "model.hidden=[8]", *settings,
        "trainer.max_epochs=4", "test=false", "report=false", "logger=none", f"hydra.run.dir={tmp_path}/run",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Figures" in done.stdout or "Metrics" in done.stdout
    assert yaml.safe_load((tmp_path / "run" / "fit.json").read_text())["epochs"] == 2
    assert (tmp_path / "run" / "checkpoints" / "last.ckpt").is_file()
    assert (done.stdout + done.stderr).count("_target_: fraudlab.callbacks.* has moved") == 1
    written = (tmp_path / "run" / "config.yaml").read_text()
    assert "fraudlab.training.callbacks.stop_after.StopAfter" in written
    assert "fraudlab.callbacks" not in written


def test_names_of_the_library() -> None:
    bundle, ranking = (importlib.import_module(f"fraudlab.{name}") for name in ("bundle", "metrics.ranking"))
    assert callable(bundle.load)
    label, score = np.array([0, 1, 0, 1]), np.array([0.1, 0.4, 0.4, 0.9])
    assert ranking.average_precision(label, score) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert ranking.roc_auc(label, score) == pytest.approx(3.5 / 4)
    tabnet = importlib.import_module("fraudlab.models.tabnet")
    network = tabnet.TabNet([4], 3).eval()
    output = network(torch.tensor([[1], [3]]), torch.zeros(2, 3))
    assert output.logits.shape == (2, 2)
