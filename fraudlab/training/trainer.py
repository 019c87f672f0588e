"""Lightning's trainer of one fit."""

import copy
import logging
import warnings
from collections.abc import Callable
from functools import wraps
from pathlib import Path

import lightning.pytorch as L
import torch
from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem
from lightning.fabric.utilities import cloud_io
from lightning.pytorch.callbacks import Checkpoint, EarlyStopping, ModelCheckpoint, ProgressBar

from fraudlab.config import FitConfig
from fraudlab.config.plumbing import plumbing
from fraudlab.features.threads import cores, default_threads
from fraudlab.training.callbacks import BestCheckpoint, LastCheckpoint, StopAfter, TrialReport
from fraudlab.training.checkpoints import CheckpointFiles
from fraudlab.training.checks import over_whole_fit
from fraudlab.training.loggers import loggers
from fraudlab.training.trial import is_trial


def make_trainer(
    config: FitConfig, folder: Path, before: Path | None, *, with_validation: bool, stop_after: int | None
) -> L.Trainer:
    """The trainer of a fit, which goes on from the checkpoint ``before`` if that is not None."""
    callbacks: list[L.Callback] = [plumbing(c) for c in (config.callbacks or {}).values() if c]
    for callback in callbacks:
        if isinstance(callback, (ModelCheckpoint, LastCheckpoint)):
            callback.dirpath = str(folder / "checkpoints")
        if isinstance(callback, BestCheckpoint) and not over_whole_fit(config):
            callback.after = 0.0
    if not with_validation:
        callbacks = [c for c in callbacks if not isinstance(c, (ModelCheckpoint, EarlyStopping))]
    if not config.trainer["enable_progress_bar"]:
        callbacks = [c for c in callbacks if not isinstance(c, ProgressBar)]
    settings = copy.deepcopy(config.trainer)
    if stop_after is not None:
        callbacks.append(StopAfter(stop_after))
        settings |= {"min_epochs": None, "min_steps": None}  # they would let it go on beyond the epoch that was chosen
    if with_validation and is_trial():
        callbacks.append(TrialReport())
    if not with_validation:
        settings["limit_val_batches"] = 0
    trainer: L.Trainer = plumbing(
        settings,
        callbacks=callbacks,
        # Only the fit that is watched on validation writes curves: two fits in one log would overwrite each other.
        logger=(loggers(config.logger, before) if with_validation else []) or False,
        default_root_dir=folder,
        enable_checkpointing=any(isinstance(c, Checkpoint) for c in callbacks),
        plugins=[CheckpointFiles()],
    )
    _share_cores(trainer.num_devices)
    return trainer


def use_threads(threads: int) -> None:
    """Let PyTorch compute on so many threads; 0 takes :func:`fraudlab.features.threads.default_threads`."""
    torch.set_num_threads(threads or default_threads())


def _share_cores(processes: int) -> None:
    """Let this process compute on its part of the machine's cores and no more."""
    if processes > 1:
        torch.set_num_threads(max(1, min(torch.get_num_threads(), cores() // processes)))


def local_files_alone() -> None:
    """Let Lightning ask whether a folder lies in a cloud only where it is not on this machine's disk.

    It would import every cloud's package that is installed for each folder, which takes as long as a small fit.
    """
    if not hasattr(cloud_io._is_object_storage, "__wrapped__"):
        cloud_io._is_object_storage = _unless_local(cloud_io._is_object_storage)  # type: ignore[assignment]


def _unless_local(asked: Callable[[AbstractFileSystem], bool]) -> Callable[[AbstractFileSystem], bool]:
    @wraps(asked)
    def is_object_storage(files: AbstractFileSystem) -> bool:
        return not isinstance(files, LocalFileSystem) and asked(files)

    return is_object_storage


def quiet_lightning() -> None:
    """Leave out what Lightning says about itself, and what it imports: notes on devices, tips, deprecations inside."""
    for name in ("lightning.pytorch", "lightning.fabric", "gcsfs"):  # gcsfs: for checkpoints at gs:// addresses
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*treespec.*deprecated")
    warnings.filterwarnings("ignore", message=".*all_gather is deprecated")
    warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")  # a resumed run
