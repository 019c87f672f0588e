"""Lightning's loop over the batches of an epoch, with less around each step."""

from typing import Any

import lightning.pytorch as L
import torch
from lightning.pytorch.loops.fetchers import _DataFetcher
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop
from lightning.pytorch.plugins.precision import Precision
from lightning.pytorch.profilers import PassThroughProfiler
from lightning.pytorch.strategies import SingleDeviceStrategy
from lightning.pytorch.trainer import call
from torch import Tensor

_INSIDE_A_STEP = ("on_before_zero_grad", "on_before_backward", "on_after_backward", "on_before_optimizer_step")


class LeanLoop(_TrainingEpochLoop):
    """Takes Lightning's steps without the hooks inside them where no callback has one: the same numbers.

    Hooks, their profiling and what only accumulation, mixed precision and several processes need take up to a fifth of
    a small network's step. Progress, and so a checkpoint, is the same. Expects a
    :class:`fraudlab.training.learner.Learner` and batches on its device. Where the trainer is set to anything else,
    an epoch is Lightning's own.
    """

    _lean = False

    def on_run_start(self, data_fetcher: _DataFetcher) -> None:
        super().on_run_start(data_fetcher)
        self._lean = nothing_inside_a_step(self.trainer)

    def advance(self, data_fetcher: _DataFetcher) -> None:
        if self.restarting or not self._lean:
            super().advance(data_fetcher)
            return
        self.val_loop.restarting = False
        trainer, progress = self.trainer, self.batch_progress
        batch, _, _ = next(data_fetcher)
        number = self.batch_idx + 1
        progress.is_last_batch = data_fetcher.done
        progress.increment_ready()
        trainer._logger_connector.on_batch_start(batch)
        call._call_callback_hooks(trainer, "on_train_batch_start", batch, number)
        progress.increment_started()
        loss = self._step(batch, number)
        progress.increment_processed()
        self.update_lr_schedulers("step", update_plateau_schedulers=False)
        if self._num_ready_batches_reached():
            self.update_lr_schedulers("epoch", update_plateau_schedulers=False)
        call._call_callback_hooks(trainer, "on_train_batch_end", {"loss": loss.detach()}, batch, number)
        trainer._logger_connector.on_batch_end()
        progress.increment_completed()
        trainer._logger_connector.update_train_step_metrics()

    def _step(self, batch: object, number: int) -> Tensor:
        trainer, learner = self.trainer, self.trainer.lightning_module
        (optimizer,) = trainer.optimizers
        progress = self.automatic_optimization.optim_progress.optimizer
        loss = torch.empty(0)

        def closure() -> Tensor:  # which some optimisers call more than once
            nonlocal loss
            loss = learner.training_step(batch, number)
            progress.zero_grad.increment_ready()
            progress.zero_grad.increment_started()
            optimizer.zero_grad()
            progress.zero_grad.increment_completed()
            loss.backward()
            learner.clip_gradients(optimizer, trainer.gradient_clip_val, trainer.gradient_clip_algorithm)
            return loss

        progress.step.increment_ready()
        optimizer.step(closure)  # type: ignore[arg-type]
        progress.step.increment_completed()
        return loss


def nothing_inside_a_step(trainer: Any) -> bool:
    """Whether nothing but the learner, its optimiser and the clipping takes part in a step of ``trainer``."""
    return (
        type(trainer.strategy) is SingleDeviceStrategy
        and type(trainer.precision_plugin) is Precision
        and type(trainer.profiler) is PassThroughProfiler
        and trainer.accumulate_grad_batches == 1
        and len(trainer.optimizers) == 1
        and not any(
            getattr(type(callback), hook) is not getattr(L.Callback, hook)
            for callback in trainer.callbacks
            for hook in _INSIDE_A_STEP
        )
    )
