"""Keeps the best and the last checkpoint of a fit."""

from typing import Any

from lightning.pytorch.callbacks import ModelCheckpoint


class BestCheckpoint(ModelCheckpoint):
    """``best.ckpt`` by validation average precision and ``last.ckpt``, in the folder that the fit sets as ``dirpath``.

    Args:
        every_n_epochs: how often to save.
        save_last: keep ``last.ckpt`` too.
    """

    def __init__(self, every_n_epochs: int = 1, save_last: bool = True, **kwargs: Any) -> None:
        super().__init__(
            filename="best",
            monitor="val/average_precision",
            mode="max",
            every_n_epochs=every_n_epochs,
            save_last=save_last,
            enable_version_counter=False,
            **kwargs,
        )
