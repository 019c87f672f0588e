"""One step of a backtest: its run folder, and what earlier models say of its window. Each begins again where it was."""

import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from fraudlab.backtesting.plan import Backtest, Step
from fraudlab.config import TrainConfig
from fraudlab.data.encoded import encode_once
from fraudlab.data.prepared import PreparedTable
from fraudlab.data.sources.contract import Source
from fraudlab.data.splits.contract import Rows, RowSplit
from fraudlab.data.splits.known import days_of
from fraudlab.features.encoder import TableEncoder
from fraudlab.files import replacing, write_json
from fraudlab.metrics.drift import LEVEL, adjusted, category_counts, number_counts, of_change, stability_index
from fraudlab.metrics.ranking import average_precision
from fraudlab.runs.blend import combined
from fraudlab.runs.blend import run_facts as blend_facts
from fraudlab.runs.folder import BLEND, RunFolder
from fraudlab.runs.formats import FORMAT
from fraudlab.runs.predictions import split_metrics
from fraudlab.runs.slices import check_slices, measure_slices, rows_of, write_slices
from fraudlab.training import tracking
from fraudlab.training.fit import Fit, run_facts
from fraudlab.training.pretrained import Earlier
from fraudlab.training.scoring import predict_parts, score_batch
from fraudlab.training.steps import finish, fit_models, score_and_measure
from fraudlab.training.trainer import use_threads

_PARTS = ("val", "test", "recent")
_SAMPLE = 20_000  # rows of each side that drift of columns is seen on
_SCORE_BINS = 20


def fit_step(backtest: Backtest, source: Source, number: int) -> None:
    """Fit, score and measure the model of a step, unless that has been done; of ``policy=none`` take over the first."""
    step, started = backtest.steps[number], time.perf_counter()
    run = RunFolder(backtest.model(step))
    if run.metrics_path.is_file():
        return
    config = backtest.settings(step, run.path)
    use_threads(config.threads)
    table = backtest.table(source, config)
    split = table.split(config.split, config.label_delay_days)
    check_slices(table, config.slices)
    facts = {**backtest.facts, **run_facts(config, table, split), "published": None}
    if backtest.policy == "none" and number:
        _take_over(RunFolder(backtest.run(backtest.steps[0])), run)
        predictions = predict_parts(config, table, split, run, _PARTS)
        for part, frame in predictions.items():
            run.write_predictions(part, frame)
            write_slices(run, part, table, rows_of(split, part), config.slices)
        measure_slices(run, predictions)
        run.write_provenance({**facts, "model_of": backtest.steps[0].start})
        write_json(
            run.metrics_path,
            {
                **split_metrics(predictions, config.admin_cost, config.recovery_share),
                "train": {"seconds": 0.0, "rows": 0},
            },
        )
        return
    with tracking.begin(config.logger, run) as tracked:
        run.write_provenance(facts)
        fits = fit_models(config, table, split, run, *_before(backtest, number))
        metrics = score_and_measure(config, table, split, run, fits)
        facts |= {"auto": fits.selection.auto, "wall_seconds": time.perf_counter() - started}
        finish(run, tracked, facts, metrics)


def _before(backtest: Backtest, number: int) -> tuple[Earlier | None, Earlier | None]:
    """What both fits start from: the one that validation judges never from one that has learnt from its rows."""
    if backtest.policy != "warm" or not number:
        return None, None
    run = RunFolder(backtest.run(backtest.steps[number - 1]))
    folders = (run.validated, run.final)
    fits = [Fit.done(folder) for folder in folders]
    assert fits[0] is not None
    first, second = (Earlier.of(folder, fits[0].auto) for folder in folders)
    return first, second


def _take_over(first: RunFolder, run: RunFolder) -> None:
    """Copy the models of a run, without what only their fits needed."""
    for folder in {first.final, first.validated}:
        to = run.path / folder.relative_to(first.path)
        shutil.copytree(folder / "encoder", to / "encoder", dirs_exist_ok=True)
        shutil.copytree(
            folder / "checkpoints",
            to / "checkpoints",
            dirs_exist_ok=True,
            ignore=shutil.ignore_patterns("last.*", "previous.*", ".*"),
        )


def score_step(backtest: Backtest, source: Source, number: int) -> None:
    """Write ``scores/<first day>.parquet`` and ``.json`` of a step, and of a frozen ensemble its run.

    The one has the tested scores of the window by earlier models, a column a model; the other how far the window's
    columns and the first model's scores have moved.
    """
    step, folder = backtest.steps[number], backtest.folder / "scores"
    if (folder / f"{step.start}.json").is_file():
        return
    of_step = RunFolder(backtest.model(step))
    config = backtest.settings(step, of_step.path)
    use_threads(config.threads)
    table = backtest.table(source, config)
    split = table.split(config.split, config.label_delay_days)
    earlier = [backtest.steps[each] for each in earlier_models(backtest, number)]
    runs = [RunFolder(backtest.model(each)) for each in earlier]
    scores = {}
    for each, run in zip(earlier, runs, strict=True):  # with the features that its model has learnt from
        own = backtest.settings(each, run.path)
        scores[each.start] = _score(own, backtest.table(source, own), split.test, run.final)
    if backtest.policy == "frozen":
        _write_ensemble(backtest, step, config, table, split, runs, list(scores.values()))
    with replacing(folder / f"{step.start}.parquet") as aside:
        pl.DataFrame(scores).write_parquet(aside)
    first = RunFolder(backtest.model(backtest.steps[0]))
    now = scores.get(backtest.steps[0].start, of_step.predictions("test")["score"].to_numpy())
    found = {"days": _days(table, split), "drift": _drift(backtest, source, first, split.test, now)}
    write_json(folder / f"{step.start}.json", found)


