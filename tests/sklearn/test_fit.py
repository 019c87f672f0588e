"""What the arguments of ``fit`` do."""

from typing import Any

import numpy as np
import pytest
import torch
from pytorch_tabnet.callbacks import Callback
from pytorch_tabnet.metrics import Metric
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score

from fraudlab.sklearn import TabNetClassifier, TabNetPretrainer, TabNetRegressor
from tests.sklearn.conftest import FIT, SETTINGS, Table

pytestmark = pytest.mark.long


def halves(table: Table) -> tuple[Any, Any, list[tuple[Any, Any]]]:
    return table.X[:400], table.label[:400], [(table.X[:400], table.label[:400]), (table.X[400:], table.label[400:])]


class AveragePrecision(Metric):
    def __init__(self) -> None:
        self._name, self._maximize = "average_precision", True

    def __call__(self, y_true: Any, y_score: Any) -> float:
        return average_precision_score(y_true, y_score[:, 1])


def test_the_best_epoch_of_the_last_metric_of_the_last_set_is_kept(table: Table) -> None:
    X, y, sets = halves(table)
    model = TabNetClassifier(**{**SETTINGS, "optimizer_params": {"lr": 0.3}})
    metrics = ["auc", AveragePrecision]
    model.fit(X, y, sets, ["train", "valid"], metrics, max_epochs=30, patience=4, batch_size=64)
    curve = model.history["valid_average_precision"]
    assert len(curve) == model.best_epoch + 1 + 4 < 30
    assert model.best_epoch == int(np.argmax(curve))
    assert model.best_cost == max(curve)
    score = model.predict_proba(sets[1][0])[:, 1]
    assert average_precision_score(sets[1][1], score) == pytest.approx(max(curve), abs=1e-12)
    assert roc_auc_score(sets[1][1], score) == pytest.approx(model.history["valid_auc"][model.best_epoch], abs=1e-12)
    assert set(model.history) == {
        "loss", "lr", "train_auc", "train_average_precision", "valid_auc", "valid_average_precision",
    }  # fmt: skip


def test_a_smaller_metric_may_be_better(table: Table) -> None:
    X, y, sets = halves(table)
    model = TabNetClassifier(**SETTINGS).fit(X, y, sets[1:], eval_metric=["logloss"], max_epochs=5, batch_size=128)
    assert model.best_epoch == int(np.argmin(model.history["val_0_logloss"]))
    expected = log_loss(sets[1][1], model.predict_proba(sets[1][0]).astype(float))
    assert expected == pytest.approx(model.best_cost, rel=1e-6)


def test_without_an_eval_set_or_patience_the_last_weights_are_kept(table: Table) -> None:
    X, y, sets = halves(table)
    for arguments in ({}, {"eval_set": sets, "patience": 0}):
        model = TabNetClassifier(**SETTINGS).fit(X, y, **arguments, **FIT)
        assert len(model.history["loss"]) == FIT["max_epochs"]
        assert not hasattr(model, "best_epoch")


def test_callbacks_are_told_and_may_end_the_training(table: Table) -> None:
    class Ends(Callback):
        told: list[str]

        def __init__(self) -> None:
            self.told, self.losses = [], []

        def on_train_begin(self, logs: Any = None) -> None:
            self.told.append("begin")

        def on_batch_end(self, batch: int, logs: Any = None) -> None:
            self.losses.append(logs["loss"])
            assert logs["batch_size"] == 100

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.told.append(f"epoch {epoch}")
            self.auc = roc_auc_score(table.label, self.trainer.predict_proba(table.X)[:, 1])
            assert logs["val_0_auc"] == pytest.approx(self.auc, abs=1e-12)
            self.trainer._stop_training = epoch == 1

        def on_train_end(self, logs: Any = None) -> None:
            self.told.append("end")

    callback = Ends()
    model = TabNetClassifier(**SETTINGS)
    model.fit(table.X, table.label, [(table.X, table.label)], max_epochs=9, batch_size=100, callbacks=[callback])
    assert callback.told == ["begin", "epoch 0", "epoch 1", "end"]
    assert model.history["loss"] == pytest.approx([np.mean(callback.losses[:7]), np.mean(callback.losses[7:])])


def test_fewer_rows_than_a_batch_are_learnt_from(table: Table) -> None:
    """pytorch-tabnet drops the only batch, and trains nothing without a word."""
    model = TabNetClassifier(verbose=0).fit(table.X, table.label, max_epochs=60, batch_size=4096)
    assert roc_auc_score(table.label, model.predict_proba(table.X)[:, 1]) > 0.85


