"""The loggers of a fit, which go on with the curves of a fit that was killed: no line twice, none lost."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only

from fraudlab.config.plumbing import plumbing


def loggers(settings: Mapping[str, Any] | None, before: Path | None) -> list[Logger]:
    """The loggers of ``settings`` (``logger=...``).

    Args:
        settings: by name, the settings of each; null for one that is left out.
        before: the checkpoint that the fit goes on from: curves go on after its step. None for a fit from its start.
    """
    step = 0 if before is None else torch.load(before, map_location="meta", weights_only=True)["global_step"]
    made = []
    for wanted in (settings or {}).values():
        if not wanted:
            continue
        if wanted["_target_"].endswith(f".{TensorBoardLogger.__name__}"):
            made.append(plumbing(wanted, purge_step=step))  # later steps, of the killed fit, are not shown
            continue
        logger = plumbing(wanted)
        if isinstance(logger, CSVLogger):
            _keep_lines(logger, step)
        made.append(logger)
    return made


@rank_zero_only
def _keep_lines(logger: CSVLogger, step: int) -> None:
    """Keep the lines of the steps before ``step``; a new logger would throw the whole file away."""
    path = Path(logger.log_dir) / "metrics.csv"
    aside = Path(f"{logger.log_dir}.before.csv")
    if path.exists() and not aside.exists():  # or else a fit was killed right here
        path.replace(aside)
    if not aside.exists():
        return
    lines = aside.read_text(encoding="utf-8").splitlines(keepends=True)
    whole = [line for line in lines if line.endswith("\n")]  # the last one may have been cut by the kill
    kept = [line for line in csv.DictReader(whole) if int(line["step"]) < step]
    logger.experiment.metrics = [{key: value for key, value in line.items() if value} for line in kept]
    logger.save()
    aside.unlink()