def earlier_models(backtest: Backtest, number: int) -> list[int]:
    """Numbers of the steps before ``number`` whose models score its window: of each rhythm of retraining one."""
    if backtest.policy == "none":
        return []
    if backtest.policy == "frozen":
        return list(range(number))
    return sorted({number // every * every for every in rhythms(backtest)} - {number})


def rhythms(backtest: Backtest) -> list[int]:
    """After how many steps a model is trained again: 1, 2, 4, ... and never, which is the number of steps.

    A model that starts from the one before is another in another rhythm; then there are the first and the last alone.
    """
    steps = len(backtest.steps)
    if backtest.policy == "none":
        return [steps]
    some = [1] if backtest.policy == "warm" else [2**power for power in range(steps.bit_length()) if 2**power < steps]
    return [*some, steps] if steps > 1 else [1]


def _score(config: TrainConfig, table: PreparedTable, rows: Rows, folder: Path) -> np.ndarray:
    return score_batch(config, encode_once(table, rows, TableEncoder.load(folder / "encoder")), folder)


def _days(table: PreparedTable, split: RowSplit) -> dict[str, tuple[int, int]]:
    """Of each part its first day and the day after its last, as numbers."""
    assert table.schema.time is not None
    found = {}
    for part in ("selection_train", "validation", "train", "test"):
        rows: Rows = getattr(split, part)
        day = days_of(table.rows(rows[[0, -1]], [table.schema.time])[table.schema.time])
        found[part] = int(day[0]), int(day[-1]) + 1
    return found


def _write_ensemble(
    backtest: Backtest,
    step: Step,
    config: TrainConfig,
    table: PreparedTable,
    split: RowSplit,
    runs: Sequence[RunFolder],
    tested: Sequence[np.ndarray],
) -> None:
    """The run of a frozen ensemble: a blend of this step's model and all before it, with equal weights."""
    own, run = RunFolder(backtest.model(step)), RunFolder(backtest.run(step))
    members = [own, *reversed(runs)]
    weights = [1 / len(members)] * len(members)
    predictions: dict[str, pl.DataFrame] = {}
    alone: dict[str, list[float]] = {}
    for part, rows in (("val", split.validation), ("test", split.test), ("recent", split.recent)):
        if not own.predictions_path(part).is_file():
            continue
        mine = own.predictions(part)
        scores = (
            list(tested)
            if part == "test"
            else [_score(config, table, rows, each.validated if part == "val" else each.final) for each in runs]
        )
        frames = [mine, *(mine.with_columns(score=pl.Series(each)) for each in reversed(scores))]
        label = mine["label"].to_numpy()
        if part != "recent":
            alone[part] = [average_precision(label, frame["score"].to_numpy()) for frame in frames]
        predictions[part] = combined(frames, weights)
        run.write_predictions(part, predictions[part])
    facts = [each.provenance() for each in members]
    run.write_blend(
        {
            "metric": "average_precision",
            "fitted_twice": own.fitted_twice,
            "members": [
                {"run": str(each.path.absolute()), "model": fact["model"], "seed": fact["seed"], "weight": weight,
                 "val": val, "test": test, "adds": None}
                for each, fact, weight, val, test in zip(
                    members, facts, weights, alone["val"], alone["test"], strict=True)
            ],
        }
    )  # fmt: skip
    run.write_provenance({**blend_facts(members), **backtest.facts, "data_fingerprint": facts[0]["data_fingerprint"]})
    costs = {"admin_cost": config.admin_cost, "recovery_share": config.recovery_share}
    write_json(run.path / "config.yaml", {"format": FORMAT, "model": {"name": BLEND}, **costs})  # JSON is YAML, too
    write_json(
        run.metrics_path,
        {**split_metrics(predictions, **costs), "train": own.metrics()["train"]},
    )


def _drift(backtest: Backtest, source: Source, first: RunFolder, rows: Rows, now: np.ndarray) -> dict[str, Any]:
    """Stability indices of columns against the first model's training rows, of its scores against its own window."""
    config = backtest.settings(backtest.steps[0], first.path)
    table = backtest.table(source, config)
    train = table.split(config.split, config.label_delay_days).train
    encoder = TableEncoder.load(first.final / "encoder")
    before, after = (encode_once(table, some[:: max(1, len(some) // _SAMPLE)], encoder) for some in (train, rows))
    index, cells = {}, []
    for names, old, new, counted in (
        (encoder.categorical, before.categorical.numpy(), after.categorical.numpy(), category_counts),
        (encoder.numeric_names, before.numeric.numpy(), after.numeric.numpy(), number_counts),
    ):
        for i, name in enumerate(names):
            counts = counted(old[:, i], new[:, i])
            index[name] = float(stability_index(*counts))
            cells.append(int(((counts[0] > 0) | (counts[1] > 0)).sum()))
    p = of_change(np.array(cells), np.array(list(index.values())), len(after.label), len(before.label))
    moved = adjusted(p) <= LEVEL
    at_first = first.predictions("test")["score"].to_numpy()
    return {
        "scores": float(stability_index(*number_counts(at_first, now, _SCORE_BINS))),
        "columns": index,
        "moved": [name for name, far in zip(index, moved, strict=True) if far],
    }


def with_threads(backtest: Backtest, threads: int) -> Backtest:
    """A backtest whose fits and scores take so many threads where its settings name no number."""
    config = backtest.config
    return backtest if config.threads else replace(backtest, config=replace(config, threads=threads))
