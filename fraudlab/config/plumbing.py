"""Settings of third-party classes: checked against allowed modules and the classes' signatures, then built."""

import difflib
import importlib
import inspect
import logging
from collections.abc import Mapping
from functools import cache
from typing import Any

from fraudlab.config.plugins import loaded
from fraudlab.errors import UserError

log = logging.getLogger(__name__)

# Plumbing may come from here and nowhere else, whatever a config says.
ALLOWED_TARGETS = (
    "lightning.pytorch.",
    "torch.optim.",
    "torch.profiler.",
    "fraudlab.training.callbacks.",
    "fraudlab.training.muon.",
    "fraudlab.training.schedules.",
)
# Where classes stood that users' YAML and runs may name, and where they stand now.
_MOVED = {"fraudlab.callbacks.": "fraudlab.training.callbacks."}


def moved_targets(config: Any) -> Any:
    """Plain settings in which every ``_target_`` stands where it is now."""
    if isinstance(config, list):
        return [moved_targets(value) for value in config]
    if not isinstance(config, dict):
        return config
    return {key: _moved(value) if key == "_target_" else moved_targets(value) for key, value in config.items()}


def _moved(target: Any) -> Any:
    for old, new in _MOVED.items():
        if isinstance(target, str) and target.startswith(old):
            return new + target.removeprefix(old)
    return target


@cache
def warn_of_moved_targets() -> None:
    """Say, once in a process, that settings name classes by their places of old."""
    for old, new in _MOVED.items():
        log.warning("_target_: %s* has moved: write %s*", old, new)


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
    name = _allowed(where, config)
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

    _check_targets(config)  # also of a run folder's settings, which may name anything
    try:
        # Through a partial, so that Hydra does not turn the objects into config nodes.
        return instantiate({**config, "_partial_": True, "_convert_": "all"})(**objects)
    except (InstantiationException, MisconfigurationException, ArithmeticError, TypeError, ValueError) as error:
        raise UserError(f"{config['_target_']}: {error}") from error


def _check_targets(config: Any) -> None:
    for value in config.values() if isinstance(config, Mapping) else config if isinstance(config, list) else ():
        _check_targets(value)
    if isinstance(config, Mapping) and "_target_" in config:
        _allowed("", config)


def _allowed(where: str, config: Mapping[str, Any]) -> str:
    """The target of a config, which fraudlab or a plugin that the command named has."""
    name: str = config["_target_"]
    allowed = (*ALLOWED_TARGETS, *(f"{plugin}." for plugin in loaded()))
    if not name.startswith(allowed):
        raise UserError(
            f"{where}._target_={name} is not allowed; it must start with: {', '.join(allowed)}. A class of your own "
            f"is a plugin's: plugins=[{name.rpartition('.')[0]}]"
        )
    return name
