"""Settings that contradict each other or the machine are refused before work starts."""

import torch

from fraudlab.config import FitConfig, TabNetConfig, TrainConfig
from fraudlab.config.plumbing import check_plumbing
from fraudlab.errors import UserError


def check_settings(config: FitConfig) -> None:
    """Check every plumbing setting before any work starts.

    Raises:
        UserError: one does not exist, or asks for a device that is not there.
    """
    for group in ("optimizer", "scheduler", "trainer", "callbacks", "logger"):
        settings = getattr(config, group)
        if group == "scheduler" and settings:
            settings = {key: value for key, value in settings.items() if key not in ("interval", "monitor")}
        check_plumbing(group, settings)
    refit = isinstance(config, TrainConfig) and config.refit and config.test and config.split.name == "time_windows"
    if refit and (config.scheduler or {}).get("monitor"):
        raise UserError(
            f"scheduler.monitor={config.scheduler['monitor']} needs a validation, which the second fit of "
            "split=time_windows has not; use refit=false, test=false or another scheduler"
        )
    accelerator = config.trainer["accelerator"]
    if accelerator in ("gpu", "cuda") and not torch.cuda.is_available():
        raise UserError(f"trainer.accelerator={accelerator}: no CUDA device is there; use trainer=auto or trainer=cpu")
    if accelerator == "mps" and not torch.backends.mps.is_available():
        raise UserError("trainer.accelerator=mps: no Apple GPU is there; use trainer=auto or trainer=cpu")
    precision = config.trainer["precision"]
    if precision in ("16-true", "bf16-true") and isinstance(config.model, TabNetConfig):
        mixed = precision.replace("true", "mixed")
        raise UserError(
            f"trainer.precision={precision}: TabNet's masks and statistics need single precision; "
            f"use trainer.precision={mixed}"
        )
    if config.trainer["strategy"] == "ddp_shared_memory":
        raise UserError("trainer.strategy=ddp_shared_memory was removed; use trainer.strategy=ddp")
