"""Optimizers and learning-rate schedules from their settings."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from fraudlab.config import FitConfig
from fraudlab.config.checks import one_of
from fraudlab.config.plumbing import check_plumbing, plumbing
from fraudlab.errors import UserError

MakeOptimizer = Callable[[nn.Module], torch.optim.Optimizer]
MakeScheduler = Callable[[torch.optim.Optimizer, int], dict[str, Any]]


log = logging.getLogger(__name__)


def optimizer_settings(config: FitConfig) -> dict[str, Any]:
    """The settings of the optimiser, unfused where gradients of mixed precision are clipped: Lightning refuses both."""
    settings = dict(config.optimizer)
    mixed = "mixed" in str(config.trainer.get("precision"))
    if settings.get("fused") and mixed and config.trainer.get("gradient_clip_val"):
        log.info("optimizer.fused=true is left out: it excludes clipping with trainer.precision=*-mixed")
        settings["fused"] = False
    return settings


def make_optimizer(config: Mapping[str, Any]) -> MakeOptimizer:
    """What makes the optimiser of a network; its settings are checked now.

    Besides the class's own arguments a config has ``decay``: what weight decay acts on, ``all`` parameters (as without
    it), ``weights`` or ``matrices``, see :func:`parameter_groups`.
    """
    settings = dict(config)
    decay = settings.pop("decay", "all")
    one_of("optimizer.decay", decay, ("all", "weights", "matrices"))
    check_plumbing("optimizer", settings)
    return lambda network: plumbing(
        settings,
        params=list(network.parameters()) if decay == "all" else parameter_groups(network, decay == "weights"),
    )


def parameter_groups(network: nn.Module, decayed_embeddings: bool = False) -> list[dict[str, Any]]:
    """The parameters of a network by kind: hidden matrices, other weights, and the rest without weight decay.

    Weights are parameters called ``weight`` with two dimensions or more. Those with ``embedding`` in their name are
    embeddings, the others matrices. Hidden are matrices of two dimensions that neither take nor give two numbers or
    fewer, as a head does; their group says ``hidden: True``. The rest is norms, biases and scales.

    Args:
        network: whose parameters.
        decayed_embeddings: whether embeddings are among the other weights; else they are of the rest.
    """
    hidden, weights, rest = [], [], []
    for name, parameter in network.named_parameters():
        embedding = "embedding" in name
        if name.rpartition(".")[2] != "weight" or parameter.ndim < 2 or (embedding and not decayed_embeddings):
            rest.append(parameter)
        elif not embedding and parameter.ndim == 2 and min(parameter.shape) > 2:
            hidden.append(parameter)
        else:
            weights.append(parameter)
    kinds = (
        {"params": hidden, "hidden": True},
        {"params": weights, "hidden": False},
        {"params": rest, "hidden": False, "weight_decay": 0.0},
    )
    return [kind for kind in kinds if kind["params"]]


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
        total_steps = max(total_steps, 2)  # of a single step, one cycle would be its end: a rate of nearly 0
        arguments = {key: total_steps if value == "total_steps" else value for key, value in settings.items()}
        try:
            return {"scheduler": plumbing(arguments, optimizer=optimizer), **lightning}
        except UserError as error:
            raise UserError(
                f"{error}; the schedule does not suit a fit of {total_steps} steps: change scheduler.*, "
                "trainer.max_epochs or batch_size, or use scheduler=constant"
            ) from error

    return make
