"""Keeps ``last.ckpt``, from which a killed fit goes on as if nothing had happened."""

import math
import signal
import sys
import threading
import time
from types import FrameType
from typing import Any

import lightning.pytorch as L
import torch
from lightning.pytorch.callbacks import Checkpoint

from fraudlab.training.checkpoints import KEEP_PREVIOUS, LAST
from fraudlab.training.random_state import random_state, set_random_state

STATE = "resume"  # key of the checkpoint


class LastCheckpoint(Checkpoint):
    """Saves everything that a fit needs to go on bit for bit, now and then, on SIGTERM and on Ctrl-C.

    Saved are, beside what Lightning saves of network, optimiser, schedule and callbacks, each rank's random generators
    and partial sums, and which batch comes next. A save comes after an optimiser step that neither ends its epoch nor
    is followed by a validation: at any other moment Lightning cannot take up a fit exactly. So an epoch of one step has
    no place for it, and such a fit starts from its beginning again.

    On SIGTERM or Ctrl-C the fit saves at the next such place and ends, or ends after the epoch without a save where
    epochs have none; ``stopped`` is True then, and ``signal`` the signal. A second Ctrl-C ends it at once. The fit sets
    ``dirpath``.

    Args:
        every_n_minutes: how often to save by the clock; None for not at all.
        every_n_steps: how often to save by optimiser steps, too; None for not at all.
    """

    def __init__(self, every_n_minutes: float | None = 1.0, every_n_steps: int | None = None) -> None:
        every_n_minutes = math.inf if every_n_minutes is None else every_n_minutes
        if every_n_minutes < 0 or (every_n_steps is not None and every_n_steps < 1):
            raise ValueError(f"every_n_minutes={every_n_minutes} must be 0 or more, every_n_steps={every_n_steps} 1")
        self.every_n_minutes = every_n_minutes
        self.every_n_steps = every_n_steps
        self.dirpath = "."
        self.stopped = False
        self.signal: signal.Signals | None = None
        self._before: Any = None  # how the process takes Ctrl-C outside of a fit
        self._saving = False
        self._state: dict[str, Any] | None = None  # of the checkpoint that the fit goes on from
        self._earlier_seconds = 0.0
        self._started = time.monotonic()
        self._saved = time.monotonic()
        self._saved_step = 0
        self._asked = time.monotonic()
        self._places_until_asked = 0
        self._places_asked = 0

    @property
    def seconds(self) -> float:
        """Seconds of this fit so far, those before a kill included as far as they were saved."""
        return self._earlier_seconds + time.monotonic() - self._started

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        self._started = time.monotonic()

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        self._state = checkpoint[STATE]
        self._earlier_seconds = self._state["seconds"]

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        # In place of Lightning's, which talks to the other ranks from inside the handler; it puts back what was before.
        self.signal = signal.SIGTERM if trainer.received_sigterm else None
        if threading.current_thread() is threading.main_thread():  # no other may set handlers
            signal.signal(signal.SIGTERM, self._on_signal)
            if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as a shell starts what shall not be interrupted
                self._before = signal.signal(signal.SIGINT, self._on_signal)
        # With that handler goes what Lightning's ranks tell of it at every step, which costs as much as a small step.
        trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None  # type: ignore[method-assign]
        self._saved = self._asked = time.monotonic()
        self._saved_step = trainer.global_step
        if self._state is not None:
            self._go_on(trainer, pl_module, self._state)
            self._state = None

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if any(_is_place(trainer, batches) for batches in range(1, int(trainer.num_training_batches))):
            return
        _, self.stopped = self._by_clock_and_signal(trainer)
        if self.stopped:
            raise SystemExit

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if not _is_place(trainer, batch_idx + 1):
            return
        due, stop = self._by_clock_and_signal(trainer)
        if self.every_n_steps is not None:
            due |= trainer.global_step - self._saved_step >= self.every_n_steps
        if due or stop:
            self._save(trainer)
        if stop:
            self.stopped = True
            raise SystemExit

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._places_until_asked = 0
        _, self.stopped = self._by_clock_and_signal(trainer)

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        self._restore()

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        if not self._saving:
            return
        mine = {
            "random": random_state(pl_module.device),
            "loss_sum": pl_module.loss_sum,
            "loss_batches": pl_module.loss_batches,
        }
        ranks: list[Any] = [mine]
        if trainer.world_size > 1:
            ranks = [None] * trainer.world_size
            torch.distributed.all_gather_object(ranks, mine)
        batches: Any = trainer.train_dataloader
        checkpoint[STATE] = {
            "seconds": self.seconds,
            "batches": batches.state_dict(),
            "metrics": dict(trainer.callback_metrics),
            "ranks": ranks,
        }

    def _go_on(self, trainer: L.Trainer, pl_module: L.LightningModule, state: dict[str, Any]) -> None:
        # The end of a resumed epoch is an end like any other: Lightning would leave out a plateau schedule's step.
        trainer.fit_loop._restarting = False
        batches: Any = trainer.train_dataloader
        batches.load_state_dict(state["batches"])
        trainer.callback_metrics.update(state["metrics"])  # a plateau schedule may look at them before a validation
        if trainer.global_rank < len(state["ranks"]):
            mine = state["ranks"][trainer.global_rank]
            set_random_state(mine["random"], pl_module.device)
            if mine["loss_sum"] is not None:
                pl_module.loss_sum = mine["loss_sum"].to(pl_module.device)
                pl_module.loss_batches = mine["loss_batches"]

    def _save(self, trainer: L.Trainer) -> None:
        for logger in trainer.loggers:
            logger.save()  # curves up to here must not be lost either
        self._saving = True
        trainer.save_checkpoint(f"{self.dirpath}/{LAST}", storage_options=KEEP_PREVIOUS)
        self._saving = False
        self._saved = time.monotonic()
        self._saved_step = trainer.global_step

    def _by_clock_and_signal(self, trainer: L.Trainer) -> tuple[bool, bool]:
        """Whether the clock asks for a save, and whether a signal asks for an end; all ranks get the same answers."""
        now = time.monotonic()
        due = now - self._saved >= self.every_n_minutes * 60
        if trainer.world_size == 1:
            return due, self.signal is not None
        # Ranks ask each other once in half a second, after a number of steps that all of them know.
        self._places_until_asked -= 1
        self._places_asked += 1
        if self._places_until_asked > 0:
            return False, False
        places = self._places_asked * 0.5 / max(now - self._asked, 1e-3)
        answers = torch.tensor([due, self.signal is not None, min(places, 1000)], dtype=torch.float32)
        answers = answers.to(trainer.strategy.root_device)
        torch.distributed.all_reduce(answers, op=torch.distributed.ReduceOp.MAX)
        self._asked, self._places_asked = now, 0
        self._places_until_asked = int(answers[2])
        return bool(answers[0]), bool(answers[1])

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.signal = signal.Signals(number)
        if number == signal.SIGINT:
            self._restore()
            print("\nstopping at the next step that can be saved; Ctrl-C again ends at once", file=sys.stderr)

    def _restore(self) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
            self._before = None


def _is_place(trainer: L.Trainer, batches: int) -> bool:
    """Whether a fit can be taken up exactly after so many batches of an epoch."""
    return (
        batches % trainer.accumulate_grad_batches == 0
        and batches < trainer.num_training_batches
        and batches % (trainer.val_check_batch or math.inf) != 0
    )
