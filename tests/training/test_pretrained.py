"""A training refuses a pretraining that does not fit it, in words; one that fits gives its weights."""

from dataclasses import asdict, replace
from pathlib import Path

import polars as pl
import pytest
import torch

from fraudlab import config
from fraudlab.data.prepared import PreparedTable
from fraudlab.data.sources.contract import Source
from fraudlab.errors import UserError
from fraudlab.features.columns import TableColumns
from fraudlab.features.encoder import TableEncoder
from fraudlab.models.ensemble import Ensemble
from fraudlab.models.registry import make_network
from fraudlab.schema import Column, TableSchema
from fraudlab.training.checks import check_settings
from fraudlab.training.pretrained import Pretrained, shape
from fraudlab.training.pretraining import pretraining_network

FRAME = pl.DataFrame({"shop": ["a", "b", "a"], "amount": [1.0, None, 3.0], "hour": [1.0, 2.0, 3.0], "fraud": [0, 1, 0]})


def settings(folder: Path | None, **model: object) -> config.TrainConfig:
    return config.TrainConfig(
        features=config.ColumnsFeaturesConfig(),
        split=config.RandomConfig(),
        model=config.TabNetConfig(n_d=4, virtual_batch_size=128, pretrained=folder and str(folder), **model),
    )


def table(categorical: tuple[str, ...], numeric: tuple[str, ...]) -> PreparedTable:
    columns = [Column(name, "string", "categorical") for name in categorical]
    columns += [Column(name, "number", "numeric") for name in numeric]
    schema = TableSchema("own", (*columns, Column("fraud", "integer", "label")))
    return PreparedTable(Path("nothing-added"), Source(FRAME.lazy(), schema, ""), TableColumns(schema), "", "")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What a pretraining leaves, as far as a training reads it."""
    encoder = TableEncoder.fit(FRAME, ["shop"], ["amount", "hour"])
    encoder.save(tmp_path / "encoder")
    model = settings(None).model
    rebuild = {
        "model": asdict(model),
        "cardinalities": encoder.cardinalities,
        "num_numeric": encoder.num_numeric,
        "pretraining": {},
        "shape": shape(model, settings(None).features.encoder),
        "split": asdict(config.RandomConfig()),
    }
    weights = pretraining_network(rebuild).state_dict()
    (tmp_path / "checkpoints").mkdir()
    save(tmp_path, {"rebuild": rebuild, "state_dict": {f"network.{name}": weight for name, weight in weights.items()}})
    for name in ("config.yaml", "metrics.json"):
        (tmp_path / name).write_text("{}")
    return tmp_path


def save(folder: Path, checkpoint: object) -> None:
    torch.save(checkpoint, folder / "checkpoints" / "best.ckpt")


def read(folder: Path) -> dict:
    return torch.load(folder / "checkpoints" / "best.ckpt", weights_only=True)


def test_no_pretraining_is_none() -> None:
    assert Pretrained.load(settings(None)) is None
    assert Pretrained.load(replace(settings(None), model=config.MLPConfig())) is None


@pytest.mark.parametrize("members", [1, 2])
def test_every_member_starts_from_it_with_a_head_of_its_own(folder: Path, members: int) -> None:
    made = Pretrained.load(settings(folder, members=members))
    assert made is not None
    made.check_columns(table(("shop",), ("hour", "amount")))  # in any order: the encoder has its own
    rebuild = {**read(folder)["rebuild"], "model": asdict(settings(folder, members=members).model)}
    network = make_network(rebuild)
    heads = {name: weight.clone() for name, weight in network.state_dict().items() if "head." in name}
    made.start(network)
    for member in network.members if isinstance(network, Ensemble) else [network]:
        for name, weight in member.state_dict().items():
            if not name.startswith("head."):
                assert torch.equal(weight, made.weights[f"network.{name}"]), name
    assert len(heads) == members
    assert all(torch.equal(network.state_dict()[name], weight) for name, weight in heads.items())


def test_other_columns_are_named(folder: Path) -> None:
    made = Pretrained.load(settings(folder))
    assert made is not None
    with pytest.raises(UserError, match="these differ: day, hour;"):
        made.check_columns(table(("shop",), ("amount", "day")))
    with pytest.raises(UserError, match="these differ: shop;"):
        made.check_columns(table((), ("amount", "hour", "shop")))


def test_another_shape_is_refused_with_what_to_type(folder: Path) -> None:
    with pytest.raises(UserError, match=r"\(model.n_steps=5\); add model.n_steps=2, or"):
        Pretrained.load(settings(folder, n_steps=5))


def test_another_split_is_warned_of(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert Pretrained.load(settings(folder)) is not None
    assert not caplog.records
    assert Pretrained.load(replace(settings(folder), split=config.TimeFractionConfig())) is not None
    assert "rows of another split" in caplog.text


def test_a_broken_folder_is_refused(folder: Path) -> None:
    whole = read(folder)
    other = TableEncoder.fit(FRAME.head(1), ["shop"], ["amount", "hour"])
    other.save(folder / "encoder")
    with pytest.raises(UserError, match="belong to different runs"):
        Pretrained.load(settings(folder))
    (folder / "encoder" / "encoder.json").unlink()
    with pytest.raises(UserError, match="no whole encoder"):
        Pretrained.load(settings(folder))
    save(folder, {**whole, "rebuild": {key: value for key, value in whole["rebuild"].items() if key != "pretraining"}})
    with pytest.raises(UserError, match="is a run of fraudlab.train"):
        Pretrained.load(settings(folder))
    (folder / "checkpoints" / "best.ckpt").write_bytes(b"half")
    with pytest.raises(UserError, match="cannot be read as a checkpoint"):
        Pretrained.load(settings(folder))
    (folder / "checkpoints" / "best.ckpt").unlink()
    with pytest.raises(UserError, match="there is no checkpoint"):
        Pretrained.load(settings(folder))
    (folder / "metrics.json").unlink()
    with pytest.raises(UserError, match="did not finish"):
        Pretrained.load(settings(folder))


def test_weights_that_do_not_fit_are_refused(folder: Path) -> None:
    whole = read(folder)
    whole["state_dict"].pop("network.network.input_norm.weight")
    save(folder, whole)
    made = Pretrained.load(settings(folder))
    assert made is not None
    with pytest.raises(UserError, match="does not fit"):
        made.start(make_network(whole["rebuild"]))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"model": config.MLPConfig()}, "model=tabnet"),
        ({"model": config.TabNetConfig(backend="reference")}, "backend=fast"),
        ({"model": config.TabNetConfig(pretrained="x")}, "starts from nothing"),
        ({"pretraining_ratio": 1.0}, "pretraining_ratio"),
        ({"n_shared_decoder": -1}, "n_shared_decoder"),
    ],
)
def test_pretrain_refuses_what_it_cannot_do(wrong: dict, said: str) -> None:
    with pytest.raises(UserError, match=said):
        check_settings(config.PretrainConfig(**({"model": config.TabNetConfig()} | wrong)))


def test_the_reference_cannot_start_from_it() -> None:
    with pytest.raises(UserError, match="model.backend=fast"):
        config.TabNetConfig(backend="reference", pretrained="x")
