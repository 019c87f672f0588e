"""Runs of the same rows as one: which may be blended, with which weights, and what each adds."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl
import yaml
from numpy.typing import NDArray

from fraudlab.config import BlendConfig
from fraudlab.errors import UserError
from fraudlab.metrics.ranking import average_precision, roc_auc
from fraudlab.runs.comparison import same_rows, with_defaults
from fraudlab.runs.folder import BLEND, RunFolder
from fraudlab.runs.formats import FORMAT
from fraudlab.runs.settings import read_settings

Measure = Callable[[NDArray[Any], NDArray[Any]], float]
MEASURES: dict[str, Measure] = {"average_precision": average_precision, "roc_auc": roc_auc}

_OF_ALL = ("experiment", "data", "data_dir", "data_at", "simulated", "data_fingerprint", "split_rows", "published")


@dataclass(frozen=True)
class Member:
    """A run of a blend.

    Attributes:
        run: its folder.
        model, seed: of it.
        weight: of its probabilities; 0 where it is left out.
        val, test: its metric alone on the validation and the test.
        adds: the blend's metric on validation less that of the other members with their weights; None of one that is
            left out, and of an only one.
    """

    run: str
    model: str
    seed: int
    weight: float
    val: float | None
    test: float | None
    adds: float | None


def check_alike(runs: Sequence[RunFolder]) -> None:
    """Refuse runs of which not all have learnt from, chosen on and been tested on the same rows.

    Raises:
        UserError: they differ in data, splits, rows or labels, which the message names; or one is a blend itself, or
            has no test.
    """
    for run in runs:
        if run.blend:
            raise UserError(f"{run.path} is itself a blend; name its member runs")
        for part in ("val", "test"):
            if not run.predictions_path(part).is_file():
                raise UserError(f"{run.path} has no predictions of {part}; train it with test=true")
    first, *others = runs
    facts, parts = _facts(first), _rows(first)
    for run in others:
        theirs, rows = _facts(run), _rows(run)
        differing = [
            f"{key} ({facts.get(key)} and {theirs.get(key)})"
            for key in dict.fromkeys([*facts, *theirs])
            if facts.get(key) != theirs.get(key)
        ]
        if not differing:  # else the rows differ, too
            for part in dict.fromkeys([*parts, *rows]):
                differing += _differences(part, parts.get(part), rows.get(part))
        if differing:
            raise UserError(
                f"{first.path} and {run.path} differ in {', '.join(differing)}: a blend needs runs of the same data, "
                "splits, rows and labels; leave one out, or train one of them again with the settings of the other"
            )


def _facts(run: RunFolder) -> dict[str, Any]:
    settings = with_defaults(read_settings(run.config_path))
    split = {f"split.{key}": value for key, value in settings["split"].items()}
    return {
        "data_fingerprint": run.provenance().get("data_fingerprint"),
        "label_delay_days": settings.get("label_delay_days"),
        **split,
        "refit": run.fitted_twice,
    }


def _rows(run: RunFolder) -> dict[str, pl.DataFrame]:
    parts = [part for part in ("val", "test", "recent") if run.predictions_path(part).is_file()]
    return {part: run.predictions(part).drop("score") for part in parts}


def _differences(part: str, one: pl.DataFrame | None, other: pl.DataFrame | None) -> list[str]:
    if one is None or other is None or not same_rows(one.drop("label"), other.drop("label")):
        return [f"the rows of {part}"]
    return [] if one["label"].equals(other["label"]) else [f"the labels of {part}"]


def choose(label: NDArray[Any], scores: NDArray[Any], measure: Measure, most_picks: int) -> NDArray[np.float64]:
    """Weights [M] of models, the sum 1, picked greedily with replacement (Caruana et al. 2004).

    It starts with the best models together, as many of them as are best, and adds the model that raises the metric
    most. Where none does, all picks so far count twice, so that the next one weighs half as much; it ends where they
    would be too many.

    Args:
        label: 0 or 1, [N].
        scores: probabilities of each model, [M, N].
        measure: of label and score; more is better, and a factor of the score is none to it.
        most_picks: most picks, the same model counted again; weights are multiples of one in so many at best.

    Raises:
        UserError: the rows are of one class.
    """
    if len(np.unique(label)) < 2:
        raise UserError(f"the {len(label)} validation rows are all of one class: weights cannot be chosen on them")
    order = sorted(range(len(scores)), key=lambda i: -measure(label, scores[i]))
    starts = np.cumsum(scores[order].astype(np.float64), axis=0)
    found = [measure(label, start) for start in starts]
    count = int(np.argmax(found)) + 1
    picks, total, best = np.zeros(len(scores)), starts[count - 1], found[count - 1]
    picks[order[:count]] = 1
    while picks.sum() < most_picks:
        tried = [measure(label, total + score) for score in scores]
        pick = int(np.argmax(tried))
        if tried[pick] > best:
            picks[pick] += 1
            total, best = total + scores[pick], tried[pick]
        elif 2 * picks.sum() < most_picks:
            picks, total = 2 * picks, 2 * total
        else:
            break
    weights: NDArray[np.float64] = picks / picks.sum()
    return weights


def blend(config: BlendConfig, runs: Sequence[RunFolder], run: RunFolder) -> dict[str, pl.DataFrame]:
    """Choose weights on the validation of ``runs`` and write predictions and ``blend.json`` of the blend to ``run``.

    Returns:
        The predictions of ``val``, ``test`` and, of runs that have them, ``recent``.

    Raises:
        UserError: the runs are not alike, see :func:`check_alike`.
    """
    check_alike(runs)
    measure = MEASURES[config.metric]
    validation = [each.predictions("val") for each in runs]
    label = validation[0]["label"].to_numpy()
    scores = np.stack([each["score"].to_numpy() for each in validation])
    weights = choose(label, scores, measure, config.most_picks)
    whole = measure(label, weights @ scores)

    def adds(i: int) -> float | None:
        others = np.where(np.arange(len(runs)) == i, 0.0, weights)
        return whole - measure(label, others @ scores) if weights[i] and others.any() else None

    members = []
    for i, each in enumerate(runs):
        facts, metrics = each.provenance(), each.metrics()
        alone = metrics["val"].get(config.metric), metrics["test"].get(config.metric)
        model = read_settings(each.config_path)["model"]["name"]
        where = str(each.path.absolute())
        members.append(Member(where, model, facts["seed"], float(weights[i]), *alone, adds(i)))
    run.write_blend(
        {
            "metric": config.metric,
            "fitted_twice": runs[0].fitted_twice,
            "members": [asdict(member) for member in sorted(members, key=lambda member: -member.weight)],
        }
    )
    parts = {part: [member.predictions(part) for member, _ in run.members] for part in _rows(runs[0])}
    predictions = {part: combined(frames, [weight for _, weight in run.members]) for part, frames in parts.items()}
    for part, frame in predictions.items():
        run.write_predictions(part, frame)
    return predictions


def combined(predictions: Sequence[pl.DataFrame], weights: Sequence[float]) -> pl.DataFrame:
    """Predictions of the same rows as one, their scores averaged by weights, in double precision."""
    scores = np.stack([each["score"].to_numpy() for each in predictions]).astype(np.float64)
    return predictions[0].with_columns(score=pl.Series((np.array(weights) @ scores).astype(np.float32)))


def settings_yaml(config: BlendConfig) -> str:
    """The settings of a blend as a run's ``config.yaml``."""
    plain = {key: value for key, value in asdict(config).items() if key not in ("paths", "moved")}
    return yaml.safe_dump({"format": FORMAT, "model": {"name": BLEND}, **plain}, sort_keys=False)


def run_facts(runs: Sequence[RunFolder]) -> dict[str, Any]:
    """What ``run.json`` of a blend records of its runs."""
    facts = [run.provenance() for run in runs]
    same = {
        key: facts[0][key] for key in _OF_ALL if key in facts[0] and all(facts[0][key] == f.get(key) for f in facts)
    }
    return {"experiment": None, "published": None, **same, "model": BLEND, "seed": None, "device": "cpu"}
