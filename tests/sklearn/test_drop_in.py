"""What pytorch-tabnet computes from the same weights, the same seed and the same file."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pytorch_tabnet import pretraining, tab_model
from pytorch_tabnet.augmentations import ClassificationSMOTE
from pytorch_tabnet.metrics import UnsupervisedLoss

from fraudlab.errors import UserError
from fraudlab.models.tabnet import TabNet
from fraudlab.sklearn import TabNetClassifier, TabNetPretrainer, TabNetRegressor
from tests.sklearn.conftest import FIT, SETTINGS, Table, fitted, theirs

pytestmark = pytest.mark.long

OTHERS = {
    TabNetClassifier: tab_model.TabNetClassifier,
    TabNetRegressor: tab_model.TabNetRegressor,
    TabNetPretrainer: pretraining.TabNetPretrainer,
}
ABOUT = {"rtol": 1e-4, "atol": 2e-5}  # single precision through some ten norms


def loaded(kind: type, path: str) -> Any:
    model = theirs(kind, verbose=0)
    model.load_model(path)
    return model


def test_a_classifier_that_they_saved_gives_the_same(their_classifier: Any, table: Table, tmp_path: Path) -> None:
    ours = loaded(TabNetClassifier, their_classifier.save_model(str(tmp_path / "model")))
    np.testing.assert_allclose(ours.predict_proba(table.X), their_classifier.predict_proba(table.X), **ABOUT)
    assert (ours.predict(table.X) == their_classifier.predict(table.X)).mean() > 0.995
    assert ours.classes_.tolist() == ["high", "low", "medium"]
    importance, masks = ours.explain(table.X)
    expected, their_masks = their_classifier.explain(table.X)
    np.testing.assert_allclose(importance, expected, **ABOUT)
    assert masks.keys() == their_masks.keys()
    for step, mask in masks.items():
        np.testing.assert_allclose(mask, their_masks[step], **ABOUT)
    normalised, _ = ours.explain(table.X, normalize=True)
    np.testing.assert_allclose(normalised.sum(axis=1)[importance.sum(axis=1) > 0], 1, rtol=1e-5)


def test_a_regressor_that_they_saved_gives_the_same(their_regressor: Any, table: Table, tmp_path: Path) -> None:
    ours = loaded(TabNetRegressor, their_regressor.save_model(str(tmp_path / "model")))
    np.testing.assert_allclose(ours.predict(table.X), their_regressor.predict(table.X), rtol=1e-3, atol=1e-4)


def test_what_was_loaded_fits_again(their_classifier: Any, table: Table, tmp_path: Path) -> None:
    """A file has the columns' sizes by position, whatever the order of ``cat_idxs`` was."""
    ours = loaded(TabNetClassifier, their_classifier.save_model(str(tmp_path / "model")))
    assert dict(zip(ours.cat_idxs, ours.cat_dims, strict=True)) == {1: 4, 3: 12}
    ours.fit(table.X, table.word, **{**FIT, "max_epochs": 1})


@pytest.mark.parametrize("label", ["label", "word"])
def test_a_classifier_of_ours_loads_in_both(label: str, table: Table, tmp_path: Path) -> None:
    ours = TabNetClassifier(**SETTINGS).fit(table.X, getattr(table, label), **FIT)
    path = ours.save_model(tmp_path / "model")
    assert path == str(tmp_path / "model.zip")
    other, again = loaded(tab_model.TabNetClassifier, path), loaded(TabNetClassifier, path)
    np.testing.assert_allclose(ours.predict_proba(table.X), other.predict_proba(table.X), **ABOUT)
    assert (ours.predict(table.X) == other.predict(table.X)).mean() > 0.995
    np.testing.assert_array_equal(ours.predict_proba(table.X), again.predict_proba(table.X))
    assert again.classes_.tolist() == ours.classes_.tolist()
    # Both go on with what they have loaded.
    fitted(other, table.X, getattr(table, label), warm_start=True, **FIT)
    again.fit(table.X, getattr(table, label), warm_start=True, **FIT)
    assert again.history["loss"][-1] < ours.history["loss"][0]


@pytest.mark.parametrize("numbers", [1, 2])
def test_a_regressor_of_ours_loads_in_both(numbers: int, table: Table, tmp_path: Path) -> None:
    target = table.number[:, 0] if numbers == 1 else table.number
    ours = TabNetRegressor(**SETTINGS).fit(table.X, target, **FIT)
    assert ours.predict(table.X).shape == target.shape
    path = ours.save_model(tmp_path / "model")
    other, again = loaded(tab_model.TabNetRegressor, path), loaded(TabNetRegressor, path)
    np.testing.assert_allclose(ours.predict(table.X).reshape(len(target), -1), other.predict(table.X), **ABOUT)
    np.testing.assert_array_equal(ours.predict(table.X), again.predict(table.X))


