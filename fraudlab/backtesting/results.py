"""What a backtest found: metrics of each step with intervals, and what retraining less often would have cost."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fraudlab.backtesting.plan import Backtest
from fraudlab.backtesting.steps import rhythms
from fraudlab.metrics.bootstrap import FEWEST_GROUPS, RESAMPLED_METRICS, Resampled, drawn, enough, share_interval
from fraudlab.metrics.cost import cost_savings
from fraudlab.runs.folder import RunFolder
from fraudlab.runs.predictions import column, groups_of
from fraudlab.runs.slices import BUDGET, measured, slices_in, threshold_of

_LEVELS = (0.025, 0.975)
MEASURES = (*RESAMPLED_METRICS, "saved")
"""What has intervals; ``saved``: what alerts recover of frauds' amounts less what all alerts cost."""


@dataclass(frozen=True)
class Choice:
    """A way to go: which model scores each window.

    Attributes:
        name: of it, in words.
        every: after how many steps a model is trained again; 0 of an ensemble.
        models: of each step, the number of the model, or -1 for the ensemble.
    """

    name: str
    every: int
    models: Sequence[int]


class _Scored:
    """The test rows of all steps, and the scores of each model that scored some of them."""

    def __init__(self, backtest: Backtest) -> None:
        self.backtest = backtest
        self.frames = [RunFolder(backtest.run(step)).predictions("test") for step in backtest.steps]
        self.rows = pl.concat([frame.drop("score") for frame in self.frames])
        ends = np.cumsum([0, *map(len, self.frames)])
        self.parts = [slice(start, stop) for start, stop in pairwise(ends)]
        known = all(
            column(frame, "amount") is not None and RunFolder(run).metrics()["test"].get("cost_threshold") is not None
            for step, frame in zip(backtest.steps, self.frames, strict=True)
            for run in {backtest.run(step), backtest.model(step)}
        )
        self.amount = self.rows["amount"] if known else None

    def scores(self, step: int, model: int) -> NDArray[np.float32]:
        """Of the window of ``step`` by the model of step ``model``; -1: by the run that is tested there."""
        steps = self.backtest.steps
        if model == -1:
            return self.frames[step]["score"].to_numpy()
        if model == step or self.backtest.policy == "none":
            return RunFolder(self.backtest.model(steps[step])).predictions("test")["score"].to_numpy()
        path = self.backtest.folder / "scores" / f"{steps[step].start}.parquet"
        return pl.read_parquet(path, columns=[steps[model].start], glob=False).to_series().to_numpy()

    def threshold(self, step: int, model: int) -> float:
        """Where alerts begin to pay on the validation of the model that scores the window of ``step``."""
        steps = self.backtest.steps
        folder = self.backtest.run(steps[step]) if model == -1 else self.backtest.model(steps[model])
        threshold: float = RunFolder(folder).metrics()["test"]["cost_threshold"]
        return threshold

    def savings(self, step: int, model: int) -> dict[str, float | None]:
        """``cost_savings`` and its threshold where a model of another step is tested, which keeps its own."""
        if self.amount is None or model in (step, -1):
            return {}
        threshold, config, frame = self.threshold(step, model), self.backtest.config, self.frames[step]
        label, score, amount = (frame[name].to_numpy() for name in ("label", "score", "amount"))
        found = cost_savings(label, score, amount, threshold, config.admin_cost, config.recovery_share)
        return {"cost_savings": _value(found), "cost_threshold": threshold}

    def saved(self, step: int, model: int) -> NDArray[np.float64]:
        """What each row of a window saves, negative where an alert was in vain."""
        assert self.amount is not None
        amount = self.amount.to_numpy()[self.parts[step]]
        fraud = self.frames[step]["label"].to_numpy() == 1
        flagged = self.scores(step, model).astype(np.float64) >= self.threshold(step, model)
        config = self.backtest.config
        return np.where(flagged, config.recovery_share * fraud * amount - config.admin_cost, 0.0)