def test_schedules(table: Table) -> None:
    halved = {"scheduler_fn": torch.optim.lr_scheduler.StepLR, "scheduler_params": {"step_size": 1, "gamma": 0.5}}
    model = TabNetClassifier(**SETTINGS, **halved).fit(table.X, table.label, max_epochs=3, batch_size=128)
    assert model.history["lr"] == pytest.approx([0.02, 0.01, 0.005])
    assert model.scheduler_params == {"step_size": 1, "gamma": 0.5}
    falls = {
        "scheduler_fn": torch.optim.lr_scheduler.ReduceLROnPlateau,
        "scheduler_params": {"patience": 0, "factor": 0.1},
    }
    with pytest.raises(ValueError, match="give fit an eval_set"):
        TabNetClassifier(**SETTINGS, **falls).fit(table.X, table.label, **FIT)
    # Its mode is min, and AUC rises: the first epoch stays the best, and the rate falls after the second.
    model = TabNetClassifier(**SETTINGS, **falls)
    model.fit(table.X, table.label, [(table.X, table.label)], max_epochs=3, batch_size=64)
    assert model.history["val_0_auc"][1] > model.history["val_0_auc"][0]
    assert model.history["lr"] == pytest.approx([0.02, 0.02, 0.002])


def test_weights_draw_rows_more_often(table: Table) -> None:
    """What the network learns to expect follows the share of the classes that it is shown."""
    shares = {}
    for name, weights in {
        "none": 0, "alike": 1, "by class": {0: 0.2, 1: 1.0}, "by row": np.where(table.label == 1, 1.0, 0.0) + 1e-3,
    }.items():  # fmt: skip
        model = TabNetClassifier(verbose=0).fit(table.X, table.label, weights=weights, max_epochs=30, batch_size=100)
        shares[name] = model.predict_proba(table.X)[:, 1].mean()
    assert shares["none"] == pytest.approx(table.label.mean(), abs=0.06)
    assert shares["none"] < min(shares["alike"], shares["by class"])
    assert shares["by row"] > 0.9


def test_a_pretraining_is_a_start(table: Table) -> None:
    pretrainer = TabNetPretrainer(**SETTINGS).fit(table.X, [table.X[:100]], max_epochs=6, batch_size=64)
    losses = pretrainer.history["val_0_unsup_loss_numpy"]
    assert pretrainer.best_cost == min(losses) < losses[0]
    assert losses[pretrainer.best_epoch] == pretrainer.best_cost
    still = {**SETTINGS, "optimizer_params": {"lr": 0.0}, "momentum": 1e-9}
    with pytest.warns(UserWarning, match=r"settings of from_unsupervised: n_d=6, .*cat_idxs=\[3, 1\]"):
        model = TabNetClassifier(verbose=0, optimizer_params={"lr": 0.0}, momentum=1e-9).fit(
            table.X, table.label, from_unsupervised=pretrainer, **FIT
        )
    same = TabNetClassifier(**still).fit(table.X, table.label, from_unsupervised=pretrainer, **FIT)
    state, learnt = same.network.state_dict(), pretrainer.network.network.state_dict()
    for weights in (state, model.network.state_dict()):
        for name, part in learnt.items():
            if not name.startswith(("head.", "input_norm.")):
                torch.testing.assert_close(weights[name], part, rtol=0, atol=1e-5)
    assert model.get_params()["n_d"] == 8  # as it was given


def test_numbers_are_learnt(table: Table) -> None:
    model = TabNetRegressor(**{**SETTINGS, "n_d": 16, "n_a": 16})
    model.fit(table.X, table.number, [(table.X, table.number)], max_epochs=40, batch_size=128, patience=0)
    assert model.score(table.X, table.number) > 0.6
    assert model.history["val_0_mse"][-1] == pytest.approx(((model.predict(table.X) - table.number) ** 2).mean())


def test_large_ids_are_exact() -> None:
    """In single precision, as pytorch-tabnet has the whole table, an id above 2**24 is its neighbour."""
    ids = np.array([2**24, 2**24 + 1] * 200, float)
    X = np.column_stack([ids, np.random.default_rng(0).normal(size=400)])
    model = TabNetClassifier(cat_idxs=[0], cat_dims=[2**24 + 2], verbose=0, optimizer_params={"lr": 0.1})
    model.fit(X, ids % 2, max_epochs=2, compute_importance=False)
    rows = model._layout.rows(X, None)
    assert rows.categorical[:2, 0].tolist() == [2**24, 2**24 + 1]


def test_verbose_prints_the_metrics(table: Table, capsys: pytest.CaptureFixture[str]) -> None:
    settings = {**SETTINGS, "verbose": 2}
    TabNetClassifier(**settings).fit(table.X, table.label, [(table.X, table.label)], max_epochs=3, batch_size=128)
    printed = capsys.readouterr().out
    assert [line.split("|")[0].strip() for line in printed.splitlines()] == [
        "epoch 0",
        "epoch 2",
        printed.splitlines()[-1],
    ]
    assert "val_0_auc: 0." in printed
