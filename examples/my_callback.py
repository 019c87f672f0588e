"""A callback of one's own: writes a line after each epoch, ``callbacks=my_callback``."""

from pathlib import Path

import lightning.pytorch as L


class EpochLines(L.Callback):
    """Appends ``epoch,value`` to ``epochs.csv`` in the run folder."""

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Called by Lightning."""
        metric = float(trainer.callback_metrics["val/average_precision"])
        with (Path(trainer.default_root_dir) / "epochs.csv").open("a", encoding="utf-8") as file:
            file.write(f"{trainer.current_epoch},{metric}\n")
