"""Settings that contradict each other are refused in one message, before work where that can be known."""

from pathlib import Path
from typing import Any

import hydra
import pytest

from fraudlab import config
from fraudlab.errors import UserError
from fraudlab.training.checks import LOGGED, check_settings, check_steps
from fraudlab.training.fit import fit, pretrain
from tests.support.fits import TRAIN, VALIDATION, settings, table

pytestmark = [pytest.mark.usefixtures("hydra_conf"), pytest.mark.long]


def train(folder: Path, *overrides: str) -> Any:
    """A fit of a perceptron, in 3 steps an epoch."""
    made = settings("train", folder, "model=mlp", *overrides)
    check_settings(made)
    return fit(made, table(made, folder), TRAIN, VALIDATION, folder / "fit")


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ("trainer.max_epochs=2 trainer.check_val_every_n_epoch=5", "check_val_every_n_epoch=5: no epoch of .*epochs=2"),
        ("trainer.max_epochs=2 +callbacks.checkpoint.every_n_epochs=3", "every_n_epochs=3: no epoch of .*max_epochs=2"),
        (
            "trainer.max_epochs=5 trainer.check_val_every_n_epoch=2 +callbacks.checkpoint.every_n_epochs=3",
            "check_val_every_n_epoch=2 and .*every_n_epochs=3",
        ),
        (
            "experiment=none trainer.max_epochs=11 trainer.check_val_every_n_epoch=6",
            "checkpoint.after=0.7: no epoch after 7 of trainer.max_epochs=11 .* set trainer.check_val_every_n_epoch=1",
        ),
        ("+trainer.fast_dev_run=true", "use debug=fast"),
        ("trainer.max_epochs=0", "trainer.max_epochs=0 leaves nothing"),
        ("trainer.max_steps=0", "trainer.max_steps=0 leaves nothing"),
        ("trainer.limit_val_batches=0", "trainer.limit_val_batches=0 leaves nothing"),
        ("callbacks.early_stopping.monitor=val/loss", "is not logged; it is one of: val/average_precision, train/loss"),
        ("+callbacks.checkpoint.monitor=val/roc_auc", "callbacks.checkpoint.monitor=val/roc_auc is not logged"),
        ("scheduler=plateau scheduler.monitor=val/loss split=random", "scheduler.monitor=val/loss is not logged"),
        ("callbacks.early_stopping.mode=min", "takes the worst val/average_precision as the best; use mode=max"),
    ],
)  # fmt: skip
def test_a_contradiction_is_refused(tmp_path: Path, overrides: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        check_settings(settings("train", tmp_path, *overrides.split()))


@pytest.mark.parametrize("also", ["scheduler=constant", "callbacks.checkpoint.after=0", "trainer.max_epochs=12"])
def test_a_late_validation_is_needed_where_early_ones_do_not_count(tmp_path: Path, also: str) -> None:
    given = ("experiment=none", "trainer.max_epochs=11", "trainer.check_val_every_n_epoch=6", also)
    check_settings(settings("train", tmp_path, *given))


@pytest.mark.parametrize("after", ["-0.1", "1", "70"])
def test_a_share_of_the_epochs_is_one(tmp_path: Path, after: str) -> None:
    with pytest.raises(UserError, match=rf"after={after} must lie in \[0, 1\)"):
        train(tmp_path, f"callbacks.checkpoint.after={after}")


def test_a_rate_that_does_not_fall_lets_all_epochs_count(tmp_path: Path) -> None:
    """At such a rate the network only gets worse: the first epoch is the best one."""
    worse = ("experiment=none", "optimizer.lr=3", "trainer.max_epochs=10", "callbacks.early_stopping=null", "seed=1")
    curves = {}
    for scheduler in ("constant", "one_cycle"):
        (folder := tmp_path / scheduler).mkdir()
        curves[scheduler] = train(folder, *worse, f"scheduler={scheduler}").best_epoch
    assert curves["constant"] <= 7 < curves["one_cycle"]


def test_pretraining_is_watched_by_what_it_logs(tmp_path: Path) -> None:
    check_settings(settings("pretrain", tmp_path))
    with pytest.raises(UserError, match="one of: val/reconstruction_loss, train/loss"):
        check_settings(settings("pretrain", tmp_path, "callbacks.early_stopping.monitor=val/average_precision"))


@pytest.mark.parametrize("seed", ["-1", str(2**31), str(2**64)])
def test_a_seed_that_some_library_does_not_take_is_refused(tmp_path: Path, seed: str) -> None:
    with pytest.raises(UserError, match=f"seed={seed} is out of range"):
        settings("train", tmp_path, f"seed={seed}")


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ("trainer.max_epochs=-1", "trainer.max_epochs=-1 sets no end; .*scheduler=constant"),
        ("trainer.max_steps=2", "trainer.max_steps=2 ends the fit before its first validation, after 3 steps"),
        ("trainer.max_steps=5 trainer.check_val_every_n_epoch=2", "after 6 steps"),
    ],
)
def test_a_number_of_steps_that_cannot_work_is_refused(tmp_path: Path, overrides: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        check_steps(settings("train", tmp_path, *overrides.split()), len(TRAIN))


@pytest.mark.parametrize(
    "overrides", ["trainer.max_epochs=-1 trainer.max_steps=60", "trainer.max_epochs=-1 scheduler=constant"]
)
def test_a_fit_may_be_without_a_number_of_epochs(
    tmp_path: Path, overrides: str, caplog: pytest.LogCaptureFixture
) -> None:
    check_steps(settings("train", tmp_path, *overrides.split()), len(TRAIN))
    assert not caplog.records


def test_a_fit_of_few_steps_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for epochs, warned in ((16, True), (17, False)):
        caplog.clear()
        check_steps(settings("train", tmp_path, f"trainer.max_epochs={epochs}"), len(TRAIN))
        assert ("48 optimiser steps (3 an epoch)" in caplog.text) is warned


def test_an_average_over_more_steps_than_a_fit_has_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    average = "callbacks.ema={{_target_:lightning.pytorch.callbacks.EMAWeightAveraging,decay:{}}}"
    for decay, warned in ((0.99, True), (0.9, False)):
        caplog.clear()
        made = settings("train", tmp_path, "trainer.max_epochs=80", average.format(decay))
        check_steps(made, len(TRAIN))
        assert (
            "callbacks.ema averages the weights over about 100 steps, and this fit has 240" in caplog.text
        ) is warned


def test_no_average_of_weights_by_default(tmp_path: Path) -> None:
    """The tested weights are the last step's: an average would spoil a short training."""
    for command, experiment in (("train", "none"), ("train", "handbook_book"), ("pretrain", "handbook")):
        composed = hydra.compose(command, [f"experiment={experiment}", f"paths.output_dir={tmp_path}"])
        targets = [callback["_target_"] for callback in config.typed(command, composed).callbacks.values() if callback]
        assert targets
        assert not [target for target in targets if "Averaging" in target]


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
def test_mixed_precision_trains_with_the_defaults(tmp_path: Path, precision: str) -> None:
    assert train(tmp_path, f"trainer.precision={precision}", "trainer.max_epochs=1").epochs == 1


@pytest.mark.parametrize("epochs", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("share", [0.1, 0.3])
def test_one_cycle_bears_few_steps_or_says_so(tmp_path: Path, epochs: int, share: float) -> None:
    one_step = ("batch_size=150", f"trainer.max_epochs={epochs}", f"scheduler.pct_start={share}", "seed=1")
    assert train(tmp_path, *one_step).epochs == epochs


def test_a_fit_may_end_by_the_clock_alone(tmp_path: Path) -> None:
    assert train(tmp_path, "trainer.max_epochs=-1", "+trainer.max_time=00:00:00:01", "scheduler=constant").epochs > 0


def test_a_schedule_that_degenerates_is_one_message(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match="OneCycleLR: float division by zero; the schedule does not suit a fit of 10 steps"
    ):
        train(tmp_path, "batch_size=150", "trainer.max_epochs=10", "scheduler.pct_start=0.1")


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ("optimizer._target_=torch.optim.SparseAdam ~optimizer.weight_decay ~optimizer.fused", "dense gradients"),
        ("scheduler._target_=torch.optim.lr_scheduler.CosineAnnealingLR +scheduler.T_max=0 ~scheduler.max_lr "
         "~scheduler.total_steps ~scheduler.pct_start ~scheduler.cycle_momentum", "the fit failed: ZeroDivisionError"),
        ("+trainer.val_check_interval=50", "the fit failed: ValueError: .*val_check_interval"),
        ("scheduler.interval=month", "the fit failed: MisconfigurationException"),
        ("callbacks.early_stopping._target_=lightning.pytorch.callbacks.LearningRateMonitor "
         "~callbacks.early_stopping.monitor ~callbacks.early_stopping.mode ~callbacks.early_stopping.patience",
         "MisconfigurationException: Cannot use `LearningRateMonitor`"),
    ],
)  # fmt: skip
def test_what_a_library_raises_becomes_one_message(tmp_path: Path, overrides: str, said: str) -> None:
    with pytest.raises(UserError, match=f"(?s){said}"):
        train(tmp_path, "trainer.max_epochs=2", *overrides.split())


def test_shares_of_the_batches_of_a_small_table_leave_one(tmp_path: Path) -> None:
    assert train(tmp_path, "debug=limit", "trainer.max_epochs=2").epochs == 2


def test_what_is_said_to_be_logged_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lightning.pytorch.callbacks import ModelCheckpoint

    seen: dict[str, set[str]] = {}
    monkeypatch.setattr(
        ModelCheckpoint, "on_train_end", lambda self, trainer, module: seen.update({tmp: set(trainer.callback_metrics)})
    )
    for tmp, run in (("train", fit), ("pretrain", pretrain)):
        made = settings(tmp, tmp_path, "trainer.max_epochs=1")
        run(made, table(made, tmp_path), TRAIN, VALIDATION, tmp_path / tmp)
    assert seen == {command: set(logged) for command, logged in LOGGED.items()}


def test_a_message_keeps_the_original_error(tmp_path: Path) -> None:
    with pytest.raises(UserError) as failed:
        train(tmp_path, "trainer.max_epochs=2", "+trainer.val_check_interval=50")
    assert isinstance(failed.value.__cause__, ValueError)
    assert str(failed.value.__cause__) in str(failed.value)
