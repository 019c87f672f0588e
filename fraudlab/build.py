"""From settings to objects: product by name, plumbing through one guarded ``instantiate``."""

import difflib
import importlib
import inspect
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fraudlab.config import SCHEMAS
from fraudlab.errors import UserError

if TYPE_CHECKING:  # heavy, or only for types
    from torch import nn

    from fraudlab.baselines.contract import Baseline
    from fraudlab.data.sources import Source
    from fraudlab.learner import MakeOptimizer, MakeScheduler

# Plumbing may come from here and nowhere else, whatever a config says.
ALLOWED_TARGETS = (
    "lightning.pytorch.",
    "torch.optim.",
    "torch.profiler.",
    "fraudlab.callbacks.",
)


def source(config: Any, cache_dir: Path) -> "Source":
    """The raw table that ``data=<name>`` stands for, from its module ``fraudlab.data.sources.<name>``."""
    module = importlib.import_module(f"fraudlab.data.sources.{config.name}")
    made: Source = module.load(config, cache_dir)
    return made


def network(rebuild: Mapping[str, Any]) -> "nn.Module":
    """A freshly initialised network from plain data.

    Args:
        rebuild: ``{"model": {"name": ..., settings}, "cardinalities": [...], "num_numeric": N}``.

    Raises:
        UserError: there is no such model.
    """
    settings = dict(rebuild["model"])
    name, members = settings.pop("name"), settings.pop("members", 1)
    for key in ("pretrained", "compile"):  # how a network was trained is no part of it
        settings.pop(key, None)
    if name not in SCHEMAS["model"]:
        raise UserError(f"model={name} does not exist; it is one of: {', '.join(SCHEMAS['model'])}")
    module = importlib.import_module(f"fraudlab.models.{name}")

    def make() -> "nn.Module":
        made: nn.Module = module.make_network(rebuild["cardinalities"], rebuild["num_numeric"], **settings)
        return made

    if members == 1:
        return make()
    from fraudlab.models.ensemble import Ensemble

    return Ensemble(make, members)


def baseline(name: str) -> "type[Baseline]":
    """The class of ``model=<name>`` where that is no network, from its module ``fraudlab.baselines.<name>``.

    Raises:
        UserError: its library is not installed.
    """
    try:
        made: type[Baseline] = importlib.import_module(f"fraudlab.baselines.{name}").Model
    except ModuleNotFoundError as error:
        raise UserError(f"model={name} needs the package {error.name}; pip install 'fraudlab[gbdt]'") from error
    return made


def loss(config: Any) -> "nn.Module":
    """The loss that ``loss=<name>`` stands for."""
    from fraudlab import losses

    settings = asdict(config)
    made: nn.Module = {"cross_entropy": losses.CrossEntropy, "focal": losses.Focal}[settings.pop("name")](**settings)
    return made


def optimizer(config: Mapping[str, Any]) -> "MakeOptimizer":
    """What makes the optimiser for given parameters; its settings are checked now."""
    check_plumbing("optimizer", config)
    return lambda parameters: plumbing(config, params=list(parameters))


def scheduler(config: Mapping[str, Any] | None) -> "MakeScheduler | None":
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


def check_plumbing(where: str, config: Any) -> None:
    """Check, without building anything, that every ``_target_`` is allowed and takes the keys it is given.

    Raises:
        UserError: a target outside :data:`ALLOWED_TARGETS` or not found, or an argument that does not exist.
    """
    if not isinstance(config, Mapping):
        return
    for key, value in config.items():
        check_plumbing(f"{where}.{key}", value)
    if "_target_" not in config:
        return
    name = config["_target_"]
    if not name.startswith(ALLOWED_TARGETS):
        raise UserError(f"{where}._target_={name} is not allowed; it must start with: {', '.join(ALLOWED_TARGETS)}")
    module, _, attribute = name.rpartition(".")
    try:
        parameters = inspect.signature(getattr(importlib.import_module(module), attribute)).parameters
    except (ImportError, AttributeError) as error:
        raise UserError(f"{where}._target_={name} cannot be imported: {error}") from error
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    for key in config:
        if not key.startswith("_") and key not in parameters:
            near = difflib.get_close_matches(key, parameters, n=3, cutoff=0.5)
            hint = f" Did you mean {' or '.join(f'{where}.{k}' for k in near)}?" if near else ""
            raise UserError(f"{where}.{key} is no argument of {name}.{hint}")


def plumbing(config: Mapping[str, Any], **objects: Any) -> Any:
    """Build a third-party object from a config that :func:`check_plumbing` passed, with ``objects`` added.

    Raises:
        UserError: the class refuses its arguments.
    """
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate
    from lightning.fabric.utilities.exceptions import MisconfigurationException

    try:
        # Through a partial, so that Hydra does not turn the objects into config nodes.
        return instantiate({**config, "_partial_": True, "_convert_": "all"})(**objects)
    except (InstantiationException, MisconfigurationException, TypeError, ValueError) as error:
        raise UserError(f"{config['_target_']}: {error}") from error
