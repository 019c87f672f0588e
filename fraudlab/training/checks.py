"""Settings that contradict each other or the machine are refused before work starts."""

import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from fraudlab.config import FitConfig, PretrainConfig, TrainConfig
from fraudlab.config.overrides import key_of
from fraudlab.config.plumbing import check_plumbing
from fraudlab.data.splits.registry import SPLITS
from fraudlab.errors import UserError
from fraudlab.models.contract import ModelPart
from fraudlab.models.registry import MODELS, models_that
from fraudlab.training.losses.registry import LOSSES

log = logging.getLogger(__name__)

FEW_STEPS = 50
"""A fit of fewer optimiser steps is warned of: its network has hardly moved from where it started."""
LOGGED = {
    "train": {"val/average_precision": "max", "train/loss": "min"},
    "pretrain": {"val/reconstruction_loss": "min", "train/loss": "min"},
}
"""What each command's fit logs, and whether the largest or the smallest value is best."""


def check_settings(config: FitConfig, given: Sequence[str] = ()) -> None:
    """Check the settings that one dataclass alone cannot check, before any work starts.

    Args:
        config: of the run.
        given: what the command says, ``["trainer.max_epochs=3"]``; each that does nothing to the model is warned of.

    Raises:
        UserError: a class or an argument does not exist, a device is not there, or settings contradict each other.
    """
    part = MODELS[config.model.name]
    if isinstance(config, PretrainConfig):
        _check_pretraining(config, part)
    if part.kind == "estimator" and isinstance(config, TrainConfig):
        _check_estimator(config, part, given)
    for group in ("optimizer", "scheduler", "trainer", "callbacks", "logger"):
        settings = getattr(config, group)
        ours = {"optimizer": ("decay",), "scheduler": ("interval", "monitor")}.get(group, ())
        if ours and settings:
            settings = {key: value for key, value in settings.items() if key not in ours}
        check_plumbing(group, settings)
    refit = isinstance(config, TrainConfig) and config.refit and config.test and SPLITS[config.split.name].refits
    if refit and (config.scheduler or {}).get("monitor"):
        raise UserError(
            f"scheduler.monitor={config.scheduler['monitor']} needs a validation, which the second fit of "
            f"split={config.split.name} has not; use refit=false, test=false or another scheduler"
        )
    if part.kind == "estimator":
        return  # what follows is of Lightning's trainer alone
    _check_monitors(config)
    _check_validation(config)
    _check_device(config.trainer.get("accelerator"))
    precision = config.trainer.get("precision")
    if precision in ("16-true", "bf16-true") and part.single_precision:
        mixed = precision.replace("true", "mixed")
        raise UserError(
            f"trainer.precision={precision}: {part.single_precision} need single precision; "
            f"use trainer.precision={mixed}"
        )
    if config.trainer.get("strategy") == "ddp_shared_memory":
        raise UserError("trainer.strategy=ddp_shared_memory was removed; use trainer.strategy=ddp")


def _check_pretraining(config: PretrainConfig, part: ModelPart) -> None:
    if part.pretraining is None:
        able = models_that(lambda part: part.pretraining is not None)
        raise UserError(f"model={config.model.name} cannot be pretrained; use {able}")
    if any(getattr(config.model, key) != value for key, value in part.pretraining.items()):
        needed = " and ".join(
            f"model.{key}={'null' if value is None else value}" for key, value in part.pretraining.items()
        )
        raise UserError(f"pretraining needs {needed}: it starts from nothing")


def _check_estimator(config: TrainConfig, part: ModelPart, given: Sequence[str]) -> None:
    if not LOSSES[config.loss.name].for_estimators:
        able = " or ".join(f"loss={name}" for name in LOSSES if LOSSES[name].for_estimators)
        raise UserError(f"model={config.model.name} learns by {able}, not by loss={config.loss.name}")
    for setting in given:
        key = key_of(setting)
        if key.split(".")[0] in part.unused and key != "trainer.enable_progress_bar":
            log.warning("%s has no effect: model=%s is not trained by Lightning", setting, config.model.name)


def _check_device(accelerator: str | None) -> None:
    if accelerator not in ("gpu", "cuda", "mps"):
        return
    import torch

    if accelerator in ("gpu", "cuda") and not torch.cuda.is_available():
        raise UserError(f"trainer.accelerator={accelerator}: there is no CUDA device; use trainer=auto or trainer=cpu")
    if accelerator == "mps" and not torch.backends.mps.is_available():
        raise UserError("trainer.accelerator=mps: there is no Apple GPU; use trainer=auto or trainer=cpu")


def _check_monitors(config: FitConfig) -> None:
    """What callbacks and the schedule look at is logged, and they take the better of its values for the better."""
    logged = LOGGED["pretrain" if isinstance(config, PretrainConfig) else "train"]
    watching = {f"callbacks.{name}": settings for name, settings in (config.callbacks or {}).items() if settings}
    if config.scheduler:
        watching["scheduler"] = config.scheduler
    for where, settings in watching.items():
        monitor, mode = settings.get("monitor"), settings.get("mode")
        if monitor is None:
            continue
        if monitor not in logged:
            raise UserError(f"{where}.monitor={monitor} is not logged; it is one of: {', '.join(logged)}")
        if monitor == "train/loss" and where != "scheduler":
            raise UserError(f"{where}.monitor=train/loss is not known when a validation ends; use {next(iter(logged))}")
        if mode is not None and mode != logged[monitor]:
            raise UserError(f"{where}.mode={mode} takes the worst {monitor} as the best; use mode={logged[monitor]}")


