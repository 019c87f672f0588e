"""What is ``auto`` follows from the training rows, and both fits of a run use the very same numbers."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml

from fraudlab.api import compose, train
from fraudlab.errors import UserError
from fraudlab.runs.settings import load_config
from fraudlab.training.auto import batch_size, chosen, settled
from fraudlab.training.checkpoints import load_checkpoint

pytestmark = pytest.mark.long


@pytest.mark.parametrize("rows", [10, 700, 1_000, 11_626, 67_000, 131_000, 600_000, 5_000_000])
def test_an_epoch_has_64_to_128_steps_within_the_bounds(rows: int) -> None:
    size = batch_size(rows)
    assert size & (size - 1) == 0
    assert 32 <= size <= 2048
    assert 64 <= rows / size < 128 or size == (32 if rows < 2048 else 2048)


def test_a_number_that_is_given_stays_and_others_follow_it(tmp_path: Path) -> None:
    own = ("data=table", f"data.path={tmp_path}/t.csv", "data.label=fraud", "experiment=none", "model=tabnet")
    automatic, given = (
        compose(*own),
        compose(*own, "batch_size=500", "model.virtual_batch_size=50", "optimizer.weight_decay=0.1"),
    )
    assert chosen(automatic, 100_000, 900, [5], 3) == {
        "batch_size": 1024,
        "optimizer.weight_decay": 0.3,
        "model.virtual_batch_size": 1024,
    }
    assert chosen(compose(*own, "batch_size=500"), 100_000, 900, [5], 3) == {
        "optimizer.weight_decay": 0.3,
        "model.virtual_batch_size": 500,
    }
    assert chosen(given, 100_000, 900, [5], 3) == {}
    assert settled(given, {}) == given
    assert chosen(compose(*own, "model=xgboost"), 100_000, 900, [5], 3) == {}
    with pytest.raises(UserError, match="batch_size=some does not exist; it is one of: auto, a number"):
        compose(*own, "batch_size=some")


def test_a_run_records_its_numbers_and_fits_twice_with_them(tmp_path: Path) -> None:
    """The second fit has more rows, which alone would make another batch of it."""
    draw, rows = np.random.default_rng(0), 5_200
    number = draw.standard_normal(rows)
    when = pl.datetime_range(
        pl.datetime(2024, 1, 1), interval="10m", closed="left", eager=False, end=pl.datetime(2025, 1, 1)
    )
    frame = pl.select(when.alias("when")).head(rows)
    frame.with_columns(pl.Series("number", number), pl.Series("fraud", (number > 1.5).astype(int))).write_csv(
        tmp_path / "t.csv"
    )
    own = ["data=table", f"data.path={tmp_path}/t.csv", "data.label=fraud", "data.time=when", "features=columns"]
    own += ["split=time_fraction", "experiment=none", "model=tabnet", "model.n_d=4", "model.n_a=4", "trainer=cpu"]
    own += [
        "trainer.max_epochs=1",
        "logger=none",
        "trainer.enable_progress_bar=false",
        "report=false",
        "label_delay_days=1",
    ]
    run = train(*own, f"paths.data_dir={tmp_path}/data", path=tmp_path / "run")
    facts = json.loads((run.path / "run.json").read_text())
    first, second = (json.loads((run.path / part / "fit.json").read_text()) for part in ("selection", "."))
    assert batch_size(first["rows"]) != batch_size(second["rows"])
    rows_of_batch = batch_size(first["rows"])
    expected = {"batch_size": rows_of_batch, "optimizer.weight_decay": 0.3, "model.virtual_batch_size": rows_of_batch}
    assert facts["auto"] == first["auto"] == second["auto"] == expected
    rebuild, _ = load_checkpoint(run.path / "checkpoints" / "best.ckpt")
    assert rebuild["model"]["virtual_batch_size"] == expected["batch_size"]
    assert yaml.safe_load((run.path / "config.yaml").read_text())["batch_size"] == "auto"
    assert load_config(run.path / "config.yaml").batch_size == "auto"
