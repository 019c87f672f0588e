"""Baselines through the commands a network goes through, and runs side by side."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from tests.conftest import SMALL, Command


@pytest.fixture(scope="module")
def runs(command: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    plain = [setting for setting in SMALL if not setting.startswith(("trainer.", "batch_size"))]
    for name, model in (
        ("trees", ["model=lightgbm", "model.threads=1"]),
        ("trees_1", ["model=lightgbm", "model.threads=1", "seed=1"]),
        ("linear", ["model=logistic_regression"]),
    ):
        done = command("train", *plain, *model, "report=false", "logger=none", f"hydra.run.dir={folder}/{name}")
        assert done.returncode == 0, done.stderr
        assert "simulated" in done.stdout
    return folder


def test_figures_come_again(command: Command, runs: Path) -> None:
    for name in ("trees", "linear"):
        metrics = json.loads((runs / name / "metrics.json").read_text())
        test = pl.read_parquet(runs / name / "predictions/test.parquet")
        assert metrics["test"]["roc_auc"] == pytest.approx(roc_auc_score(test["label"], test["score"]))
        done = command("evaluate", f"run={runs}/{name}")
        assert done.returncode == 0, done.stderr
        assert "the same metrics" in done.stdout


@pytest.mark.parametrize("model", ["catboost", "xgboost"])
def test_boosted_trees_leave_a_whole_run_folder(command: Command, tmp_path: Path, model: str) -> None:
    plain = [setting for setting in SMALL if not setting.startswith(("trainer.", "batch_size"))]
    few = [f"model={model}", "model.threads=1", "model.n_estimators=30", "logger=csv"]
    done = command("train", *plain, *few, f"hydra.run.dir={tmp_path}")
    assert done.returncode == 0, done.stderr
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    for part in ("val", "test"):
        rows = pl.read_parquet(tmp_path / f"predictions/{part}.parquet")
        expected = average_precision_score(rows["label"], rows["score"])
        assert metrics[part]["average_precision"] == pytest.approx(expected)
    curve = pl.read_csv(tmp_path / "csv/metrics.csv")["val/average_precision"]
    assert len(curve) <= 30
    assert metrics["train"]["best_epoch"] == metrics["train"]["epochs"] == curve.arg_max() + 1
    assert metrics["val"]["average_precision"] == pytest.approx(curve.max(), abs=1e-4)
    assert "Learning curve" in (tmp_path / "report.html").read_text()


def test_runs_stand_side_by_side(command: Command, runs: Path, tmp_path: Path) -> None:
    done = command("compare", f"runs=[{runs}/trees*,{runs}/linear]", "resamples=200", f"hydra.run.dir={tmp_path}/c")
    assert done.returncode == 0, done.stderr
    for said in ("lightgbm", "logistic_regression", "simulated"):
        assert said in done.stdout
    found = json.loads((tmp_path / "c/compare.json").read_text())
    (apart,) = found["differences"]
    assert (apart["model"], apart["against"]) == ("logistic_regression", "lightgbm")
    tests = {name: pl.read_parquet(runs / name / "predictions/test.parquet") for name in ("trees", "trees_1", "linear")}
    for key, measure in (("average_precision", average_precision_score), ("roc_auc", roc_auc_score)):
        metrics = {name: measure(test["label"], test["score"]) for name, test in tests.items()}
        over_seeds = [metrics["trees"], metrics["trees_1"]]
        assert apart[key]["difference"] == pytest.approx(metrics["linear"] - np.mean(over_seeds), abs=1e-9)
        assert apart[key]["low"] < apart[key]["difference"] < apart[key]["high"]

    # Drawn by the card or the terminal, whichever the frauds are less spread over, and deviations of both are told.
    frauds = tests["trees"].filter(pl.col("label") == 1)
    spread = {name: frauds[f"{name}_id"].n_unique() for name in ("card", "terminal")}
    by = min(spread, key=lambda name: spread[name])
    drawn = tests["trees"][f"{by}_id"].n_unique()
    assert found["drawn"] == {"by": by, "groups": drawn, "with_fraud": spread[by]}
    assert f"{drawn} {by}s drawn with replacement" in done.stdout
    page = (tmp_path / "c/compare.html").read_text()
    for model in found["models"]:
        for deviation in model["resampled_std"].values():
            assert f"± {deviation:.4f}" in done.stdout
            assert f"(± {deviation:.4f})" in page
        trees, linear = (model["metrics"][key] for model in found["models"])
        assert trees["mean"] == pytest.approx(np.mean(over_seeds), abs=1e-9)
        assert trees["std"] == pytest.approx(np.std(over_seeds, ddof=1), abs=1e-9)
        assert (linear["mean"], linear["std"]) == (pytest.approx(metrics["linear"]), None)
    page = (tmp_path / "c/compare.html").read_text()
    assert "simulated" in page.lower()
    assert "<svg" in page
    assert 'src="http' not in page
    assert 'href="http' not in page


def test_a_folder_stands_for_all_runs_beneath_it(command: Command, runs: Path, tmp_path: Path) -> None:
    for job, name in (("10", "trees"), ("2", "linear"), ("9", "trees_1")):
        (tmp_path / "multirun" / job).mkdir(parents=True)
        for part in ("config.yaml", "run.json", "metrics.json", "predictions"):
            (tmp_path / "multirun" / job / part).symlink_to(runs / name / part)
    (tmp_path / "multirun" / "11").mkdir()
    (tmp_path / "multirun" / "11" / "config.yaml").symlink_to(runs / "linear" / "config.yaml")
    done = command("compare", f"runs={tmp_path}/multirun", "resamples=100", f"hydra.run.dir={tmp_path}/c")
    assert done.returncode == 0, done.stderr
    assert "multirun/11 is left out" in done.stdout + done.stderr
    compared = json.loads((tmp_path / "c/compare.json").read_text())["models"]
    found = [[Path(run).name for run in model["runs"]] for model in compared]
    assert found == [["2"], ["9", "10"]]


def test_mistakes_are_told(command: Command, runs: Path, tmp_path: Path) -> None:
    done = command("compare", f"runs=[{runs}/trees]")
    assert done.returncode == 1
    done = command("compare", f"runs=[{runs}/trees,{tmp_path}]")
    assert done.returncode == 1
    assert "config.yaml" in done.stderr
