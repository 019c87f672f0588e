"""Curves go on after the step of a checkpoint, whatever the killed fit wrote later and wherever a kill cut the file."""

import csv
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fraudlab.training.loggers import loggers


def settings(folder: Path) -> dict:
    written = {
        name: {"_target_": f"lightning.pytorch.loggers.{logger}", "save_dir": str(folder), "name": "", "version": name}
        for name, logger in (("csv", "CSVLogger"), ("tensorboard", "TensorBoardLogger"))
    }
    return {**written, "wandb": None}


def log(folder: Path, before: Path | None, steps: range, metric: float) -> None:
    for logger in loggers(settings(folder), before):
        for step in steps:
            logger.log_metrics({"loss": metric} if step % 2 else {"precision": metric}, step)
        logger.save()
        logger.finalize("success")


@pytest.mark.parametrize("cut", [False, True])
def test_lines_after_the_checkpoint_are_written_again(tmp_path: Path, cut: bool) -> None:
    log(tmp_path, None, range(13), 1.0)
    path = tmp_path / "csv" / "metrics.csv"
    if cut:  # within the number of the last step
        text = path.read_bytes()
        path.write_bytes(text[: text.rindex(b"12") + 1])
    before = tmp_path / "last.ckpt"
    torch.save({"global_step": 5}, before)
    if cut:  # a kill right after the file was put aside
        path.rename(tmp_path / "csv.before.csv")
    log(tmp_path, before, range(5, 8), 2.0)
    lines = list(csv.DictReader(path.open()))
    assert [int(line["step"]) for line in lines] == list(range(8))
    assert [float(line["loss"] or line["precision"]) for line in lines] == [1.0] * 5 + [2.0] * 3
    assert sorted(file.name for file in tmp_path.iterdir()) == ["csv", "last.ckpt", "tensorboard"]
    shown = EventAccumulator(str(tmp_path / "tensorboard"), purge_orphaned_data=True).Reload().Scalars("loss")
    assert [(point.step, point.value) for point in shown] == [(1, 1.0), (3, 1.0), (5, 2.0), (7, 2.0)]
    log(tmp_path, None, range(2), 3.0)
    assert len(path.read_text().splitlines()) == 3
