"""The settings of a trial as ``python -m fraudlab.train`` would compose them: checked before any trial starts."""

import logging
from collections.abc import Sequence
from typing import Any

import hydra
import yaml
from omegaconf import DictConfig, OmegaConf

from fraudlab import config
from fraudlab.config import TrainConfig
from fraudlab.config.composition import REFUSALS, config_dir, explain, without_hydra
from fraudlab.errors import UserError
from fraudlab.tuning.definition import Definition
from fraudlab.tuning.space import Setting

log = logging.getLogger(__name__)

_GROUPS = ("data", "features", "split", "model", "loss", "optimizer", "scheduler", "trainer", "callbacks")
_OF_THE_RUN = ("paths", "test", "report", "logger", "resume")  # what an experiment leaves to the command


def compose(overrides: Sequence[str]) -> DictConfig:
    """Train's settings, with Hydra's own beside them; inside a command, so with its ``--config-dir`` too.

    Raises:
        UserError: a setting does not exist or cannot have its value; the nearest key is named.
    """
    given = [*overrides, "paths.output_dir=."]
    try:
        return hydra.compose("train", given, return_hydra_config=True)
    except REFUSALS as error:
        raise UserError(explain(error, "train", overrides, config_dir())) from error


def typed(composed: DictConfig, overrides: Sequence[str]) -> TrainConfig:
    """The typed settings of what :func:`compose` gave for ``overrides``.

    Raises:
        UserError: a value is of the wrong type or out of range.
    """
    settings: TrainConfig = config.typed_settings("train", composed, overrides, config_dir())
    return settings


def check(definition: Definition) -> TrainConfig:
    """Compose every bound and every choice of the space once; gives the settings that the fixed ones make.

    Warns where finalists are fitted with the seed that they were chosen with.

    Raises:
        UserError: a setting of the search does not exist, or cannot have a value that the search would give it.
    """
    fixed = definition.overrides({})
    base = compose(fixed)
    for setting in definition.space:
        _check_type(setting, base)
    for point in [*definition.space.corners(), *definition.start]:
        overrides = definition.overrides(point)
        try:
            typed(compose(overrides), overrides)
        except UserError as error:
            raise UserError(f"the search cannot try {' '.join(overrides[len(fixed) :])}:\n{error}") from error
    settings = typed(base, fixed)
    if definition.finalists and settings.seed in definition.seeds:
        log.warning(
            "seeds=%s include the search's own, %d: trials chosen by luck with it are favoured again; leave it "
            "out, or give the search another (fixed: [seed=%d])",
            list(definition.seeds),
            settings.seed,
            max(definition.seeds) + 1,
        )
    return settings


def _check_type(setting: Setting, base: DictConfig) -> None:
    """Third-party settings have no declared types: a number stays a number there, a word a word."""
    now = OmegaConf.select(base, setting.key, default=None)
    if isinstance(now, bool) or now in (None, "auto") or setting.key in _GROUPS:
        return
    for value in setting.corners():
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if value is not None and isinstance(now, (int, float)) and not number:
            raise UserError(f"space.{setting.key} gives {value!r} instead of a number such as {now}")
        if isinstance(now, int) and isinstance(value, float) and not value.is_integer():
            raise UserError(f"space.{setting.key} gives {value} instead of a whole number such as {now}; use int:")
        if isinstance(now, str) and number:
            raise UserError(f"space.{setting.key} gives {value} instead of a word such as {now}")


def experiment(overrides: Sequence[str], tried: str) -> str:
    """A file for ``conf/experiment/`` that composes to the settings of ``overrides``, whatever recipe they came from.

    ``tried`` says how they were chosen; it goes into the folder of every run of the experiment.
    """
    composed = compose(overrides)
    choices = composed.hydra.runtime.choices
    settings: Any = OmegaConf.to_container(without_hydra(composed))  # max_lr goes on following lr
    chosen = [{f"override /{group}": choices[group]} for group in _GROUPS if choices.get(group)]
    values = {key: value for key, value in settings.items() if key not in _OF_THE_RUN}
    for group in ("data", "features", "split", "model", "loss"):
        values[group] = {key: value for key, value in values[group].items() if key != "name"}
    body: dict[str, Any] = {"defaults": [*chosen, "_self_"], **values, "tried": tried}
    return f"# @package _global_\n{yaml.safe_dump(body, sort_keys=False)}"
