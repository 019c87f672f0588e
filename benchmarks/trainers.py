"""The Trainer of ``fraudlab.train`` around what a benchmark measures."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import hydra
import lightning.pytorch as L
import torch

from fraudlab import config
from fraudlab.cli import HYDRA_VERSION_BASE, conf_dir
from fraudlab.training.trainer import make_trainer, quiet_lightning


class Clock(L.Callback):
    """Seconds of each epoch."""

    def __init__(self) -> None:
        self.epochs: list[float] = []

    def on_train_epoch_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self._started = time.perf_counter()

    def on_train_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        if trainer.strategy.root_device.type == "cuda":
            torch.cuda.synchronize()
        self.epochs.append(time.perf_counter() - self._started)


def trainer_of(settings: Mapping[str, Any], folder: Path) -> tuple[L.Trainer, Clock]:
    """The Trainer of a fit with its default settings but for ``settings``, without validation and progress bar, CSV
    log on, and a clock."""
    settings = {
        "logger": "csv",
        "trainer.limit_val_batches": 0,
        "trainer.enable_progress_bar": "false",
        "paths.output_dir": folder,
        **settings,
    }
    config.register()
    with hydra.initialize_config_dir(str(conf_dir()), version_base=HYDRA_VERSION_BASE):
        typed = config.typed("train", hydra.compose("train", [f"{key}={value}" for key, value in settings.items()]))
    typed.callbacks = {"last": (typed.callbacks or {})["last_checkpoint"]}  # others watch a validation: there is none
    quiet_lightning()
    trainer: Any = make_trainer(typed, folder, None, with_validation=True, stop_after=None)  # True: for its logger
    clock = Clock()
    trainer.callbacks.append(clock)
    return trainer, clock
