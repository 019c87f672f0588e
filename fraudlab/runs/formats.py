"""Formats of a run folder: what earlier versions wrote, in the settings of this one.

``config.yaml`` and each checkpoint hold the number of their format; those without one are of format 1.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fraudlab.config.plumbing import moved_targets
from fraudlab.errors import UserError

Settings = dict[str, Any]
Upgrade = Callable[[Settings], Settings]


def _from_1(settings: Settings) -> Settings:
    """Callbacks stood in fraudlab.callbacks; a strategy of fraudlab's own took the same steps as ddp."""
    found: Settings = moved_targets(settings)
    trainer = found.get("trainer") or {}
    if trainer.get("strategy") == "ddp_shared_memory":
        trainer["strategy"] = "ddp"
    return found


UPGRADES: tuple[Upgrade, ...] = (_from_1,)
"""One function a version: the first takes settings from format 1 to 2, the next from 2 to 3.

They get the settings of a run, or what a checkpoint rebuilds its network from: there too the network's own settings are
``model``. A group may be absent.
"""
FORMAT = 1 + len(UPGRADES)
"""The one that is written; every one up to it is read."""


def upgraded(settings: Settings, written: Any, where: Path) -> Settings:
    """``settings``, which the file ``where`` holds in format ``written``, as format :data:`FORMAT` has them.

    Raises:
        UserError: there is no such format, or a later version of fraudlab wrote it.
    """
    if written not in range(1, FORMAT + 1):
        raise UserError(
            f"{where}: run format {written} is not known here (known: up to {FORMAT}); "
            "install the fraudlab that wrote it"
        )
    for upgrade in UPGRADES[written - 1 :]:
        settings = upgrade(settings)
    return settings
