"""Settings that are ``auto``: numbers that follow from the rows that a run learns from.

The numbers are logged, stand in ``run.json`` under ``auto``, and both fits of a run have the same. A fit that was
killed goes on with those that it began with. A rule is here or, where it is a model's own, in that model's
:class:`fraudlab.models.contract.ModelPart`.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from fraudlab.config import EncoderConfig, FitConfig
from fraudlab.config.checks import AUTO
from fraudlab.files import write_json
from fraudlab.models.contract import Facts
from fraudlab.models.registry import MODELS
from fraudlab.runs.folder import rank

Config = TypeVar("Config", bound=FitConfig)
WHILE_FITTING = "auto.json"
STEPS, LEAST_ROWS, MOST_ROWS = 64, 16, 2048
RARE, ROWS_OF_RARE, MOST_RARE = 3, 800, 20


def batch_size(rows: int) -> int:
    """Rows of a step: the power of two that gives an epoch 64 to 128 steps, within 16 and 2048.

    With a batch of fixed size the steps of a fit follow from the rows, and a small table hardly moves a network: 1,000
    rows in batches of 2,048 are one step an epoch. docs/tables.md has the measurements.
    """
    power = 2 ** max(rows // STEPS, 1).bit_length() // 2
    return min(max(power, LEAST_ROWS), MOST_ROWS)


def min_count(rows: int, kind: str) -> int:
    """Rows that a word stands in at least to have an id: 3, and for networks one for each 800 rows, up to 20.

    A network learns a rare word by heart from the few frauds that it has seen of it; trees are held back by the rows of
    a leaf.
    """
    return RARE if kind == "estimator" else min(max(rows // ROWS_OF_RARE, RARE), MOST_RARE)


def of_encoder(encoder: EncoderConfig, rows: int, kind: str) -> dict[str, int]:
    """The numbers of an encoder's settings that are ``auto``, which have to be known before :func:`chosen`."""
    return {"min_count": min_count(rows, kind)} if encoder.min_count == AUTO else {}


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
    return numbers


def keep(numbers: Mapping[str, Any], folder: Path) -> None:
    """Keep the numbers of a fit in its folder while it goes on."""
    if rank() == 0:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / WHILE_FITTING, numbers)


def begun(folder: Path) -> Mapping[str, Any] | None:
    """The numbers that a fit with checkpoints began with: a later version's rules must not change it midway."""
    path = folder / WHILE_FITTING
    goes_on = path.is_file() and any((folder / "checkpoints").glob("*"))
    return dict(json.loads(path.read_text(encoding="utf-8"))) if goes_on else None


def settled(config: Config, numbers: Mapping[str, Any]) -> Config:
    """The settings with the numbers that :func:`chosen` and :func:`of_encoder` gave."""
    groups: dict[str, dict[str, Any]] = {"model": {}, "optimizer": {}, "features.encoder": {}}
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
        features=replace(config.features, encoder=replace(config.features.encoder, **groups["features.encoder"])),
        optimizer=config.optimizer and {**config.optimizer, **groups["optimizer"]},
        scheduler=schedule,
        batch_size=numbers.get("batch_size", config.batch_size),
    )
