"""A fit of a baseline leaves its file and its curve, and says what it does without."""

import logging
from pathlib import Path

import hydra
import numpy as np
import polars as pl
import pytest
from hydra.core.global_hydra import GlobalHydra
from sklearn.metrics import average_precision_score

from fraudlab import config
from fraudlab.cli import HYDRA_VERSION_BASE, conf_dir
from fraudlab.data.batches import Batch
from fraudlab.errors import UserError
from fraudlab.training import fit_baseline
from fraudlab.training.checks import check_settings


def settings(folder: Path, *overrides: str) -> config.TrainConfig:
    config.register()
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(conf_dir()), version_base=HYDRA_VERSION_BASE):
        always = (f"paths.output_dir={folder}", "trainer.enable_progress_bar=false", "logger=csv")
        return config.typed("train", hydra.compose("train", [*always, *overrides]))


def boosted(folder: Path, name: str = "lightgbm", *overrides: str) -> config.TrainConfig:
    small = ("model.threads=1", "model.n_estimators=30", "model.early_stopping_rounds=5", "model.learning_rate=0.3")
    return settings(folder, f"model={name}", *small, *overrides)


def rows(seed: int) -> Batch:
    random = np.random.default_rng(seed)
    numeric = random.normal(size=(1000, 3)).astype(np.float32)
    label = random.random(1000) < 1 / (1 + np.exp(3 - 2 * numeric[:, 0]))
    return Batch.of(random.integers(0, 4, (1000, 1)), numeric, label)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int, int]:
    folder = tmp_path_factory.mktemp("fit")
    return folder, *fit_baseline.fit(boosted(folder), rows(0), rows(1), [4], folder, None)[:2]


def test_the_curve_that_is_logged_peaks_where_the_model_ends(fitted: tuple[Path, int, int]) -> None:
    folder, done, best = fitted
    curve = pl.read_csv(folder / "csv" / "metrics.csv")["val/average_precision"]
    assert len(curve) == done
    assert best == curve.arg_max() + 1
    score = fit_baseline.score("lightgbm", rows(1), folder)
    assert curve.max() == pytest.approx(average_precision_score(rows(1).label, score), abs=1e-4)  # float32 ties


def test_the_tested_model_has_as_many_rounds_as_were_best(fitted: tuple[Path, int, int], tmp_path: Path) -> None:
    assert fit_baseline.fit(boosted(tmp_path), rows(2), None, [4], tmp_path, fitted[2]) == (fitted[2], fitted[2], {})
    assert not (tmp_path / "csv").exists()


def test_logistic_regression_has_no_rounds_to_choose(tmp_path: Path) -> None:
    plain = settings(tmp_path, "model=logistic_regression")
    done, best, _ = fit_baseline.fit(plain, rows(0), rows(1), [4], tmp_path, 3)
    assert done == best > 0


@pytest.mark.parametrize("name", ["lightgbm", "xgboost", "catboost", "logistic_regression"])
def test_a_broken_or_missing_file_is_one_message(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no model"):
        fit_baseline.score(name, rows(0), tmp_path)
    few = boosted(tmp_path, name) if name != "logistic_regression" else settings(tmp_path, f"model={name}")
    fit_baseline.fit(few, rows(0), None, [4], tmp_path, 3)
    (file,) = (path for path in (tmp_path / "checkpoints").iterdir() if path.suffix != ".sha256")
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(UserError, match="broken or changed"):
        fit_baseline.score(name, rows(0), tmp_path)


def test_rows_of_one_class_are_refused(tmp_path: Path) -> None:
    genuine = rows(0)
    genuine.label.zero_()
    with pytest.raises(UserError, match="all of one class"):
        fit_baseline.fit(boosted(tmp_path), genuine, None, [4], tmp_path, None)


def test_settings_without_effect_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    named = ["optimizer.lr=0.1", "trainer=cpu", "trainer.enable_progress_bar=false"]
    with caplog.at_level(logging.WARNING):
        check_settings(boosted(tmp_path), named)
        assert [message.split()[0] for message in caplog.messages] == ["optimizer.lr=0.1", "trainer=cpu"]
        caplog.clear()
        check_settings(settings(tmp_path, "model=mlp"), named)
        assert not caplog.messages


def test_another_loss_than_cross_entropy_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="loss=cross_entropy, not by loss=focal"):
        check_settings(boosted(tmp_path, "xgboost", "loss=focal"), [])
