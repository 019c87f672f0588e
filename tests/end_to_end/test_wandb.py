"""``logger=wandb``: the real client sends settings, curves, metrics, checkpoint and bundle, or keeps them offline."""

import json
from pathlib import Path

import pytest
import yaml

from tests.conftest import SMALL, Command
from tests.support.wandb_stand_in import offline_records, wandb_server

LOGGED = ("logger=[csv,wandb]", "report=false")


def test_a_run_and_its_bundle_are_one_run_of_wandb(command: Command, tmp_path: Path) -> None:
    """On two processes, of which only the first may log."""
    folder = tmp_path / "run"
    with wandb_server() as sent:
        online = sent.environment
        done = command("train", *SMALL, *LOGGED, "trainer=ddp_sim", f"hydra.run.dir={folder}", env=online)
        assert done.returncode == 0, done.stderr
        (run,) = sent.runs
        assert sent.exit_codes[run] == [0]
        exported = command("export", f"run={folder}", env=online)
        assert exported.returncode == 0, exported.stderr
        assert sent.runs == [run]

    resolved = yaml.safe_load((folder / "config.yaml").read_text())
    assert resolved.pop("slices") == {}  # W&B keeps no empty dictionary
    assert {key: sent.configs[run][key] for key in resolved} == resolved
    metrics = json.loads((folder / "metrics.json").read_text())
    for part in ("val", "test"):
        for name, value in metrics[part].items():
            assert sent.summaries[run].get(f"{part}/{name}") == value, name
    curve = [row["val/average_precision"] for row in sent.history[run] if "val/average_precision" in row]
    assert len(curve) == 3
    assert metrics["val"]["average_precision"] == pytest.approx(max(curve), abs=1e-6)
    model = sent.artifacts[f"model-{run}"]
    assert model["checkpoints/best.ckpt"] == (folder / "checkpoints/best.ckpt").read_bytes()
    assert {"encoder/encoder.json", "config.yaml", "metrics.json"} < set(model)
    bundle = sent.artifacts[f"bundle-{run}"]
    for file in (folder / "bundle").rglob("*"):
        if file.is_file():
            assert bundle[str(file.relative_to(folder / "bundle"))] == file.read_bytes()


def test_a_baseline_is_logged_offline_into_its_run_folder(command: Command, tmp_path: Path) -> None:
    trees = ["model=lightgbm", "model.threads=1", "logger.wandb.offline=true"]
    small = [setting for setting in SMALL if not setting.startswith(("trainer.max", "batch_size"))]
    done = command("train", *small, *LOGGED, *trees, f"hydra.run.dir={tmp_path}", env={"WANDB_MODE": ""})
    assert done.returncode == 0, done.stderr
    config, summary, curve, artifacts, ends = {}, {}, [], {}, []
    for record in offline_records(tmp_path):
        config |= {item.key: json.loads(item.value_json) for item in record.config.update}
        summary |= {item.key: json.loads(item.value_json) for item in record.summary.update if item.key}
        row = {item.nested_key[0]: json.loads(item.value_json) for item in record.history.item if item.nested_key}
        curve += [row["val/average_precision"]] if "val/average_precision" in row else []
        if record.HasField("artifact"):
            artifacts[record.artifact.type] = [entry.local_path for entry in record.artifact.manifest.contents]
        if record.HasField("exit"):
            ends.append(record.exit.exit_code)
    assert config["model"]["name"] == "lightgbm"
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert summary["test/average_precision"] == metrics["test"]["average_precision"]
    assert summary["val/average_precision"] == metrics["val"]["average_precision"]
    assert max(curve) == pytest.approx(metrics["val"]["average_precision"], abs=1e-4)
    assert str(tmp_path / "checkpoints/best.txt") in artifacts["model"]
    assert ends == [0]


def test_a_run_that_fails_is_closed_as_failed(command: Command, tmp_path: Path) -> None:
    done = command("train", *SMALL, *LOGGED, "split.train_start=2030-01-01", f"hydra.run.dir={tmp_path}")
    assert done.returncode == 1
    assert [record.exit.exit_code for record in offline_records(tmp_path) if record.HasField("exit")] == [1]


def test_without_an_account_it_says_what_to_type(command: Command, tmp_path: Path) -> None:
    alone = {"WANDB_MODE": "online", "WANDB_API_KEY": "", "HOME": str(tmp_path), "NETRC": str(tmp_path / "none")}
    done = command("train", *SMALL, *LOGGED, f"hydra.run.dir={tmp_path}/run", env=alone)
    assert done.returncode == 1
    assert "logger.wandb.offline=true" in done.stderr
    assert "Traceback" not in done.stderr
