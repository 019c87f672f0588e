"""How far a fit is: a bar on a terminal, a line an epoch in a file."""

import logging
import sys
from typing import Any

import lightning.pytorch as L
from lightning.pytorch.callbacks import TQDMProgressBar

log = logging.getLogger(__name__)


class Progress(TQDMProgressBar):
    """Lightning's bar, without the log folder's name among the metrics.

    Where the output is no terminal, a bar would be written again and again: the metrics are logged after each epoch
    instead, one line for all.

    Args:
        refresh_rate: batches between two updates of the bar.
    """

    def __init__(self, refresh_rate: int = 1) -> None:
        super().__init__(refresh_rate)
        self._lines = False

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        if self.is_enabled and not sys.stdout.isatty():
            self._lines = True
            self.disable()

    def get_metrics(self, trainer: L.Trainer, pl_module: L.LightningModule) -> dict[str, Any]:
        return {name: value for name, value in super().get_metrics(trainer, pl_module).items() if name != "v_num"}

    # Not at an epoch's end: callbacks are called there before the module has logged the epoch's loss.
    def on_train_epoch_start(self, trainer: L.Trainer, *args: Any) -> None:
        super().on_train_epoch_start(trainer, *args)
        self._log_epoch(trainer)

    def on_train_end(self, trainer: L.Trainer, *args: Any) -> None:
        super().on_train_end(trainer, *args)
        self._log_epoch(trainer)

    def _log_epoch(self, trainer: L.Trainer) -> None:
        metrics = self.get_metrics(trainer, trainer.lightning_module)
        if self._lines and metrics:
            said = "  ".join(f"{name} {float(value):.4g}" for name, value in metrics.items())
            log.info("epoch %d of %d: %s", trainer.current_epoch, trainer.max_epochs, said)
