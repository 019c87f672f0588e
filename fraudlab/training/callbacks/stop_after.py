"""Ends a fit after a number of epochs without shortening its schedule."""

import lightning.pytorch as L


class StopAfter(L.Callback):
    """Stop after ``epochs`` epochs, while schedules still count on ``max_epochs``.

    The final fit stops where the selection fit was best, at the same point of the same schedule.
    """

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.current_epoch + 1 >= self.epochs:
            trainer.should_stop = True
