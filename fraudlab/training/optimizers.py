"""Optimizers and learning-rate schedules from their settings."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import nn

from fraudlab.config.plumbing import check_plumbing, plumbing

MakeOptimizer = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
MakeScheduler = Callable[[torch.optim.Optimizer, int], dict[str, Any]]


def make_optimizer(config: Mapping[str, Any]) -> MakeOptimizer:
    """What makes the optimiser for given parameters; its settings are checked now."""
    check_plumbing("optimizer", config)
    return lambda parameters: plumbing(config, params=list(parameters))


def make_scheduler(config: Mapping[str, Any] | None) -> MakeScheduler | None:
    """What makes Lightning's scheduler dictionary; None for no schedule.

    Besides the class's own arguments a config has ``interval`` (``step`` or ``epoch``) and ``monitor``; the value
    ``total_steps`` of an argument stands for the number of optimiser steps of the whole fit.
    """
    if config is None:
        return None
    settings = dict(config)
    lightning = {"interval": settings.pop("interval"), "monitor": settings.pop("monitor", None)}
    check_plumbing("scheduler", settings)

    def make(optimizer: Any, total_steps: int) -> dict[str, Any]:
        arguments = {key: total_steps if value == "total_steps" else value for key, value in settings.items()}
        return {"scheduler": plumbing(arguments, optimizer=optimizer), **lightning}

    return make
