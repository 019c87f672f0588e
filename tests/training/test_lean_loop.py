"""Steps of the lean loop against Lightning's own, bit for bit."""

from typing import Any

import lightning.pytorch as L
import pytest
import torch

from fraudlab.config import MLPConfig
from fraudlab.data.datamodule import FraudDataModule
from fraudlab.training.lean_loop import LeanLoop, nothing_inside_a_step
from tests.support.learners import ONE_CYCLE, learner, rows


class Watching(L.Callback):
    """What Lightning tells at the end of each batch."""

    def __init__(self) -> None:
        self.told: list[tuple[int, int, float, float]] = []

    def on_train_batch_end(self, trainer: L.Trainer, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.told.append(
            (batch_idx, trainer.global_step, float(outputs["loss"]), trainer.optimizers[0].param_groups[0]["lr"])
        )
        module.log("batch", float(batch_idx), on_step=True, on_epoch=False)


class Inside(L.Callback):
    def on_before_zero_grad(self, trainer: L.Trainer, module: L.LightningModule, optimizer: Any) -> None:
        pass


class Stops(L.Callback):
    def on_train_batch_end(self, trainer: L.Trainer, *args: Any) -> None:
        trainer.should_stop = trainer.global_step == 11


def fit(optimizer: str, loop: bool, *more: L.Callback, **settings: Any) -> tuple[Any, Any, bool]:
    L.seed_everything(0, verbose=False)
    model, schedule = MLPConfig(hidden=[8], dropout=0.3), {**ONE_CYCLE, "cycle_momentum": False}
    fitted = learner(model, schedule, {"_target_": f"torch.optim.{optimizer}", "lr": 0.01})
    watching = Watching()
    trainer = L.Trainer(
        max_epochs=3, accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        enable_checkpointing=False, callbacks=[watching, Stops(), *more], **settings,
    )  # fmt: skip
    if loop:
        trainer.fit_loop.epoch_loop = LeanLoop(trainer, trainer.min_steps, trainer.max_steps)
    trainer.fit(fitted, datamodule=FraudDataModule(rows(90, 0), rows(30, 1), batch_size=15, eval_batch_size=30, seed=0))
    checkpoint = trainer._checkpoint_connector.dump_checkpoint()
    lean = isinstance(trainer.fit_loop.epoch_loop, LeanLoop) and nothing_inside_a_step(trainer)
    return watching.told, {**checkpoint, "metrics": dict(trainer.callback_metrics)}, lean


def same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


@pytest.mark.parametrize(
    ("optimizer", "settings"),
    [
        ("AdamW", {"gradient_clip_val": 0.5}),
        ("LBFGS", {"gradient_clip_val": 0.01, "gradient_clip_algorithm": "value"}),
    ],
)
def test_steps_and_checkpoints_are_those_of_lightning(optimizer: str, settings: dict[str, Any]) -> None:
    lean, hooked = fit(optimizer, True, **settings), fit(optimizer, True, Inside(), **settings)
    lightning = fit(optimizer, False, **settings)
    assert [lean[2], hooked[2]] == [True, False]
    assert len(lean[0]) == 11
    assert same(lean[:2], lightning[:2])
    assert same(hooked[:2], lightning[:2])


def test_a_trainer_that_asks_for_more_has_its_own_steps() -> None:
    for settings in ({"accumulate_grad_batches": 2}, {"precision": "64-true"}, {"profiler": "simple"}):
        assert not fit("AdamW", True, **settings)[2]
