"""What an earlier format holds is translated when it is read; a later format is refused."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import fraudlab.bundle
from fraudlab.bundle import formats as bundle_formats
from fraudlab.errors import UserError
from fraudlab.features import handbook
from fraudlab.runs import formats as run_formats
from fraudlab.runs.comparison import models
from fraudlab.runs.folder import RunFolder
from fraudlab.runs.settings import config_yaml, load_config
from fraudlab.training.checkpoints import load_checkpoint
from fraudlab.training.scoring import load_network

FIRST = Path(__file__).parent / "fixtures" / "format_1"


def rewrite(bundle: Path, name: str, content: Any) -> None:
    """Change a JSON file of a bundle and make its manifest agree."""
    data = json.dumps(content).encode()
    (bundle / name).write_bytes(data)
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["files"][name] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    (bundle / "manifest.json").write_text(json.dumps(manifest))


def test_the_files_of_an_older_bundle_are_translated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if format 1 had called the fields of ``schema.json`` by another name."""
    expected = fraudlab.bundle.load(FIRST / "bundle_with_masks").schema

    def from_1(name: str, content: Any) -> Any:
        if name == "schema.json":
            content["fields"] = content.pop("columns")
        return content

    old = Path(shutil.copytree(FIRST / "bundle_with_masks", tmp_path / "old"))
    schema = json.loads((old / "schema.json").read_text())
    rewrite(
        old, "schema.json", {**{key: schema[key] for key in schema if key != "fields"}, "columns": schema["fields"]}
    )
    with pytest.raises(UserError, match=r"schema\.json"):
        fraudlab.bundle.load(old)
    monkeypatch.setattr(bundle_formats, "UPGRADES", (from_1, *bundle_formats.UPGRADES[1:]))
    bundle = fraudlab.bundle.load(old)
    bundle.check()
    assert bundle.schema == expected

    new = Path(shutil.copytree(FIRST / "bundle_with_masks", tmp_path / "new"))
    manifest = json.loads((new / "manifest.json").read_text())
    (new / "manifest.json").write_text(json.dumps({**manifest, "format": 2}))
    assert fraudlab.bundle.load(new).schema == expected


def test_a_bundle_with_labels_that_were_known_at_once(tmp_path: Path) -> None:
    """Settings with them are refused when typed now."""
    old = Path(shutil.copytree(FIRST / "bundle_with_masks", tmp_path / "old"))
    features = json.loads((old / "features.json").read_text())
    features["settings"]["delay_days"] = 0
    rewrite(old, "features.json", features)
    assert fraudlab.bundle.load(old).features.delay == 0


@pytest.mark.parametrize("written", [bundle_formats.FORMAT + 1, 0, -1, "1", None])
def test_a_bundle_of_an_unknown_format_is_refused(tmp_path: Path, written: Any) -> None:
    later = Path(shutil.copytree(FIRST / "bundle_with_masks", tmp_path / "later"))
    manifest = json.loads((later / "manifest.json").read_text())
    (later / "manifest.json").write_text(json.dumps({**manifest, "format": written}))
    with pytest.raises(UserError, match=f"format {written} is not supported"):
        fraudlab.bundle.load(later)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FIRST / "tabnet", tmp_path / "run"))


def test_a_run_of_an_older_format_is_the_same_model(run: Path, tmp_path: Path) -> None:
    """Its settings, written again, are those of the present format and no other model in a comparison."""
    now = Path(shutil.copytree(run, tmp_path / "now"))
    config = load_config(run / "config.yaml")
    assert config.callbacks["last_checkpoint"]["_target_"] == "fraudlab.training.callbacks.LastCheckpoint"
    (now / "config.yaml").write_text(config_yaml(config))
    written = yaml.safe_load((now / "config.yaml").read_text())
    assert written["format"] == run_formats.FORMAT
    assert "format" not in yaml.safe_load((run / "config.yaml").read_text())
    again = load_config(now / "config.yaml")
    assert (again.model, again.callbacks, again.features) == (config.model, config.callbacks, config.features)
    assert len(models([RunFolder(run), RunFolder(now)], "test")) == 1


