"""A smaller network: the members that are best together, refused where average precision falls."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from sklearn.metrics import average_precision_score
from torch import Tensor, nn

from fraudlab.config import ExportConfig
from fraudlab.data.batches import Batch
from fraudlab.errors import UserError
from fraudlab.exporter.models import _Network
from fraudlab.exporter.smaller import arrays_of, served
from fraudlab.exporter.writer import export
from fraudlab.features.encoder import Arrays, TableEncoder
from fraudlab.models.contract import NetworkOutput
from fraudlab.models.ensemble import Ensemble
from fraudlab.models.mlp.network import MLP
from fraudlab.models.tabm.network import TabM
from fraudlab.models.tabnet import TabNet
from fraudlab.runs.data import table_of
from fraudlab.runs.folder import RunFolder
from fraudlab.runs.settings import load_config
from tests.conftest import Command

DRAW = np.random.default_rng(0)
NUMERIC = DRAW.standard_normal((400, 3)).astype(np.float32)
LABEL = (NUMERIC[:, 0] + NUMERIC[:, 1] + DRAW.standard_normal(400) > 2).astype(np.int64)
ROWS = Batch.of(np.empty((400, 0), np.int64), NUMERIC, LABEL)


class OneColumn(nn.Module):
    """Scores by a weighted sum of the numbers."""

    def __init__(self, *weights: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weights, dtype=torch.float64))

    def forward(self, categorical: Tensor, numeric: Tensor) -> NetworkOutput:
        logit = numeric @ self.weight
        return NetworkOutput(torch.stack([torch.zeros_like(logit), logit], dim=1), logit.new_zeros(()))


def ensemble(*members: nn.Module) -> _Network:
    return _Network(Ensemble(iter(members).__next__, len(members)), 128, ExportConfig(run="x"))


def test_the_members_that_are_best_together_are_kept() -> None:
    """The second and the third are equal: after the second, the first helps more though it is worse alone."""
    members = [OneColumn(1.5, 0, 0), OneColumn(0, 2, 0), OneColumn(0, 2, 0), OneColumn(0, 0, 1)]
    found = ensemble(*members).with_members(2, ROWS).score(ROWS)
    of = [1 / (1 + np.exp(-(NUMERIC @ member.weight.detach().numpy()))) for member in members]
    pairs = {(i, j): average_precision_score(LABEL, of[i] + of[j]) for i in range(4) for j in range(i)}
    best = max(pairs, key=lambda pair: pairs[pair])
    assert np.abs(found - (of[best[0]] + of[best[1]]) / 2).max() < 1e-6


def test_members_of_one_network_are_chosen_alike() -> None:
    torch.manual_seed(0)
    network = TabM([], 3, k=6, hidden=[8], variant="full").double().eval()
    for parameter in network.parameters():
        nn.init.normal_(parameter)
    logits = network(ROWS.categorical, ROWS.numeric.double()).logits
    of, chosen = torch.softmax(logits, dim=-1)[..., 1].detach().numpy(), list[int]()
    for _ in range(3):
        left = [i for i in range(6) if i not in chosen]
        chosen.append(max(left, key=lambda i: average_precision_score(LABEL, of[:, [*chosen, i]].mean(axis=1))))
    model = _Network(network, 128, ExportConfig(run="x"))
    found = model.with_members(3, ROWS)
    assert (model.members, found.members) == (6, 3)
    assert np.abs(found.score(ROWS) - of[:, chosen].mean(axis=1)).max() < 1e-6


def test_thresholds_are_of_the_model_that_is_served(command: Command, tmp_path: Path) -> None:
    """In half precision it scores otherwise than its checkpoint."""
    quick = ("trainer.max_epochs=2", "trainer.enable_progress_bar=false", "report=false", "logger=none", "refit=false")
    done = command(
        "train", "data=ieee_cis_simulated", "data.rows=2000", "model=mlp", *quick, f"hydra.run.dir={tmp_path}/run"
    )
    assert done.returncode == 0, done.stderr
    run = RunFolder(tmp_path / "run")
    asked = ExportConfig(run=str(run.path), precision="fp16")
    asked.paths.data_dir = run.provenance()["data_dir"]
    bundle = export(asked, run, tmp_path / "bundle")
    config = load_config(run.config_path)
    table = table_of(run, config, asked.moved, Path(asked.paths.data_dir))
    rows = table.split(config.split, config.label_delay_days).validation
    score = bundle.score(bundle.encoder.transform(table.rows(rows, [*table.categorical, *table.numeric])))
    high = bundle.decision.thresholds["high"]
    assert np.abs(score - high).min() < 1e-12
    assert np.abs(run.predictions("val")["score"].to_numpy() - high).min() > 1e-12
    scores = json.loads((bundle.path / "reference.json").read_text())["scores"]
    bins = [-np.inf, *scores["edges"], np.inf]
    assert scores["counts"] == np.histogram(score[: scores["rows"]], bins)[0].tolist()
    assert len(score) - scores["rows"] < len(score) / 64
    done = command("export", f"run={tmp_path}/run", f"out={tmp_path}/int8", "quantize=int8")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("make", [lambda: OneColumn(1, 0, 0), lambda: MLP([], 3).double()])
def test_a_network_that_looks_at_all_columns_is_not_pruned(make: Callable[[], nn.Module]) -> None:
    with pytest.raises(UserError, match="prune_columns=true is for"):
        _Network(make(), 128, ExportConfig(run="x")).unused(ROWS)
    with pytest.raises(UserError, match="members=1: the model has 1"):
        _Network(make(), 128, ExportConfig(run="x")).with_members(1, ROWS)


def test_columns_that_no_mask_of_any_member_looks_at_leave(tmp_path: Path) -> None:
    names = ["a", "b", "c"]
    frame = pl.DataFrame(dict(zip(names, NUMERIC.T, strict=True))).with_columns(
        b=pl.when(pl.int_range(400) % 7 == 0).then(None).otherwise(pl.col("b"))
    )
    encoder = TableEncoder.fit(frame, [], names, scaling="quantile_normal")
    rows = encoder.transform(frame)
    members = []
    for seen in ({0}, {0, 3}):  # a; and a with b's indicator of missing values: b is kept whole, c by none
        torch.manual_seed(0)
        network = TabNet([], encoder.num_numeric).train()
        network(torch.from_numpy(rows.categorical), torch.from_numpy(rows.numeric))
        network = network.double().eval()
        with torch.no_grad():
            for attend in network.encoder.attentive_transformers:
                attend.norm.bias[[i for i in range(4) if i not in seen]] = -100
        members.append(network)
    batch = Batch.of(*rows, LABEL)
    made = served(ExportConfig(run="x", prune_columns=True), ensemble(*members), encoder, batch, rows)
    assert made.encoder.numeric_names == ["a", "b", "b_missing"]
    assert made.kept.tolist() == [True, True, False, True]
    assert not made.exact
    smaller = made.select(arrays_of(batch))
    assert isinstance(smaller, Arrays)
    assert np.array_equal(smaller.numeric, made.encoder.transform(frame).numeric)
    record = frame.row(0, named=True)
    assert np.array_equal(made.encoder.encode(record).numeric, smaller.numeric[:1])
    made.encoder.save(tmp_path / "encoder")
    assert TableEncoder.load(tmp_path / "encoder").fingerprint == made.encoder.fingerprint
    assert made.model.score(Batch.of(*smaller, LABEL)).std() > 0.01
