"""The best epoch is the best of those that count."""

from pathlib import Path

import lightning.pytorch as L
import pytest
import torch

from fraudlab.config import MLPConfig
from fraudlab.data.datamodule import FraudDataModule
from fraudlab.training.callbacks import BestCheckpoint
from tests.support.learners import learner, rows


class Curve(L.Callback):
    """Average precision of each epoch."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.values.append(float(trainer.callback_metrics["val/average_precision"]))


@pytest.mark.parametrize(("after", "stop", "first"), [(0.0, 10, 0), (0.7, 10, 7), (0.7, 4, 0)])
def test_only_late_epochs_count_once_there_are_any(
    after: float, stop: int, first: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Labels are drawn, so that average precision wanders; a fit that ends early has its best epoch too."""
    L.seed_everything(0, verbose=False)
    caplog.set_level("INFO")
    train, validation = (rows(300, seed)._replace(label=torch.randint(0, 2, (300,))) for seed in (0, 1))
    best, curve = BestCheckpoint(dirpath=tmp_path, after=after), Curve()
    trainer = L.Trainer(
        max_epochs=10, max_steps=3 * stop, accelerator="cpu", logger=False, callbacks=[curve, best],
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    data = FraudDataModule(train, validation, batch_size=100, eval_batch_size=300, seed=0)
    trainer.fit(learner(MLPConfig(hidden=[16], batch_norm=False)), datamodule=data)
    assert len(curve.values) == stop
    late = curve.values[first:]
    saved = torch.load(best.best_model_path, weights_only=True)
    assert saved["epoch"] == first + late.index(max(late))
    assert ("no epoch before 70 % of the fit counts" in caplog.text) is (max(late) < max(curve.values))
