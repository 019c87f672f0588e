"""A fit killed before any of its batches and taken up from ``last.ckpt`` ends bit for bit as one never killed."""

import os
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping, EMAWeightAveraging

from fraudlab.config import MLPConfig, TabMConfig, TabNetConfig
from fraudlab.data.datamodule import FraudDataModule
from fraudlab.training.callbacks import BestCheckpoint, LastCheckpoint
from fraudlab.training.checkpoints import CheckpointFiles, newest_whole
from tests.support.learners import ADAMW, ONE_CYCLE, learner, rows
from tests.support.resumed import compared, differences

pytestmark = pytest.mark.long

PLATEAU = {
    "_target_": "torch.optim.lr_scheduler.ReduceLROnPlateau", "interval": "epoch", "patience": 0, "mode": "max",
    "monitor": "val/average_precision", "factor": 0.5,
}  # fmt: skip
DROPOUT = MLPConfig(hidden=[8], dropout=0.5)
TABM = TabMConfig(k=3, hidden=[8, 8], dropout=0.5)
MUON = {"_target_": "fraudlab.training.muon.Muon", "decay": "matrices", "lr": 0.01}
TABNET = TabNetConfig(n_d=4, n_a=4, n_steps=2, virtual_batch_size=20)
BATCHES = 5


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """These networks are too small to share."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Killed(Exception):
    pass


class KilledAt(L.Callback):
    """Ends a fit before its batch number ``at``, of all epochs together, or asks it to end."""

    def __init__(self, at: int | None, *, sigterm: bool) -> None:
        self.at = at
        self.sigterm = sigterm

    def on_train_batch_start(self, trainer: L.Trainer, module: Any, batch: Any, batch_idx: int) -> None:
        if self.at is not None and trainer.current_epoch * BATCHES + batch_idx == self.at:
            if not self.sigterm:
                raise Killed
            os.kill(os.getpid(), signal.SIGTERM)


def fit(folder: Path, at: int | None = None, *, model: Any = TABNET, scheduler: Any = ONE_CYCLE, ema: bool = True,
        optimizer: Any = ADAMW, last: LastCheckpoint | None = None, sigterm: bool = False,
        **settings: Any) -> tuple[dict[str, Any], LastCheckpoint]:  # fmt: skip
    """Fit, from the newest checkpoint in ``folder`` if there is one; gives the state that the fit ends with."""
    before = newest_whole(folder)
    L.seed_everything(0, verbose=False)
    last = last or LastCheckpoint(every_n_minutes=None, every_n_steps=1)
    best = BestCheckpoint(dirpath=folder)
    last.dirpath = str(folder)
    killed = KilledAt(at, sigterm=sigterm)
    callbacks = [killed, EarlyStopping("val/average_precision", mode="max", patience=5), best, last]
    trainer = L.Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False, deterministic=True,
        callbacks=[*callbacks, *([EMAWeightAveraging(decay=0.9)] if ema else [])], num_sanity_val_steps=0,
        default_root_dir=folder, plugins=[CheckpointFiles()], **{"max_epochs": 4, **settings},
    )  # fmt: skip
    module = FraudDataModule(rows(BATCHES * 40, 0), rows(100, 1), batch_size=40, eval_batch_size=50, seed=0)
    trainer.fit(learner(model, scheduler, optimizer), datamodule=module, ckpt_path=before, weights_only=True)
    trainer.save_checkpoint(folder / "end.ckpt")
    end = torch.load(folder / "end.ckpt", weights_only=True)
    return {**end, "best": torch.load(best.best_model_path, weights_only=True)["state_dict"]}, last


@pytest.mark.parametrize(
    "settings",
    [
        {"model": DROPOUT, "ema": False},
        {"scheduler": PLATEAU, "model": DROPOUT},
        {"accumulate_grad_batches": 2},
        {"model": TABM, "optimizer": MUON, "scheduler": {**ONE_CYCLE, "cycle_momentum": False}},
        {"max_steps": 13, "max_epochs": -1},
        {"check_val_every_n_epoch": 2, "model": DROPOUT},
        {"val_check_interval": 2},
        {"limit_train_batches": 4, "scheduler": PLATEAU},
    ],
    ids=lambda settings: ",".join(map(str, settings)),
)
def test_settings_that_change_the_steps_survive_a_kill(settings: dict[str, Any], tmp_path: Path) -> None:
    assert_same(tmp_path, (3, 7, 10), settings)


def test_wherever_it_is_killed_it_ends_the_same(tmp_path: Path) -> None:
    assert_same(tmp_path, range(1, 20), {})


def assert_same(tmp_path: Path, kills: Iterable[int], settings: dict[str, Any]) -> None:
    (tmp_path / "whole").mkdir()
    expected = compared(fit(tmp_path / "whole", **settings)[0])
    for at in kills:
        folder = tmp_path / str(at)
        folder.mkdir()
        with pytest.raises(Killed):
            fit(folder, at, **settings)
        state, _ = fit(folder, **settings)
        assert differences(expected, compared(state)) == [], f"killed before batch {at}"


@pytest.mark.parametrize("settings", [{"limit_train_batches": 1}, {"limit_train_batches": 2, "val_check_interval": 1}])
def test_sigterm_ends_a_fit_whose_epochs_have_no_place_to_save(settings: dict[str, Any], tmp_path: Path) -> None:
    last = LastCheckpoint()
    with pytest.raises(SystemExit):
        fit(tmp_path, BATCHES, last=last, sigterm=True, model=DROPOUT, **settings)
    assert last.stopped
    best = torch.load(tmp_path / "best.ckpt", weights_only=True)
    assert best["epoch"] <= 1
    assert newest_whole(tmp_path) is None
    state, last = fit(tmp_path, 3 * BATCHES, sigterm=True, model=DROPOUT, **settings)
    assert state["global_step"] == 4 * settings["limit_train_batches"]
    assert last.stopped
