"""Formats of a bundle: the JSON that earlier versions exported, in the form that this one reads."""

from collections.abc import Callable
from typing import Any

from fraudlab.features import handbook

Upgrade = Callable[[str, Any], Any]


def _from_1(name: str, content: Any) -> Any:
    """Format 2 may say in ``features.json`` how the columns are made of a file's: what says nothing stays as it is."""
    return content


def _from_2(name: str, content: Any) -> Any:
    """It was not said what a decision rests on."""
    if name != "decision.json":
        return content
    on = "the run's validation scores, by a model that may have been fitted before the one in this bundle; export again"
    parts = ("thresholds", "operating_points", "scores", *(("calibration",) if content["calibration"] else ()))
    return {**content, "rests_on": dict.fromkeys(parts, on)}


def _from_3(name: str, content: Any) -> Any:
    """The Handbook's features were a set of their own."""
    if name != "features.json":
        return content
    return {**content, "settings": handbook.upgraded(content["settings"])}


def _from_4(name: str, content: Any) -> Any:
    """``reference.json`` had histograms, but not how far they vary without drift: drift cannot be judged by them."""
    return {"rows": content["rows"], "columns": None} if name == "reference.json" else content


def _from_5(name: str, content: Any) -> Any:
    """Format 6 may have several models, of which ``blend.json`` tells: a bundle of one stays as it is."""
    return content


def _from_6(name: str, content: Any) -> Any:
    """Format 7 has a model card, and may say in ``decision.json`` what is promised; earlier ones do without."""
    return content


def _from_7(name: str, content: Any) -> Any:
    """There was one map, so that its name was not said."""
    if name != "decision.json" or content["calibration"] is None:
        return content
    return {**content, "calibration": {"map": "platt", **content["calibration"]}}


def _from_8(name: str, content: Any) -> Any:
    """Format 9 decides by money, of which ``decision.json`` tells: a bundle that does not is written in format 8."""
    return content


UPGRADES: tuple[Upgrade, ...] = (_from_1, _from_2, _from_3, _from_4, _from_5, _from_6, _from_7, _from_8)
"""One function a version: the first takes a file's name and content from format 1 to 2, the next from 2 to 3."""
FORMAT = 1 + len(UPGRADES)
"""The newest; every one up to it is read."""
WITHOUT_MONEY = 8
"""What is written where no rule by money is there, so that earlier versions read it, too."""


def upgraded(name: str, content: Any, written: int) -> Any:
    """The content of a bundle's JSON file ``name``, written in format ``written``, as format :data:`FORMAT` has it."""
    for upgrade in UPGRADES[written - 1 :]:
        content = upgrade(name, content)
    return content
