"""Settings that are ``auto``: numbers that follow from the rows that a run learns from.

The numbers are logged, stand in ``run.json`` under ``auto``, and both fits of a run have the same. A rule is here or,
where it is a model's own, in that model's :class:`fraudlab.models.contract.ModelPart`.
"""

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

from fraudlab.config import FitConfig
from fraudlab.config.checks import AUTO
from fraudlab.models.contract import Facts
from fraudlab.models.registry import MODELS

Config = TypeVar("Config", bound=FitConfig)
log = logging.getLogger(__name__)

STEPS, LEAST_ROWS, MOST_ROWS = 64, 32, 2048


def batch_size(rows: int) -> int:
    """Rows of a step: the power of two that gives an epoch 64 to 128 steps, within 32 and 2048.

    With a batch of fixed size the steps of a fit follow from the rows, and a small table hardly moves a network: 1,000
    rows in batches of 2,048 are one step an epoch. docs/tables.md has the measurements.
    """
    power = 2 ** max(rows // STEPS, 1).bit_length() // 2
    return min(max(power, LEAST_ROWS), MOST_ROWS)


def chosen(config: FitConfig, rows: int, frauds: int, cardinalities: list[int], num_numeric: int) -> dict[str, Any]:
    """The numbers of the settings that are ``auto``, by key, for so many training rows with such columns."""
    part, numbers = MODELS[config.model.name], dict[str, Any]()
    size = config.batch_size
    if isinstance(size, str):
        size = batch_size(rows)
        if part.kind == "network":
            numbers["batch_size"] = size
    for key, value in part.optimizer.items() if part.kind == "network" else ():
        if (config.optimizer or {}).get(key) == AUTO:
            numbers[f"optimizer.{key}"] = value
    facts = Facts(rows, frauds, tuple(cardinalities), num_numeric, size)
    for key, rule in part.auto.items():
        if getattr(config.model, key) == AUTO:
            numbers[f"model.{key}"] = rule(facts)
    if numbers:
        says = " ".join(f"{key}={value}" for key, value in numbers.items())
        log.info("auto, for %d rows with %d frauds: %s", rows, frauds, says)
    return numbers


def settled(config: Config, numbers: Mapping[str, Any]) -> Config:
    """The settings with the numbers that :func:`chosen` gave."""
    groups: dict[str, dict[str, Any]] = {"model": {}, "optimizer": {}}
    for key, value in numbers.items():
        group, _, name = key.rpartition(".")
        if group:
            groups[group][name] = value
    rate, schedule = groups["optimizer"].get("lr"), config.scheduler
    if rate is not None and schedule:  # which may go by the rate: conf/scheduler/one_cycle.yaml
        schedule = {key: rate if value == AUTO else value for key, value in schedule.items()}
    return replace(
        config,
        model=replace(config.model, **groups["model"]),
        optimizer=config.optimizer and {**config.optimizer, **groups["optimizer"]},
        scheduler=schedule,
        batch_size=numbers.get("batch_size", config.batch_size),
    )
