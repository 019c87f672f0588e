"""Formats of a run folder: what earlier versions wrote, in the settings of this one.

``config.yaml`` and each checkpoint hold the number of their format; those without one are of format 1.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fraudlab.config.commands import LABEL_DELAY_DAYS
from fraudlab.config.model import OPTIONS, NumericEmbeddingConfig
from fraudlab.config.plumbing import moved_targets
from fraudlab.errors import UserError
from fraudlab.features import handbook

Settings = dict[str, Any]
Upgrade = Callable[[Settings], Settings]


def _from_1(settings: Settings) -> Settings:
    """Callbacks stood in fraudlab.callbacks; a strategy of fraudlab's own took the same steps as ddp."""
    found: Settings = moved_targets(settings)
    trainer = found.get("trainer") or {}
    if trainer.get("strategy") == "ddp_shared_memory":
        trainer["strategy"] = "ddp"
    return found


def _from_2(settings: Settings) -> Settings:
    """Features and split had a label delay each; a split of another kind than time_windows had none."""
    if "split" not in settings:
        return settings
    split, features = dict(settings["split"]), dict(settings.get("features", {}))
    of_features = features.pop("delay_days", None)
    any_delay = LABEL_DELAY_DAYS if of_features is None else of_features
    of_split = split.pop("delay_days", any_delay if split["name"] == "random" else 0)
    if of_features not in (None, of_split):
        raise UserError(
            f"this run has a label delay of {of_features} days in its features and {of_split} in its split, which the "
            "single setting label_delay_days cannot express; train again, or use the fraudlab that wrote the run"
        )
    groups = {"split": split, **({"features": features} if "features" in settings else {})}
    return {**settings, **groups, "label_delay_days": of_split}


def _from_3(settings: Settings) -> Settings:
    """One word of a label meant fraud, and every other was genuine."""
    data = settings.get("data")
    if isinstance(data, dict) and "fraud_value" in data:
        value = data.pop("fraud_value")
        data["fraud_values"] = [] if value is None else [value]
        data["unlabelled"] = "refuse" if value is None else "genuine"
    return settings


def _from_4(settings: Settings) -> Settings:
    """Only split=time_windows fitted again, on the rows before the test, once validation had chosen the epoch."""
    if "refit" in settings and settings["split"]["name"] != "time_windows":
        return {**settings, "refit": False}
    return settings


def _from_5(settings: Settings) -> Settings:
    """The Handbook's features were a set of their own.

    Two settings came while this format was written, and other defaults later: numbers were not embedded before, and
    AdamW's weight decay acted on all parameters.
    """
    model, optimizer = settings.get("model") or {}, settings.get("optimizer") or {}
    if issubclass(OPTIONS.get(model.get("name", ""), object), NumericEmbeddingConfig):
        settings = {**settings, "model": {"embedding": "none", **model}}
    if optimizer.get("_target_") == "torch.optim.AdamW":
        settings = {**settings, "optimizer": {"decay": "all", **optimizer}}
    if "features" in settings:
        settings = {**settings, "features": handbook.upgraded(settings["features"])}
    return settings


UPGRADES: tuple[Upgrade, ...] = (_from_1, _from_2, _from_3, _from_4, _from_5)
"""One function a version: the first takes settings from format 1 to 2, the next from 2 to 3.

They get the settings of a run, or what a checkpoint rebuilds its network from: there too the network's own settings are
``model``. A group may be absent.
"""
FORMAT = 1 + len(UPGRADES)
"""The one that is written; every one up to it is read."""


LAST_WITH_OTHER_TABLES = 3
"""The last format whose data fingerprint of a user's own table rests on settings and a reading that are no more."""


def upgraded(settings: Settings, written: Any, where: Path) -> Settings:
    """``settings``, which the file ``where`` holds in format ``written``, as format :data:`FORMAT` has them.

    Raises:
        UserError: there is no such format, or a later version of fraudlab wrote it.
    """
    if written not in range(1, FORMAT + 1):
        raise UserError(
            f"{where}: run format {written} is not supported (supported: up to {FORMAT}); "
            "install the fraudlab that wrote it"
        )
    for upgrade in UPGRADES[written - 1 :]:
        settings = upgrade(settings)
    return settings
