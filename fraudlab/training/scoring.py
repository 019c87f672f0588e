"""Scores of rows from a trained model."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn

from fraudlab.config import TrainConfig
from fraudlab.data.batches import Batch, Batches
from fraudlab.data.encoded import encode
from fraudlab.data.prepared import PreparedTable
from fraudlab.data.splits.contract import Rows, RowSplit
from fraudlab.features.encoder import TableEncoder
from fraudlab.models.registry import MODELS, make_network
from fraudlab.runs.blend import combined
from fraudlab.runs.folder import RunFolder
from fraudlab.runs.predictions import predictions_frame
from fraudlab.runs.settings import load_config
from fraudlab.training import fit_baseline
from fraudlab.training.checkpoints import load_checkpoint
from fraudlab.training.losses.weighted import at_least_float32


def score_rows(config: TrainConfig, table: PreparedTable, rows: Rows, folder: Path) -> np.ndarray:
    """Fraud probability of ``rows``, float32, from the encoder and the best model that lie in ``folder``."""
    return score_batch(config, encode(table, rows, TableEncoder.load(folder / "encoder")), folder)


def score_batch(config: TrainConfig, batch: Batch, folder: Path) -> np.ndarray:
    """The same of rows that the folder's encoder has encoded."""
    if MODELS[config.model.name].kind == "estimator":
        return fit_baseline.score(config.model.name, batch, folder)
    return score(load_network(folder / "checkpoints" / "best.ckpt").double(), batch, config.eval_batch_size)


def predict_parts(
    config: TrainConfig, table: PreparedTable, split: RowSplit, run: RunFolder, parts: Sequence[str]
) -> dict[str, pl.DataFrame]:
    """Predictions of ``val`` by the model that was chosen, of ``test`` by the tested one; both lie in ``run``.

    Those of ``recent`` are by the tested one too; there are none where it is the one that was chosen. A blend's are the
    weighted means of its members'.
    """
    if members := run.members:
        each = [predict_parts(load_config(m.config_path), table, split, m, parts) for m, _ in members]
        weights = [weight for _, weight in members]
        return {part: combined([found[part] for found in each], weights) for part in each[0]}
    scored = {
        "val": (split.validation, run.validated),
        "test": (split.test, run.final),
        **({"recent": (split.recent, run.final)} if run.fitted_twice and len(split.recent) else {}),
    }
    return {
        part: predictions_frame(table, rows, score_rows(config, table, rows, where))
        for part, (rows, where) in scored.items()
        if part in parts
    }


def load_network(checkpoint: Path) -> nn.Module:
    """The network of a checkpoint, ready to score."""
    rebuild, weights = load_checkpoint(checkpoint)
    network = make_network(rebuild)
    network.load_state_dict(weights)
    return network.eval()


def fraud_probability(logits: Tensor) -> Tensor:
    """Probability of fraud [B] of logits [B, 2] or, averaged over members, [B, M, 2]; float32 or wider."""
    return torch.softmax(at_least_float32(logits), dim=-1)[..., 1].reshape(len(logits), -1).mean(dim=1)


@torch.inference_mode()
def score(network: nn.Module, rows: Batch, batch_size: int, device: torch.device | str = "cpu") -> np.ndarray:
    """Fraud probability of every row, float32 [rows], each row scored once and in order.

    Computed in the network's own precision. In single precision sums in another order, as another batch size or device
    has them, move a score by up to some 1e-4 where an input is a hundred deviations out; in double precision not.
    """
    network = network.to(device).eval()
    dtype = next(network.parameters()).dtype
    batches = Batches(rows, batch_size, device=device)
    scores = [fraud_probability(network(b.categorical, b.numeric.to(dtype)).logits).float() for b in batches]
    return torch.cat(scores).cpu().numpy()
