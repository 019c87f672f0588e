"""Slices of a run: which rows are in them, and that its report and files say the same."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from fraudlab.api import load_run
from tests.conftest import SMALL, Command

SLICES = "slices={size: [TX_AMOUNT, 20, 60], night: [TX_DURING_NIGHT]}"
QUICK = (*SMALL, "model=lightgbm", "model.num_leaves=4")


@pytest.fixture(scope="module")
def run(command: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("slices")
    done = command("train", *QUICK, SLICES, "logger=none", f"hydra.run.dir={folder}")
    assert done.returncode == 0, done.stderr
    return folder


def test_slices_can_be_computed_again_from_the_runs_files(run: Path) -> None:
    found = json.loads((run / "slices.json").read_text())
    rows = load_run(run).predictions("test").with_columns(pl.read_parquet(run / "slices" / "test.parquet"))
    by_name = {name: {each["value"]: each for each in values} for name, values in found["slices"].items()}
    assert list(by_name) == ["size", "night"]
    assert list(by_name["size"]) == ["below 20", "20 to below 60", "60 and above"]
    for word, low, high in (("below 20", 0, 20), ("20 to below 60", 20, 60), ("60 and above", 60, np.inf)):
        inside = rows.filter((pl.col("amount") >= low) & (pl.col("amount") < high))
        assert inside["size"].unique().to_list() == [word]
        assert len(inside) == by_name["size"][word]["rows"]
    for value, told in by_name["night"].items():
        genuine = rows.filter((pl.col("night") == value) & (pl.col("label") == 0))
        flagged = genuine["score"].cast(pl.Float64) >= found["threshold"]
        assert told["false_positive_rate"]["value"] == pytest.approx(flagged.mean())


def test_the_report_shows_them(run: Path) -> None:
    page = (run / "report.html").read_text()
    assert "20 to below 60" in page
    assert "FPR ratio to the others" in page


@pytest.mark.parametrize(
    ("slices", "said"),
    [
        ("slices={amount: [TX_AMOUNTS, 5]}", "no column TX_AMOUNTS; did you mean TX_AMOUNT"),
        ("slices={amount: [TX_AMOUNT, 5, 5]}", "rising limits"),
    ],
)
def test_a_slice_of_nothing_is_refused(command: Command, slices: str, said: str, tmp_path: Path) -> None:
    done = command("train", *QUICK, slices, "logger=none", f"hydra.run.dir={tmp_path}/run")
    assert done.returncode == 1
    assert said in done.stderr
