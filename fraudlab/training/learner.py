"""Learners: train a network that keeps the contract of :mod:`fraudlab.models.contract`, or one by a loss of its own."""

import math
from collections.abc import Mapping
from typing import Any

import lightning.pytorch as L
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from fraudlab.data.batches import Batch
from fraudlab.errors import DIVERGED, UserError
from fraudlab.metrics.ranking import average_precision
from fraudlab.runs.formats import FORMAT
from fraudlab.training.optimizers import MakeOptimizer, MakeScheduler
from fraudlab.training.scoring import fraud_probability


class Learner(L.LightningModule):
    """One network and its optimiser; a subclass says what the loss is and what is measured on validation.

    Logs ``train/loss``, the mean over the epoch's batches.

    Args:
        network: called as ``network(categorical, numeric)``.
        make_optimizer: gives an optimiser for a network.
        make_scheduler: gives Lightning's scheduler dictionary for an optimiser and the number of steps of the
            whole fit; None for a constant rate.
        rebuild: plain data from which :func:`fraudlab.models.registry.make_network` makes the network again; goes into
            checkpoints.
    """

    def __init__(
        self,
        network: nn.Module,
        make_optimizer: MakeOptimizer,
        make_scheduler: MakeScheduler | None,
        rebuild: Mapping[str, Any],
    ) -> None:
        super().__init__()
        self.network = network
        self._make_optimizer = make_optimizer
        self._make_scheduler = make_scheduler
        self._rebuild = dict(rebuild)
        self.loss_sum: Tensor | None = None  # over this epoch's batches so far, []
        self.loss_batches = 0  # their number; trainer.max_steps may end an epoch early

    def training_loss(self, batch: Batch) -> Tensor:
        """What is minimised, []."""
        raise NotImplementedError

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        loss = self.training_loss(batch)
        # Summed on the device and logged once an epoch: logging every step costs more than a small network's step.
        self.loss_sum = loss.detach() if self.loss_sum is None else self.loss_sum + loss.detach()
        self.loss_batches += 1
        return loss

    def on_train_epoch_end(self) -> None:
        assert self.loss_sum is not None
        mean = self.loss_sum / self.loss_batches
        self.loss_sum, self.loss_batches = None, 0
        self.log("train/loss", mean, prog_bar=True, sync_dist=self.trainer.world_size > 1)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        optimizer = self._make_optimizer(self.network)
        if self._make_scheduler is None:
            return optimizer
        estimated = self.trainer.estimated_stepping_batches
        steps = int(estimated) if math.isfinite(estimated) else 0  # no end: no schedule that counts on one, then
        return {"optimizer": optimizer, "lr_scheduler": self._make_scheduler(optimizer, steps)}  # type: ignore[return-value]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["rebuild"], checkpoint["format"] = self._rebuild, FORMAT


class FraudLearner(Learner):
    """Learns to tell frauds; its ``train/loss`` includes the network's penalty.

    Logs, computed once over the whole split, ``val/average_precision``.

    Args:
        network: called as ``network(categorical, numeric)``.
        loss: called as ``loss(logits, label, weight)``.
        make_optimizer, make_scheduler, rebuild: as in :class:`Learner`.
    """

    def __init__(
        self,
        network: nn.Module,
        loss: nn.Module,
        make_optimizer: MakeOptimizer,
        make_scheduler: MakeScheduler | None,
        rebuild: Mapping[str, Any],
    ) -> None:
        super().__init__(network, make_optimizer, make_scheduler, rebuild)
        self.loss = loss
        self._scores: list[Tensor] = []
        self._labels: list[Tensor] = []

    def training_loss(self, batch: Batch) -> Tensor:
        output = self.network(batch.categorical, batch.numeric)
        loss: Tensor = self.loss(output.logits, batch.label, batch.weight) + output.penalty
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._scores.append(fraud_probability(self.network(batch.categorical, batch.numeric).logits))
        self._labels.append(batch.label)

    def on_validation_epoch_end(self) -> None:
        score, label = torch.cat(self._scores), torch.cat(self._labels)
        self._scores, self._labels = [], []
        if self.trainer.world_size > 1:
            score, label = self._gather(score), self._gather(label)
        if self.trainer.sanity_checking:
            return
        if not torch.isfinite(score).all():
            raise UserError(
                f"{DIVERGED} in epoch {self.trainer.current_epoch + 1}: the network's scores are no longer finite; "
                "lower optimizer.lr or set trainer.gradient_clip_val=1"
            )
        metric = average_precision(label.cpu().numpy(), score.cpu().numpy())
        # Every rank has the same metric; the mean over ranks only tells Lightning so.
        several = self.trainer.world_size > 1
        self.log("val/average_precision", torch.tensor(metric, device=self.device), prog_bar=True, sync_dist=several)

    def _gather(self, part: Tensor) -> Tensor:
        """The parts of all ranks, one after the other; they may differ in length."""
        gathered = self.all_gather(torch.tensor(len(part), device=part.device))
        assert isinstance(gathered, Tensor)
        lengths: list[int] = gathered.tolist()
        padded = part.new_zeros(max(lengths))
        padded[: len(part)] = part
        pieces = self.all_gather(padded)
        return torch.cat([piece[:length] for piece, length in zip(pieces, lengths, strict=True)])