def test_a_pretraining_loads_in_both(table: Table, tmp_path: Path) -> None:
    settings = {**SETTINGS, "n_shared_decoder": 2, "n_indep_decoder": 1}
    ours = TabNetPretrainer(**settings).fit(table.X, **FIT)
    path = ours.save_model(tmp_path / "ours")
    other, again = loaded(pretraining.TabNetPretrainer, path), loaded(TabNetPretrainer, path)
    for mine, same, theirs_ in zip(ours.predict(table.X), again.predict(table.X), other.predict(table.X), strict=True):
        np.testing.assert_array_equal(mine, same)
        np.testing.assert_allclose(mine, theirs_, rtol=1e-3, atol=1e-4)
    back = loaded(TabNetPretrainer, other.save_model(str(tmp_path / "theirs")))
    np.testing.assert_allclose(back.predict(table.X)[0], ours.predict(table.X)[0], **ABOUT)
    np.testing.assert_allclose(ours.explain(table.X)[0], other.explain(table.X)[0], **ABOUT)


CASES = {
    "binary": ("label", {}, {}),
    "classes, weights, all batches": ("word", {"mask_type": "entmax"}, {"weights": 1, "drop_last": False}),
    "weights by class, no clipping": ("label", {"clip_value": 0}, {"weights": {0: 1.0, 1: 3.0}}),
    "SMOTE": ("label", {}, {"augmentations": ClassificationSMOTE(device_name="cpu", p=0.4, seed=1)}),
    "schedule a batch": (
        "label",
        {
            "scheduler_fn": torch.optim.lr_scheduler.OneCycleLR,
            "scheduler_params": {"is_batch_level": True, "max_lr": 0.05, "total_steps": 12},
        },
        {},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_same_seed_trains_alike(case: str, table: Table) -> None:
    """The same weights to start from and the same batches: losses part by rounding alone."""
    label, settings, arguments = CASES[case]
    X, y = table.X[:500], getattr(table, label)[:500]
    arguments = {**FIT, **arguments, "eval_set": [(table.X[500:], getattr(table, label)[500:])]}
    both = [
        fitted(theirs(kind, **SETTINGS, **settings, seed=3), X, y, **arguments)
        for kind in (TabNetClassifier, tab_model.TabNetClassifier)
    ]
    ours, other = (model.history.history for model in both)
    assert ours.keys() == other.keys()
    for name, values in ours.items():
        np.testing.assert_allclose(values, other[name], rtol=5e-3)
    np.testing.assert_allclose(ours["loss"][0], other["loss"][0], rtol=1e-4)
    np.testing.assert_allclose(both[0].feature_importances_, both[1].feature_importances_, atol=0.02)


def test_the_same_seed_regresses_alike(table: Table) -> None:
    arguments = {
        "eval_set": [(table.X, table.number)],
        "eval_metric": ["rmse", "mse", "mae"],
        "loss_fn": torch.nn.HuberLoss(),
    }
    ours, other = (
        fitted(theirs(kind, **SETTINGS), table.X, table.number, **FIT, **arguments).history.history
        for kind in (TabNetRegressor, tab_model.TabNetRegressor)
    )
    assert list(ours) == list(other)
    for name, values in ours.items():
        np.testing.assert_allclose(values, other[name], rtol=5e-3)


@pytest.mark.parametrize("loss_fn", [None, UnsupervisedLoss])
def test_the_same_seed_pretrains_alike(loss_fn: Any, table: Table) -> None:
    # Columns in the network's own order: the draws of what is hidden follow the order of the groups.
    X = table.X[:, [1, 3, 0, 2, 4]]
    settings = {**SETTINGS, "cat_idxs": [0, 1], "cat_dims": [4, 12], "cat_emb_dim": 2, "grouped_features": []}
    ours, other = (
        fitted(theirs(kind, **settings), X, loss_fn=loss_fn, pretraining_ratio=0.3, **FIT).history.history
        for kind in (TabNetPretrainer, pretraining.TabNetPretrainer)
    )
    np.testing.assert_allclose(ours["loss"], other["loss"], rtol=5e-3)


def test_files_of_another_kind(their_classifier: Any, their_regressor: Any, table: Table, tmp_path: Path) -> None:
    files = {
        TabNetClassifier: their_classifier.save_model(str(tmp_path / "classifier")),
        TabNetRegressor: their_regressor.save_model(str(tmp_path / "regressor")),
        TabNetPretrainer: TabNetPretrainer(**SETTINGS).fit(table.X, **FIT).save_model(tmp_path / "pretrainer"),
    }
    for right, path in files.items():
        for kind in files.keys() - {right}:
            with pytest.raises(UserError, match=f"{right.__name__}; load it with that"):
                kind().load_model(path)
    with pytest.raises(UserError, match="holds a pretraining"):
        TabNet.from_pytorch_tabnet(files[TabNetPretrainer])
    with pytest.raises(UserError, match="cannot be read"):
        TabNetClassifier().load_model(tmp_path / "none.zip")
