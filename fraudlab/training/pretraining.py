"""PretrainingLearner: trains what pretrains a network (:mod:`fraudlab.models.reconstruction`), without labels."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fraudlab.data.batches import Batch, Batches
from fraudlab.data.encoded import encode
from fraudlab.data.prepared import PreparedTable
from fraudlab.data.splits.contract import Rows
from fraudlab.errors import DIVERGED, UserError
from fraudlab.features.encoder import TableEncoder
from fraudlab.models.reconstruction import Reconstruction, column_scale, reconstruction_loss
from fraudlab.models.registry import make_network
from fraudlab.training.checkpoints import load_checkpoint
from fraudlab.training.learner import Learner


class PretrainingLearner(Learner):
    """Learns to reconstruct hidden columns.

    Logs, computed once over the whole split, ``val/reconstruction_loss``, with nothing hidden and every column counted
    as in pytorch-tabnet; over several ranks, the mean of theirs. Arguments as
    :class:`fraudlab.training.learner.Learner` has them, with a ``rebuild`` of :func:`pretraining_network`.
    """

    _validation: "SplitLoss | None" = None

    def training_loss(self, batch: Batch) -> Tensor:
        return reconstruction_loss(*self.network(batch.categorical, batch.numeric))

    def on_validation_epoch_start(self) -> None:
        self._validation = SplitLoss()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        assert self._validation is not None
        self._validation.add(self.network(batch.categorical, batch.numeric))

    def on_validation_epoch_end(self) -> None:
        assert self._validation is not None
        loss = torch.tensor(self._validation.loss, dtype=torch.float32, device=self.device)
        loss = self.trainer.strategy.reduce(loss, reduce_op="mean")
        if not torch.isfinite(loss):  # on all ranks, so that none waits for another
            raise UserError(
                f"{DIVERGED} in epoch {self.trainer.current_epoch + 1}: reconstructions are no longer finite; "
                "lower optimizer.lr or set trainer.gradient_clip_val=1"
            )
        # Every rank has the same figure; the mean over ranks only tells Lightning so.
        self.log("val/reconstruction_loss", loss, prog_bar=True, sync_dist=self.trainer.world_size > 1)


class SplitLoss:
    """The reconstruction loss of all rows of a split, which no cut into batches changes."""

    def __init__(self) -> None:
        self.rows = 0
        self._mean = self._deviations = self._errors = torch.zeros((), dtype=torch.float64)

    def add(self, output: Reconstruction) -> None:
        """Count a batch, every column of it."""
        # On the host, since Apple's GPUs have no double precision.
        embedded, reconstruction = output.embedded.cpu().double(), output.reconstruction.cpu().double()
        rows = len(embedded)
        variance, mean = torch.var_mean(embedded, dim=0, correction=0)
        shift, share = mean - self._mean, rows / (self.rows + rows)
        self._deviations = self._deviations + variance * rows + shift**2 * self.rows * share
        self._mean = self._mean + shift * share
        self._errors = self._errors + ((reconstruction - embedded) ** 2).sum(dim=0)
        self.rows += rows

    @property
    def loss(self) -> float:
        """The reconstruction loss."""
        return self._in_variances(self._errors)

    @property
    def baseline(self) -> float:
        """The loss of predicting each column's mean: 1, less by the share of columns that are constant."""
        return self._in_variances(self._deviations)

    def _in_variances(self, squares: Tensor) -> float:
        scale = column_scale(self._mean, self._deviations / max(self.rows - 1, 1))
        return float((squares / self.rows / scale).mean())


@torch.inference_mode()
def measure(network: nn.Module, rows: Batch, batch_size: int) -> SplitLoss:
    """The reconstruction loss of ``rows``, on the host."""
    network.eval()
    total = SplitLoss()
    for batch in Batches(rows, batch_size):
        total.add(network(batch.categorical, batch.numeric))
    return total


def measure_parts(
    table: PreparedTable, parts: Mapping[str, Rows], folder: Path, batch_size: int
) -> dict[str, dict[str, Any]]:
    """``reconstruction_loss``, ``baseline`` and ``rows`` of each part, by the best network that lies in ``folder``."""
    encoder = TableEncoder.load(folder / "encoder")
    rebuild, weights = load_checkpoint(folder / "checkpoints" / "best.ckpt")
    network = pretraining_network(rebuild)
    network.load_state_dict(weights)
    measured = {}
    for part, rows in parts.items():
        total = measure(network, encode(table, rows, encoder), batch_size)
        measured[part] = {"reconstruction_loss": total.loss, "baseline": total.baseline, "rows": total.rows}
    return measured


def pretraining_network(rebuild: Mapping[str, Any]) -> nn.Module:
    """A freshly initialised network from plain data.

    Args:
        rebuild: what :func:`fraudlab.models.registry.make_network` takes, and under ``pretraining`` the arguments of
            the network's ability of that name.
    """
    made: nn.Module = make_network(rebuild).pretraining(**rebuild["pretraining"])  # type: ignore[operator]
    return made
