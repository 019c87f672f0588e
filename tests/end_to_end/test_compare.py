"""Baselines through the doors a network goes through, and runs side by side."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from tests.conftest import SMALL, Command


@pytest.fixture(scope="module")
def runs(door: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    plain = [setting for setting in SMALL if not setting.startswith(("trainer.", "batch_size"))]
    for name, model in (
        ("trees", ["model=lightgbm", "model.threads=1"]),
        ("trees_1", ["model=lightgbm", "model.threads=1", "seed=1"]),
        ("linear", ["model=logistic_regression"]),
    ):
        done = door("train", *plain, *model, "report=false", "logger=none", f"hydra.run.dir={folder}/{name}")
        assert done.returncode == 0, done.stderr
        assert "simulated" in done.stdout
    return folder


def test_figures_come_again(door: Command, runs: Path) -> None:
    for name in ("trees", "linear"):
        figures = json.loads((runs / name / "metrics.json").read_text())
        test = pl.read_parquet(runs / name / "predictions/test.parquet")
        assert figures["test"]["roc_auc"] == pytest.approx(roc_auc_score(test["label"], test["score"]))
        done = door("evaluate", f"run={runs}/{name}")
        assert done.returncode == 0, done.stderr
        assert "the same figures" in done.stdout


def test_runs_stand_side_by_side(door: Command, runs: Path, tmp_path: Path) -> None:
    done = door("compare", f"runs=[{runs}/trees*,{runs}/linear]", "resamples=200", f"hydra.run.dir={tmp_path}/c")
    assert done.returncode == 0, done.stderr
    for said in ("lightgbm", "logistic_regression", "simulated"):
        assert said in done.stdout
    found = json.dumps(json.loads((tmp_path / "c/compare.json").read_text()))
    tests = {name: pl.read_parquet(runs / name / "predictions/test.parquet") for name in ("trees", "trees_1", "linear")}
    figures = {name: average_precision_score(test["label"], test["score"]) for name, test in tests.items()}
    expected = figures["linear"] - np.mean([figures["trees"], figures["trees_1"]])
    numbers = [float(number) for number in _numbers(found)]
    assert np.abs(np.abs(numbers) - abs(expected)).min() < 1e-6
    page = (tmp_path / "c/compare.html").read_text()
    assert "simulated" in page.lower()
    assert "<svg" in page
    assert 'src="http' not in page
    assert 'href="http' not in page


def _numbers(text: str) -> list[str]:
    return [
        word for word in text.replace(",", " ").replace("}", " ").replace("]", " ").split() if "." in word and _is(word)
    ]


def _is(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def test_mistakes_are_told(door: Command, runs: Path, tmp_path: Path) -> None:
    done = door("compare", f"runs=[{runs}/trees]")
    assert done.returncode == 1
    done = door("compare", f"runs=[{runs}/trees,{tmp_path}]")
    assert done.returncode == 1
    assert "config.yaml" in done.stderr
    done = door("export", f"run={runs}/linear", f"out={tmp_path}/b")
    assert done.returncode == 1
    assert "model=tabnet" in done.stderr
