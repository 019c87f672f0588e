"""A fit takes the epochs and the rows that it is told to, and says in words what cannot be."""

from pathlib import Path
from typing import Any

import lightning.pytorch as L
import numpy as np
import polars as pl
import pytest

from fraudlab import config
from fraudlab.data.batches import Batch
from fraudlab.data.datamodule import FraudDataModule
from fraudlab.errors import UserError
from fraudlab.training.checks import check_settings
from fraudlab.training.fit import fit, pretrain
from fraudlab.training.scoring import load_network
from tests.support.fits import TRAIN, VALIDATION, settings, table
from tests.support.learners import learner

pytestmark = pytest.mark.usefixtures("hydra_conf")


def test_the_tested_model_has_as_many_epochs_as_were_best(tmp_path: Path) -> None:
    """However many trainer.min_epochs and min_steps ask of the fit that is watched on validation."""
    made = settings("train", tmp_path, "trainer.min_epochs=3", "+trainer.min_steps=7", "trainer.max_epochs=5")
    done = fit(made, table(made, tmp_path), TRAIN, None, tmp_path / "fit", stop_after=2)
    assert (done.epochs, done.best_epoch) == (2, 2)


def test_a_pretraining_that_diverges_says_so(tmp_path: Path) -> None:
    reckless = ["optimizer.lr=1e30", "scheduler=constant", "trainer.gradient_clip_val=null", "callbacks.ema=null"]
    made = settings("pretrain", tmp_path, *reckless)
    with pytest.raises(UserError, match="training diverged in epoch 1: .* lower optimizer.lr"):
        pretrain(made, table(made, tmp_path), TRAIN, VALIDATION, tmp_path / "fit")


def test_a_schedule_that_looks_at_a_validation_needs_one_in_each_fit(tmp_path: Path) -> None:
    plateau = ("split=time_windows", "scheduler=plateau")
    with pytest.raises(UserError, match=r"scheduler.monitor=val/average_precision needs a validation"):
        check_settings(settings("train", tmp_path, *plateau))
    for no_second_fit in ("refit=false", "test=false"):
        check_settings(settings("train", tmp_path, *plateau, no_second_fit))


def test_the_pieces_of_an_embedding_are_of_training_rows(tmp_path: Path) -> None:
    pieces = ("model=mlp", "model.embedding=piecewise_linear", "model.bins=4", "features.encoder.scaling=standard")
    made = settings("train", tmp_path, *pieces)
    rows = table(made, tmp_path)
    fit(made, rows, TRAIN, VALIDATION, tmp_path / "fit")
    embedding = load_network(tmp_path / "fit" / "checkpoints" / "best.ckpt").numeric_embedding
    for column, name in enumerate(("number", "other")):
        number = pl.read_csv(tmp_path / "t.csv")[name].to_numpy()[TRAIN]
        edges = np.quantile((number - number.mean()) / number.std(), np.linspace(0, 1, 5))
        assert np.allclose(-embedding.offset[column] / embedding.slope[column], edges[:-1], atol=1e-4)


class Seen(L.Callback):
    """Which rows an epoch trained on: their first number tells them apart."""

    def __init__(self) -> None:
        self.rows: list[set[float]] = []

    def on_train_epoch_start(self, *_: Any) -> None:
        self.rows.append(set())

    def on_train_batch_start(self, trainer: L.Trainer, module: Any, batch: Batch, batch_idx: int) -> None:
        self.rows[-1] |= set(batch.numeric[:, 0].tolist())


@pytest.mark.parametrize("debug", ["overfit", "limit"])
def test_the_rows_to_learn_by_heart_are_the_same_every_epoch(debug: str, tmp_path: Path) -> None:
    draw, seen = np.random.default_rng(0), Seen()
    rows = Batch.of(np.zeros((1200, 1), int), draw.standard_normal((1200, 3)).astype(np.float32), np.arange(1200) % 2)
    asked = settings("train", tmp_path, f"debug={debug}").trainer
    few = {key: value for key, value in asked.items() if "batches" in key}
    trainer = L.Trainer(
        max_epochs=3, accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        default_root_dir=tmp_path, enable_checkpointing=False, callbacks=[seen], **few,
    )  # fmt: skip
    trainer.fit(
        learner(config.MLPConfig(hidden=[4])),
        datamodule=FraudDataModule(rows, rows, batch_size=20, eval_batch_size=200, seed=0),
    )
    assert [len(epoch) for epoch in seen.rows] == [60, 60, 60]
    assert (seen.rows[0] == seen.rows[1] == seen.rows[2]) == (debug == "overfit")
