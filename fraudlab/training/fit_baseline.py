"""One fit of a baseline: batches in, a folder with its file out; and scores from that file."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from fraudlab.config import TrainConfig
from fraudlab.config.plumbing import plumbing
from fraudlab.data.batches import Batch
from fraudlab.errors import UserError
from fraudlab.files import replacing, sha256_of, write_text
from fraudlab.models.contract import Estimator, Examples
from fraudlab.models.registry import MODELS, estimator_class
from fraudlab.training.trial import Pruned, should_prune

REPORTS = 50
"""So often at most does a trial of a sweep report its curve: asking each round would take longer than the round."""
_SHA256 = "best.sha256"  # of the model's file


def fit(
    config: TrainConfig,
    train: Batch,
    validation: Batch | None,
    cardinalities: Sequence[int],
    folder: Path,
    rounds: int | None,
) -> tuple[int, int, Mapping[str, Any]]:
    """Fit the baseline that ``config.model`` names and leave it in ``folder/checkpoints``.

    Args:
        config: the whole run's settings.
        train: rows to learn from.
        validation: rows to choose the best round on; None to take the last one.
        cardinalities: number of ids of each categorical column.
        folder: gets ``checkpoints/best.<what the library writes>`` and ``checkpoints/best.sha256``.
        rounds: how many rounds to boost; None for the setting's. Without a meaning where there are no rounds.

    Returns:
        Rounds done, the best one, and settings of the model that were chosen on validation, by key.

    Raises:
        UserError: the library is not installed, or ``train`` holds one class only.
    """
    if len(train.label.unique()) < 2:
        raise UserError(f"the {len(train.label)} training rows are all of one class; choose split= so that both occur")
    model = estimator_class(config.model.name)
    settings = config.model
    if getattr(settings, "threads", None) == 0:
        settings = replace(settings, threads=torch.get_num_threads())  # as training.trainer.use_threads has set it
    bound = MODELS[settings.name].rounds
    if rounds is not None and bound is not None:
        settings = replace(settings, **{bound: rounds})
    curve: list[float] = []
    silent = not config.trainer["enable_progress_bar"]
    most = None if bound is None else getattr(settings, bound)
    every = max(1, (most or 0) // REPORTS)
    with tqdm(total=most, desc=settings.name, unit="round", disable=silent) as progress:

        def on_round(metric: float) -> None:
            curve.append(metric)
            progress.set_postfix_str(f"val/average_precision={metric:.4f}", refresh=False)
            progress.update()
            if len(curve) % every == 0 and should_prune(len(curve), metric):
                raise Pruned

        fitted = model.fit(
            _examples(train),
            None if validation is None else _examples(validation),
            cardinalities,
            settings,
            fraud_weight=config.loss.fraud_weight,
            seed=config.seed,
            on_round=on_round,
        )
    with replacing(folder / "checkpoints" / model.FILE) as aside:
        fitted.save(aside)
        # Ahead of the model itself, so that no crash between the two leaves a model that cannot be checked.
        write_text(folder / "checkpoints" / _SHA256, sha256_of(aside))
    if curve:
        _log(config, curve)
    return max(len(curve), fitted.rounds), fitted.rounds, getattr(fitted, "chosen", {})


def load(name: str, folder: Path) -> Estimator:
    """What :func:`fit` left in ``folder``.

    Raises:
        UserError: the file is missing or broken.
    """
    model = estimator_class(name)
    path = folder / "checkpoints" / model.FILE
    expected = folder / "checkpoints" / _SHA256
    if not (path.is_file() and expected.is_file()):
        raise UserError(f"there is no model {path} with its {_SHA256}; train again")
    if sha256_of(path) != expected.read_text(encoding="utf-8"):
        # Not left to the libraries: some end the whole process on a broken file.
        raise UserError(f"{path} is not the file that was saved: it is broken or changed; copy it again or train again")
    return model.load(path)


def score(name: str, rows: Batch, folder: Path) -> np.ndarray:
    """Fraud probability of every row, float32 [rows], by what :func:`load` gives."""
    return load(name, folder).score(rows.categorical.numpy(), rows.numeric.numpy())


def _examples(batch: Batch) -> Examples:
    weight = None if (batch.weight == 1).all() else batch.weight.numpy()
    return Examples(batch.categorical.numpy(), batch.numeric.numpy(), batch.label.numpy(), weight)


def _log(config: TrainConfig, curve: Sequence[float]) -> None:
    """Write the curve to the loggers that networks write theirs to; a round stands where they have an epoch."""
    for settings in (config.logger or {}).values():
        if settings:
            logger = plumbing(settings)
            for step, metric in enumerate(curve):
                logger.log_metrics({"epoch": step, "val/average_precision": metric}, step=step)
            logger.save()
            logger.finalize("success")