def results(backtest: Backtest) -> dict[str, Any]:
    """The content of ``metrics.json`` of a backtest all of whose steps have ended.

    Intervals are of 95 %: groups of rows, the cards or the terminals of all steps together, are drawn again with
    replacement, so that what is told of several steps or of two ways to go is told of the same draws. A draw's mean
    leaves out the steps that it has no fraud of. A step has intervals if it has :data:`FEWEST_GROUPS` groups, and a
    metric has one if :func:`enough` draws have a value.
    """
    scored = _Scored(backtest)
    config, steps = backtest.config, backtest.steps
    choices = _choices(backtest)
    pairs = sorted({(step, model) for choice in choices for step, model in enumerate(choice.models)})
    whole, draws, by, group = _resampled(scored, pairs, config.backtest.resamples)
    at = {pair: i for i, pair in enumerate(pairs)}
    own = choices[-1] if backtest.policy == "frozen" else choices[0]
    runs = [RunFolder(backtest.run(step)) for step in steps]
    drawn_of_all = _drawn(scored, group)
    found = []
    for step, run in zip(steps, runs, strict=True):
        metrics, i = run.metrics(), at[step.number, own.models[step.number]]
        drawn_of = _drawn(scored, group, step.number)
        seen = json.loads((backtest.folder / "scores" / f"{step.start}.json").read_text(encoding="utf-8"))
        found.append(
            {
                "start": step.start,
                "stop": step.stop,
                "run": str(run.path.relative_to(backtest.folder)),
                "train_rows": RunFolder(backtest.model(step)).provenance()["split_rows"]["train"],
                "train_seconds": RunFolder(backtest.model(step)).metrics()["train"]["seconds"],
                **metrics["test"],
                **scored.savings(step.number, own.models[step.number]),
                "saved": _value(whole[i, 2]),
                "intervals": {
                    name: _interval(draws[:, i, m], whole[i, m], name, drawn_of) for m, name in enumerate(MEASURES)
                },
                "drawn": {**drawn_of, "resamples": int(np.isfinite(draws[:, i, 0]).sum())},
                **seen,
            }
        )
    facts = runs[0].provenance()
    return {
        "policy": backtest.policy,
        "model": config.model.name,
        "data": config.data.name,
        "simulated": facts["simulated"],
        "experiment": backtest.facts.get("experiment"),
        "label_delay_days": config.label_delay_days,
        "label_times": backtest.label_times,
        "step_days": config.backtest.step_days,
        "recovery_share": config.recovery_share,
        "admin_cost": None if scored.amount is None else config.admin_cost,
        "drawn": {"by": by, **drawn_of_all, "resamples": config.backtest.resamples},
        "steps": found,
        "choices": [_told(backtest, choice, choices[0], at, whole, draws, drawn_of_all) for choice in choices],
        "ages": _ages(choices, at, whole),
        "slice_alerts_per_1000": BUDGET,
        "slices": _slices(scored, runs, group),
    }


def _slices(scored: _Scored, runs: Sequence[RunFolder], group: NDArray[np.int64]) -> dict[str, Any]:
    """The slices of all windows together, each model's alerts at its own threshold."""
    backtest = scored.backtest
    if not backtest.config.slices:
        return {}
    values = pl.concat([slices_in(RunFolder(backtest.model(step)), "test") for step in backtest.steps])
    flagged = [
        frame["score"].to_numpy().astype(np.float64) >= threshold_of(run)
        for frame, run in zip(scored.frames, runs, strict=True)
    ]
    return measured(values, scored.rows["label"].to_numpy(), np.concatenate(flagged), group)


