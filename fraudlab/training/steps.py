"""The steps that the commands train and pretrain share: the fits of a run, what is measured of them, its end."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from fraudlab.config import FitConfig, TrainConfig
from fraudlab.data.prepared import PreparedTable
from fraudlab.data.splits.contract import RowSplit
from fraudlab.files import write_json
from fraudlab.models.registry import MODELS
from fraudlab.runs.folder import RunFolder
from fraudlab.runs.predictions import split_metrics
from fraudlab.runs.provenance import peak_memory_bytes
from fraudlab.runs.settings import config_yaml
from fraudlab.runs.slices import check_slices, measure_slices, rows_of, write_slices
from fraudlab.training import resume
from fraudlab.training.checks import check_settings
from fraudlab.training.fit import Fit, fit, refits
from fraudlab.training.pretrained import Pretrained
from fraudlab.training.scoring import predict_parts
from fraudlab.training.tracking import Tracked
from fraudlab.training.trainer import use_threads

log = logging.getLogger(__name__)

Config = TypeVar("Config", bound=FitConfig)


def open_run(config: Config, command: str, given: Sequence[str]) -> tuple[RunFolder, Config, Pretrained | None]:
    """The run that ``config.resume`` names, or a new one in ``paths.output_dir``; its settings; what it starts from.

    Unless the run has ended, its settings are checked and PyTorch computes on its number of threads.

    Args:
        config: settings of this command.
        command: which command that is.
        given: its overrides, as it says them.

    Raises:
        UserError: settings contradict each other, there is no run to go on with, or the new folder holds one.
    """
    run = None
    if config.resume:
        run, config = resume.settings(config, command, given)
        if run.metrics_path.is_file():
            return run, config, None
    check_settings(config, given)
    use_threads(config.threads)
    pretrained = Pretrained.load(config)
    return run or RunFolder.start(Path(config.paths.output_dir), config_yaml(config)), config, pretrained


@dataclass(frozen=True)
class Fits:
    """The fit that validation judges and the one that is tested; one and the same without a refit."""

    selection: Fit
    tested: Fit


def fit_models(
    config: TrainConfig,
    table: PreparedTable,
    split: RowSplit,
    run: RunFolder,
    pretrained: Pretrained | None,
    tested_from: Pretrained | None = None,
) -> Fits:
    """Fit the model that validation judges and, where the split has later rows for it, the tested one.

    Both start from ``pretrained``; or the tested one from ``tested_from``.
    """
    check_slices(table, config.slices)
    refit = refits(config, split)
    folder = run.selection if refit else run.final
    selection = fit(config, table, split.selection_train, split.validation, folder, pretrained=pretrained)
    if not refit:
        return Fits(selection, selection)
    step = MODELS[config.model.name].step
    length = f" for {selection.best_epoch} {step}{'s' * (selection.best_epoch != 1)}" if step else ""
    log.info("fitting the tested model on %d rows%s", len(split.train), length)
    last = selection.best_epoch, tested_from or pretrained, selection.auto
    return Fits(selection, fit(config, table, split.train, None, run.final, *last))


def score_and_measure(
    config: TrainConfig, table: PreparedTable, split: RowSplit, run: RunFolder, fits: Fits
) -> dict[str, Any]:
    """Write the run's predictions; gives the content of ``metrics.json``."""
    began = time.perf_counter()
    predictions = predict_parts(config, table, split, run, ("val", "test", "recent") if config.test else ("val",))
    seconds = time.perf_counter() - began
    for part, frame in predictions.items():
        run.write_predictions(part, frame)
        write_slices(run, part, table, rows_of(split, part), config.slices)
    measure_slices(run, predictions)
    selection, tested = fits.selection, fits.tested
    return {
        **split_metrics(predictions, config.admin_cost, config.recovery_share),
        "train": {
            "seconds": selection.seconds + (0.0 if tested is selection else tested.seconds),
            "epochs": tested.epochs,
            "best_epoch": selection.best_epoch,
            "rows": tested.rows,
            "rows_per_second": tested.rows * tested.epochs / tested.seconds,
            "rows_scored_per_second": sum(map(len, predictions.values())) / seconds,  # encoding included
            "peak_memory_bytes": peak_memory_bytes(),
        },
    }


def finish(run: RunFolder, tracked: Tracked, facts: Mapping[str, Any], metrics: Mapping[str, Any]) -> None:
    """Complete ``run.json``, then write ``metrics.json``, by which the run is finished, and send both."""
    run.write_provenance(facts)
    write_json(run.metrics_path, metrics)
    tracked.metrics(metrics)
    tracked.artifact("model", run.path, "checkpoints", "encoder", "config.yaml", "metrics.json")
