"""Comparison of runs: which of them are one model over several seeds, and how much models differ."""

import glob
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from tqdm import tqdm

from fraudlab.config import SCHEMAS
from fraudlab.errors import UserError
from fraudlab.metrics.bootstrap import RESAMPLED_METRICS, Resampled, paired
from fraudlab.metrics.metrics import ADMIN_COST
from fraudlab.models.registry import MODELS
from fraudlab.runs.folder import RunFolder
from fraudlab.runs.predictions import groups_of
from fraudlab.runs.settings import read_settings

log = logging.getLogger(__name__)

# What two runs of one model over two seeds may differ in.
_NOT_THE_MODEL = ("seed", "threads", "test", "logger", "report", "tried", "slices", "plugins", "features.memory_gb")
_MOST_NAMED = 3  # settings in a model's name
_FEW_GROUPS = 20


@dataclass(frozen=True)
class ComparedModel:
    """Runs that differ by their seed only.

    Attributes:
        name: what tells it from the other models of the comparison.
        runs: one or more.
        seeds: of the runs.
        metrics: of each run, its ``metrics.json`` of the part compared.
        rows: the rows scored, ``transaction_id, time, card_id, terminal_id, amount, label``, the same in each run.
        scores: ``[runs, rows]``.
        simulated: whether the data were.
    """

    name: str
    runs: Sequence[RunFolder]
    seeds: Sequence[int]
    metrics: Sequence[Mapping[str, float | None]]
    rows: pl.DataFrame
    scores: NDArray[np.float32]
    simulated: bool

    def mean(self, metric: str) -> float | None:
        """Mean over the runs; None where one has no such metric."""
        values = self.values(metric)
        return float(np.mean(values)) if values else None

    def std(self, metric: str) -> float | None:
        """Standard deviation over the runs (n - 1); None for a single one."""
        values = self.values(metric)
        return float(np.std(values, ddof=1)) if len(values) > 1 else None

    def values(self, metric: str) -> list[float]:
        """Of each run; none at all where one has no such metric."""
        values = [run.get(metric) for run in self.metrics]
        return [value for value in values if value is not None] if None not in values else []


@dataclass(frozen=True)
class Difference:
    """A model's metric less the first model's, and the interval in which resamples leave it."""

    difference: float
    low: float
    high: float


@dataclass(frozen=True)
class Resamples:
    """How far another sample of such rows might move what was measured.

    Attributes:
        by: what was drawn: ``card``, ``terminal``, ``day`` or ``row``.
        groups: how many there are.
        with_fraud: how many of them have a fraud.
        deviations: of each model, the deviation of each of its :data:`RESAMPLED_METRICS`; None for one that scored
            other rows than the first.
        differences: of each further model to the first one; None likewise.
    """

    by: str
    groups: int
    with_fraud: int
    deviations: Sequence[Mapping[str, float] | None]
    differences: Sequence[Mapping[str, Difference] | None]


def find_runs(patterns: Sequence[str]) -> list[RunFolder]:
    """The finished runs that paths and glob patterns name, each once; a folder of runs names all beneath it.

    A run beneath a folder or matched by a pattern that did not finish is left out with a warning.

    Raises:
        UserError: a path names no run, or one that did not finish, or there are fewer than two.
    """
    found: dict[Path, RunFolder] = {}
    for pattern in patterns:
        named = [pattern] if Path(pattern).is_dir() else glob.glob(pattern, recursive=True)  # noqa: PTH207
        matches = [Path(match) for match in named if Path(match).is_dir()]
        beneath = [config.parent for match in matches for config in match.rglob("config.yaml")]
        if not beneath or beneath == [Path(pattern)]:
            beneath = [RunFolder.find(Path(pattern)).path]
        for path in sorted(set(beneath), key=_by_number):
            run = RunFolder(path)
            if run.metrics_path.is_file():
                found[path.resolve()] = run
            else:
                log.warning("%s is left out: it did not finish", path)
    if len(found) < 2:
        raise UserError(f"runs={list(patterns)} names {len(found)} finished runs; two or more are needed")
    return list(found.values())


def models(runs: Sequence[RunFolder], part: str) -> list[ComparedModel]:
    """The runs as models, in the order in which each first occurs.

    Runs are one model where their settings but the seed, and the rows that they scored, are the same.

    Raises:
        UserError: a run has no predictions of ``part``.
    """
    groups: list[tuple[dict[str, Any], pl.DataFrame, list[RunFolder], list[pl.Series]]] = []
    for run in tqdm(runs, desc="runs", leave=False):
        config = with_defaults(read_settings(run.config_path))
        unused = () if run.blend else MODELS[config["model"]["name"]].unused
        without = {*_NOT_THE_MODEL, *unused}
        flat = _flat(config).items()
        settings = {key: value for key, value in flat if without.isdisjoint((key, key.split(".")[0]))}
        rows, score = _predictions(run, part)
        for known, theirs, members, scores in groups:
            if known == settings and same_rows(theirs, rows):
                members.append(run)
                scores.append(score)
                break
        else:
            groups.append((settings, rows, [run], [score]))
    names = _names([settings for settings, *_ in groups], [members[0] for _, _, members, _ in groups])
    return [
        ComparedModel(
            name,
            members,
            [run.provenance()["seed"] for run in members],
            [run.metrics()[part] for run in members],
            rows,
            np.stack([score.to_numpy() for score in scores]),
            any(run.provenance()["simulated"] for run in members),
        )
        for name, (_, rows, members, scores) in zip(names, groups, strict=True)
    ]