def _check_validation(config: FitConfig) -> None:
    """The fit is validated, and an epoch that is validated may be saved as the best one."""
    trainer = config.trainer
    if trainer.get("fast_dev_run"):
        raise UserError("trainer.fast_dev_run keeps no checkpoint, so there is nothing to score; use debug=fast")
    for key in ("max_epochs", "max_steps", "limit_val_batches", "limit_train_batches"):
        if trainer.get(key) == 0:
            raise UserError(f"trainer.{key}=0 leaves nothing to train or to choose by; set it to 1 or more")
    epochs = trainer.get("max_epochs")
    if epochs is None or epochs < 0:
        return
    each = {"trainer.check_val_every_n_epoch": trainer.get("check_val_every_n_epoch") or 1}
    for name, settings in (config.callbacks or {}).items():
        if settings and settings.get("every_n_epochs"):
            each[f"callbacks.{name}.every_n_epochs"] = settings["every_n_epochs"]
    if math.lcm(*each.values()) > epochs:
        said = " and ".join(f"{key}={value}" for key, value in each.items() if value > 1)
        raise UserError(
            f"{said}: no epoch of trainer.max_epochs={epochs} would be validated and saved; "
            "lower the one or raise the other"
        )
    for name, settings in (config.callbacks or {}).items():
        after = settings.get("after") if settings and over_whole_fit(config) else None
        if not isinstance(after, int | float) or not 0 < after < 1:
            continue  # the callback refuses what is no share
        saved = math.lcm(each["trainer.check_val_every_n_epoch"], settings.get("every_n_epochs") or 1)
        if epochs // saved * saved <= (first := first_that_counts(after, epochs)):
            raise UserError(
                f"callbacks.{name}.after={after}: no epoch after {first} of trainer.max_epochs={epochs} would be "
                f"validated and saved, with one in {saved}; set trainer.check_val_every_n_epoch=1 or "
                f"callbacks.{name}.after=0"
            )


def first_that_counts(after: float, epochs: int) -> int:
    """The first epoch, from 0, that ``callbacks.checkpoint.after`` lets count."""
    return int(after * epochs)


def over_whole_fit(config: FitConfig) -> bool:
    """Whether the rate follows a schedule over the steps of the whole fit, at whose end it is low."""
    return "total_steps" in (config.scheduler or {}).values()


def check_steps(config: FitConfig, rows: int) -> None:
    """Check the settings of a fit on ``rows`` rows that depend on its number of steps, and warn where that is small.

    Raises:
        UserError: the schedule needs a number of steps, and there is none; or ``trainer.max_steps`` ends the fit
            before its first validation.
    """
    trainer = config.trainer
    assert isinstance(config.batch_size, int)  # settled
    batches = math.ceil(rows / config.batch_size)
    for key in ("limit_train_batches", "overfit_batches"):
        if limit := trainer.get(key):
            batches = limited(batches, limit)
    an_epoch = math.ceil(batches / trainer.get("accumulate_grad_batches", 1))
    epochs, most = trainer.get("max_epochs"), trainer.get("max_steps", -1)
    steps = math.inf if epochs is None or epochs < 0 else epochs * an_epoch
    steps = min(steps, most) if most > 0 else steps
    if math.isinf(steps) and over_whole_fit(config):
        raise UserError(
            f"the schedule counts on the steps of the whole fit, and trainer.max_epochs={epochs} sets no end; "
            "set trainer.max_epochs, trainer.max_steps or scheduler=constant"
        )
    first = an_epoch * (trainer.get("check_val_every_n_epoch") or 1)
    if steps < first and "val_check_interval" not in trainer:
        raise UserError(
            f"trainer.max_steps={most} ends the fit before its first validation, after {first} steps; "
            "raise it, or set +trainer.val_check_interval"
        )
    if steps < FEW_STEPS:
        log.warning(
            "this fit has %d optimiser steps (%d an epoch): too few to learn much; lower batch_size or raise "
            "trainer.max_epochs", steps, an_epoch,
        )  # fmt: skip
    for name, settings in (config.callbacks or {}).items():
        if settings and settings["_target_"].endswith(".EMAWeightAveraging"):
            window = 1 / max(1 - settings.get("decay", 0.999), 1e-9)
            if steps < 10 * window:
                log.warning(
                    "callbacks.%s averages the weights over about %.0f steps, and this fit has %d: the first steps' "
                    "weights would count; set callbacks.%s=null or a smaller decay", name, window, steps, name,
                )  # fmt: skip


def limited(batches: int, limit: float) -> int:
    """How many of ``batches`` a limit of Lightning's leaves, a share (float) or a number (int); one at least."""
    return max(1, int(batches * limit)) if isinstance(limit, float) else min(batches, limit)


@contextmanager
def one_message() -> Iterator[None]:
    """Turn whatever Lightning, torch or a library of trees raises in a fit into one message.

    Raises:
        UserError: with the original text; the original exception is its cause.
    """
    try:
        yield
    except (UserError, OSError):
        raise
    except Exception as error:  # the libraries raise what they like for settings that do not suit
        import torch

        said = str(error).strip() or "without a message"
        hint = "; lower batch_size" if isinstance(error, (torch.OutOfMemoryError, MemoryError)) else ""
        raise UserError(
            f"the fit failed: {type(error).__name__}: {said}{hint}\nHYDRA_FULL_ERROR=1 shows the traceback."
        ) from error
