"""Reports a trial's curve on validation to the search that started it, and ends the trial where that says so."""

import lightning.pytorch as L

from fraudlab.training.trial import Pruned, should_prune


class TrialReport(L.Callback):
    """After each validation; added by the fit where the process is a trial of ``python -m fraudlab.sweep``.

    Args:
        monitor: the logged metric that is reported.
    """

    def __init__(self, monitor: str = "val/average_precision") -> None:
        self.monitor = monitor

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.sanity_checking or self.monitor not in trainer.callback_metrics:
            return
        prune = False
        if trainer.is_global_zero:
            prune = should_prune(trainer.current_epoch + 1, float(trainer.callback_metrics[self.monitor]))
        if trainer.strategy.broadcast(prune):  # every rank leaves at the same epoch
            raise Pruned