def resampled(
    compared: Sequence[ComparedModel], group: str | None, resamples: int, confidence: float, seed: int
) -> Resamples:
    """Deviations of each model's roc_auc and average_precision, and differences of each further model to the first.

    A model's metric is the mean over its runs. Groups of rows are drawn again with replacement, the same draws for
    every model: what is found tells how far another sample of such rows might move a metric, not another seed.

    Args:
        compared: two or more.
        group: what is drawn, see :func:`fraudlab.runs.predictions.groups_of`.
        resamples: how many.
        confidence: share of the resamples within the interval.
        seed: of the draws.

    Raises:
        UserError: the rows are all of one class, or have no such group.
    """
    first = compared[0]
    label = first.rows["label"].to_numpy()
    if len(np.unique(label)) < 2:
        raise UserError(f"the {len(label)} rows of {first.name} are all of one class, not to be ranked; use part=val")
    by, groups = groups_of(first.rows, group)
    with_fraud = len(np.unique(groups[label == 1]))
    if with_fraud < _FEW_GROUPS:
        log.warning("group=%s: only %d groups have a fraud; intervals over so few are too small", by, with_fraud)
    paired_with = [model for model in compared if same_rows(model.rows, first.rows)]
    scores = [model.scores for model in paired_with]
    whole = np.ones(len(label), np.int64)
    metrics = np.array([np.mean([Resampled(label, run)(whole) for run in runs], axis=0) for runs in scores])
    drawn = np.stack(list(tqdm(paired(label, scores, groups, resamples, seed), "resamples", resamples, leave=False)))
    deviations = {
        id(model): dict(zip(RESAMPLED_METRICS, row, strict=True))
        for model, row in zip(paired_with, np.nanstd(drawn, axis=0, ddof=1).tolist(), strict=True)
    }
    low, high = np.nanquantile(drawn - drawn[:, :1], [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    values = np.stack([metrics - metrics[0], low, high], axis=-1).tolist()
    differences = {
        id(model): {metric: Difference(*value) for metric, value in zip(RESAMPLED_METRICS, rows, strict=True)}
        for model, rows in zip(paired_with, values, strict=True)
    }
    return Resamples(
        by,
        int(groups.max()) + 1,
        with_fraud,
        [deviations.get(id(model)) for model in compared],
        [differences.get(id(model)) for model in compared[1:]],
    )


def same_rows(one: pl.DataFrame, other: pl.DataFrame) -> bool:
    """Whether two runs scored the same rows; earlier versions did not write terminals."""
    return one.drop("terminal_id").equals(other.drop("terminal_id"))


def _by_number(path: Path) -> list[tuple[int, str]]:
    """Order in which the tenth job of a multirun comes after the ninth."""
    return [(int(word), "") if word.isdigit() else (-1, word) for word in re.split(r"(\d+)", str(path))]


def _predictions(run: RunFolder, part: str) -> tuple[pl.DataFrame, pl.Series]:
    """Rows and scores of a run, by transaction where transactions have ids, else in the order of the table."""
    path = run.predictions_path(part)
    if not path.is_file():
        raise UserError(f"{run.path} has no predictions of {part} ({path}); use part=val or train it with test=true")
    predictions = run.predictions(part)
    if not predictions["transaction_id"].null_count():
        predictions = predictions.sort("transaction_id")
    return predictions.drop("score"), predictions["score"]


def _names(settings: Sequence[Mapping[str, Any]], runs: Sequence[RunFolder]) -> list[str]:
    """Experiment and model, and what else it takes to tell each from the others."""
    plain = [str(mine["model.name"]) for mine in settings]
    experiments = [str(run.provenance()["experiment"]) for run in runs]
    if len(set(experiments)) > 1:
        plain = [f"{experiment} {model}" for experiment, model in zip(experiments, plain, strict=True)]
    names = []
    for mine, name in zip(settings, plain, strict=True):
        alike = [theirs for theirs, other in zip(settings, plain, strict=True) if other == name]
        varied = [key for key in mine if any(theirs.get(key) != mine[key] for theirs in alike)]
        names.append(" ".join([name, *(f"{key}={mine[key]}" for key in varied[:_MOST_NAMED])]))
    return [
        name if names.count(name) == 1 else f"{name} ({run.path.name})" for name, run in zip(names, runs, strict=True)
    ]


def with_defaults(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with those that came after the run, which had their defaults."""
    found = {"admin_cost": ADMIN_COST, "recovery_share": 1.0, **settings}
    for group, options in SCHEMAS.items():
        schema = options.get(found.get(group, {}).get("name"))
        for field in fields(schema) if schema else ():
            if field.default is not MISSING:
                found[group] = {field.name: field.default, **found[group]}
            elif field.default_factory is not MISSING and not is_dataclass(field.default_factory):
                found[group] = {field.name: field.default_factory(), **found[group]}
    return found


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, inner in value.items():
        flat |= _flat(inner, f"{prefix}{key}.") if isinstance(inner, Mapping) else {f"{prefix}{key}": inner}
    return flat
