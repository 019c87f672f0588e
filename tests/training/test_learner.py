"""The learner trains any network of the contract and its checkpoints hold plain data."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from fraudlab.config import MLPConfig, TabNetConfig
from fraudlab.data.batches import Batch, Batches
from fraudlab.data.datamodule import FraudDataModule
from fraudlab.errors import UserError
from fraudlab.training.checkpoints import load_checkpoint
from fraudlab.training.learner import FraudLearner
from fraudlab.training.scoring import load_network, score
from tests.support.learners import learner, rows


def fit(model: MLPConfig | TabNetConfig, folder: Path) -> tuple[FraudLearner, L.Trainer]:
    L.seed_everything(0, verbose=False)
    trainer = L.Trainer(
        max_epochs=8, accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        default_root_dir=folder, enable_checkpointing=False, deterministic=True,
    )  # fmt: skip
    made = learner(model)
    trainer.fit(
        made, datamodule=FraudDataModule(rows(2000, 0), rows(500, 1), batch_size=200, eval_batch_size=77, seed=0)
    )
    return made, trainer


@pytest.mark.parametrize(
    "model", [MLPConfig(hidden=[16]), TabNetConfig(virtual_batch_size=100, momentum=0.3)], ids=["mlp", "tabnet"]
)
def test_learns_logs_the_exact_figure_and_survives_a_checkpoint(
    model: MLPConfig | TabNetConfig, tmp_path: Path
) -> None:
    trained, trainer = fit(model, tmp_path)
    validation = rows(500, 1)
    scores = score(trained.network, validation, 64)
    logged = float(trainer.callback_metrics["val/average_precision"])
    assert logged == pytest.approx(average_precision_score(validation.label.numpy(), scores), abs=1e-6)
    assert logged > 0.8
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    assert np.array_equal(score(load_network(tmp_path / "model.ckpt"), validation, 64), scores)
    rebuild, _ = load_checkpoint(tmp_path / "model.ckpt")
    assert rebuild == {"model": asdict(model), "cardinalities": [4], "num_numeric": 3}


def test_scores_do_not_depend_on_the_batch_size() -> None:
    network = learner(TabNetConfig(virtual_batch_size=128)).network
    assert np.allclose(score(network, rows(100, 2), 7), score(network, rows(100, 2), 100), atol=1e-6)


def test_the_same_seed_gives_the_same_weights(tmp_path: Path) -> None:
    first, second = (fit(MLPConfig(hidden=[16]), tmp_path)[0].network.state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_broken_checkpoints_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.ckpt"
    with pytest.raises(UserError, match="there is no checkpoint"):
        load_checkpoint(path)
    path.write_bytes(b"half of a file")
    with pytest.raises(UserError, match="cannot be read as a checkpoint"):
        load_checkpoint(path)
    torch.save({"state_dict": {}, "rebuild": Path("an object")}, path)
    with pytest.raises(UserError, match="cannot be read as a checkpoint"):
        load_checkpoint(path)


def test_a_ghost_batch_counts_rows_of_a_process() -> None:
    """Where a process's piece is whole ghost batches, the mean of the processes' gradients is the one of the batch.

    Both pieces hold the same rows, since the norm of the inputs, which is no ghost batch norm, sees a piece too.
    """
    half, model = rows(200, 3), TabNetConfig(virtual_batch_size=50)
    data = Batch(*(torch.cat([part, part]) for part in half))

    def gradients(rank: int, num_ranks: int) -> list[torch.Tensor]:
        torch.manual_seed(0)
        made = learner(model).double()
        (batch,) = Batches(data, 400, rank=rank, num_ranks=num_ranks)
        made.training_loss(batch._replace(numeric=batch.numeric.double(), weight=batch.weight.double())).backward()
        return [parameter.grad for parameter in made.parameters() if parameter.grad is not None]

    whole, *pieces = gradients(0, 1), gradients(0, 2), gradients(1, 2)
    assert whole
    for one, first, second in zip(whole, *pieces, strict=True):
        assert torch.allclose(one, (first + second) / 2, atol=1e-12)


def test_accumulated_halves_are_a_batch(tmp_path: Path) -> None:
    ends = []
    for batch_size, accumulate in ((200, 1), (100, 2)):
        L.seed_everything(0, verbose=False)
        made = learner(MLPConfig(hidden=[16], dropout=0.0, batch_norm=False))
        trainer = L.Trainer(
            max_epochs=3, accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
            default_root_dir=tmp_path, enable_checkpointing=False, accumulate_grad_batches=accumulate,
            precision="64-true",
        )  # fmt: skip
        trainer.fit(
            made, datamodule=FraudDataModule(rows(2000, 0), None, batch_size=batch_size, eval_batch_size=1, seed=0)
        )
        assert trainer.global_step == 30
        ends.append(made.network.state_dict())
    assert all(torch.allclose(ends[0][name], ends[1][name], atol=1e-10) for name in ends[0])


class Losses(L.Callback):
    def __init__(self) -> None:
        self.taken: list[float] = []

    def on_train_batch_end(self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, *_: Any) -> None:
        self.taken.append(float(outputs["loss"]))


def test_the_loss_of_an_epoch_that_max_steps_cuts_short_is_the_mean_of_its_batches(tmp_path: Path) -> None:
    losses = Losses()
    trainer = L.Trainer(
        max_steps=13, accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        default_root_dir=tmp_path, enable_checkpointing=False, callbacks=[losses],
    )  # fmt: skip
    module = FraudDataModule(rows(2000, 0), None, batch_size=200, eval_batch_size=1, seed=0)
    trainer.fit(learner(MLPConfig(hidden=[16])), datamodule=module)
    assert len(losses.taken) == 13
    assert float(trainer.callback_metrics["train/loss"]) == pytest.approx(np.mean(losses.taken[-3:]), abs=1e-6)