def _choices(backtest: Backtest) -> list[Choice]:
    """Training at each step first, where there is such a one."""
    count, days = len(backtest.steps), backtest.config.backtest.step_days
    found = []
    for every in rhythms(backtest):
        once = every == count and (count > 1 or backtest.policy == "none")
        name = "once, at the first step" if once else f"every {every * days} days"
        found.append(Choice(name, every, [step // every * every for step in range(count)]))
    if backtest.policy == "frozen":
        found.append(Choice(f"every {days} days, all models together", 0, [-1] * count))
    return found


def _resampled(
    scored: _Scored, pairs: Sequence[tuple[int, int]], resamples: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], str, NDArray[np.int64]]:
    """:data:`MEASURES` of pairs of a step and a model [pairs, 3] and of each draw [draws, pairs, 3]; what was drawn."""
    by, group = groups_of(scored.rows, None)
    label = scored.rows["label"].to_numpy()
    ranked = [Resampled(label[scored.parts[step]], scored.scores(step, model)) for step, model in pairs]
    saved = None if scored.amount is None else [scored.saved(step, model) for step, model in pairs]

    def measure(count: NDArray[np.int64]) -> NDArray[np.float64]:
        found = np.full((len(pairs), len(MEASURES)), np.nan)
        for i, (step, _) in enumerate(pairs):
            of_step = count[scored.parts[step]]
            found[i, :2] = ranked[i](of_step)
            if saved is not None:
                found[i, 2] = of_step @ saved[i]
        return found

    whole = measure(np.ones(len(label), np.int64))
    return whole, np.stack([measure(count) for count in drawn(group, resamples, 0)]), by, group


def _told(
    backtest: Backtest,
    choice: Choice,
    first: Choice,
    at: Mapping[tuple[int, int], int],
    whole: NDArray[np.float64],
    draws: NDArray[np.float64],
    drawn_of: Mapping[str, int],
) -> dict[str, Any]:
    """What a choice costs and gives: means of the ranking metrics over the steps, the sum of what is saved."""
    mine, theirs = ([at[pair] for pair in enumerate(each.models)] for each in (choice, first))
    fitted = {step if model == -1 else model for step, model in enumerate(choice.models)}
    seconds = [RunFolder(backtest.model(backtest.steps[step])).metrics()["train"]["seconds"] for step in sorted(fitted)]
    told: dict[str, Any] = {"name": choice.name, "every": choice.every, "fits": len(fitted), "seconds": sum(seconds)}
    for m, name in enumerate(MEASURES):
        total = np.sum if name == "saved" else _mean
        values = total(whole[mine, m]), total(draws[:, mine, m], axis=1)
        less = total(whole[theirs, m]), total(draws[:, theirs, m], axis=1)
        told[name] = {"value": _value(values[0]), "interval": _interval(values[1], values[0], name, drawn_of)}
        told.setdefault("by_step", {})[name] = [_value(value) for value in whole[mine, m]]
        apart = values[0] - less[0], values[1] - less[1]
        told[name] |= {
            "difference": _value(apart[0]),
            "difference_interval": _interval(apart[1], apart[0], "", drawn_of),
        }
    return told


def _ages(
    choices: Sequence[Choice], at: Mapping[tuple[int, int], int], whole: NDArray[np.float64]
) -> list[dict[str, Any]]:
    """How much average precision a model of some age in steps has less than the one fitted for the step, by age."""
    ap = RESAMPLED_METRICS.index("average_precision")
    lost: dict[int, list[float]] = {}
    for step, model in at:
        if model != -1 and (step, step) in at:
            lost.setdefault(step - model, []).append(whole[at[step, model], ap] - whole[at[step, step], ap])
    return [
        {"age": age, "windows": len(each), "average_precision": float(np.mean(each))}
        for age, each in sorted(lost.items())
    ]


def _value(value: Any) -> float | None:
    return None if np.isnan(value) else float(value)


def _mean(values: NDArray[np.float64], axis: int = 0) -> NDArray[np.float64]:
    """Of the values that are there; NaN where there is none."""
    there = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        found: NDArray[np.float64] = np.where(there, values, 0.0).sum(axis=axis) / there.sum(axis=axis)
    return found


def _drawn(scored: _Scored, group: NDArray[np.int64], step: int | None = None) -> dict[str, int]:
    """How many groups are drawn and how many of them have a fraud, of one step or of all."""
    rows = slice(None) if step is None else scored.parts[step]
    fraud = scored.rows["label"].to_numpy()[rows] == 1
    return {"groups": len(np.unique(group[rows])), "with_fraud": len(np.unique(group[rows][fraud]))}


def _interval(draws: NDArray[np.float64], value: Any, name: str, drawn_of: Mapping[str, int]) -> list[float] | None:
    """The interval of a value: of a metric in [0, 1] by the log-odds, else by quantiles of the draws."""
    if drawn_of["groups"] < FEWEST_GROUPS or np.isnan(value) or not enough(draws):
        return None
    if name in RESAMPLED_METRICS:
        share = share_interval(value, draws, drawn_of["with_fraud"])
        return None if share is None else list(share)
    found: list[float] = np.nanquantile(draws, _LEVELS).tolist()
    return found