def test_settings_that_came_while_format_5_was_written(tmp_path: Path) -> None:
    """A perceptron from before numbers were embedded and weight decay had a kind is the same model as one of today."""
    old, now = (Path(shutil.copytree(FIRST / "mlp", tmp_path / name)) for name in ("old", "now"))
    written = yaml.safe_load(config_yaml(load_config(now / "config.yaml")))
    assert written["optimizer"].pop("decay") == "all"
    (now / "config.yaml").write_text(yaml.safe_dump({**written, "optimizer": {**written["optimizer"], "decay": "all"}}))
    for key in ("embedding", "numeric_dim", "bins", "frequencies", "frequency_scale", "activation", "input_scale"):
        del written["model"][key]
    (old / "config.yaml").write_text(yaml.safe_dump({**written, "format": 5}))
    assert load_config(old / "config.yaml").model == load_config(now / "config.yaml").model
    assert len(models([RunFolder(old), RunFolder(now)], "test")) == 1
    checkpoint = old / "checkpoints" / "best.ckpt"
    torch.save({**torch.load(checkpoint, weights_only=True), "format": 5}, checkpoint)
    assert load_checkpoint(checkpoint)[0]["model"]["embedding"] == "none"


@pytest.mark.parametrize("written", range(1, run_formats.FORMAT + 1))
def test_a_network_of_a_plugin_keeps_its_settings(written: int) -> None:
    settings = {"model": {"name": "mine", "hidden": [8]}}
    assert run_formats.upgraded(settings, written, Path("config.yaml")) == settings


def test_a_run_by_a_strategy_that_was_removed(run: Path) -> None:
    path = run / "config.yaml"
    settings = yaml.safe_load(path.read_text())
    settings["trainer"]["strategy"] = "ddp_shared_memory"
    path.write_text(yaml.safe_dump(settings))
    assert load_config(path).trainer["strategy"] == "ddp"


def test_settings_and_checkpoints_pass_through_every_version(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two more formats: one that renames a setting of the model, and one that undoes that."""

    def renamed(old: str, new: str) -> run_formats.Upgrade:
        def upgrade(settings: dict[str, Any]) -> dict[str, Any]:
            model = {new if key == old else key: value for key, value in settings["model"].items()}
            return {**settings, "model": model}

        return upgrade

    expected, weights = load_checkpoint(run / "checkpoints" / "best.ckpt")
    steps = (*run_formats.UPGRADES, renamed("n_d", "width"), renamed("width", "n_d"))
    monkeypatch.setattr(run_formats, "UPGRADES", steps[:-1])
    monkeypatch.setattr(run_formats, "FORMAT", len(steps))
    with pytest.raises(UserError, match="width"):
        load_config(run / "config.yaml")
    assert "width" in load_checkpoint(run / "checkpoints" / "best.ckpt")[0]["model"]
    monkeypatch.setattr(run_formats, "UPGRADES", steps)
    monkeypatch.setattr(run_formats, "FORMAT", len(steps) + 1)
    assert load_config(run / "config.yaml").model.n_d == expected["model"]["n_d"]
    network = load_network(run / "checkpoints" / "best.ckpt")
    assert network.state_dict().keys() == weights.keys()


@pytest.mark.parametrize("written", [run_formats.FORMAT + 1, 0, "new", None])
def test_a_run_of_an_unknown_format_is_refused(run: Path, written: Any) -> None:
    settings = yaml.safe_load((run / "config.yaml").read_text())
    (run / "config.yaml").write_text(yaml.safe_dump({"format": written, **settings}))
    checkpoint = run / "checkpoints" / "best.ckpt"
    torch.save({**torch.load(checkpoint, weights_only=True), "format": written}, checkpoint)
    for read, path in ((load_config, run / "config.yaml"), (load_network, checkpoint)):
        with pytest.raises(UserError, match=f"{path.name}: run format {written} is not supported"):
            read(path)


@pytest.mark.parametrize(
    ("split", "features", "delay"),
    [
        ({"name": "time_windows", "delay_days": 3}, {"name": "handbook", "delay_days": 3}, 3),
        ({"name": "time_windows", "delay_days": 3}, {"name": "columns"}, 3),
        ({"name": "time_fraction"}, {"name": "columns"}, 0),
        ({"name": "random"}, {"name": "handbook", "delay_days": 5}, 5),
        ({"name": "time_windows", "delay_days": 14}, {"name": "handbook", "delay_days": 7}, None),
        ({"name": "time_fraction"}, {"name": "handbook", "delay_days": 7}, None),
    ],
)
def test_two_label_delays_of_format_2_become_one(
    split: dict[str, Any], features: dict[str, Any], delay: int | None
) -> None:
    settings = {"split": split, "features": features, "seed": 1}
    if delay is None:
        with pytest.raises(UserError, match="the single setting label_delay_days cannot express"):
            run_formats.upgraded(settings, 2, Path("config.yaml"))
        return
    now = run_formats.upgraded(settings, 2, Path("config.yaml"))
    assert now == {
        "split": {"name": split["name"]},
        "features": handbook.upgraded({"name": features["name"]}),
        "label_delay_days": delay,
        "seed": 1,
    }
