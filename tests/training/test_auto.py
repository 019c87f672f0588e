"""What is ``auto`` follows from the training rows, and both fits of a run use the very same numbers."""

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml

from fraudlab.api import compose, train
from fraudlab.errors import UserError
from fraudlab.features.encoder import TableEncoder
from fraudlab.models.registry import MODELS, make_network
from fraudlab.runs.settings import load_config
from fraudlab.training.auto import batch_size, chosen, min_count, settled
from fraudlab.training.checkpoints import load_checkpoint
from fraudlab.training.optimizers import make_optimizer, make_scheduler

pytestmark = pytest.mark.long


@pytest.mark.parametrize("rows", [10, 700, 1_000, 11_626, 67_000, 131_000, 600_000, 5_000_000])
def test_an_epoch_has_64_to_128_steps_within_the_bounds(rows: int) -> None:
    size = batch_size(rows)
    assert size & (size - 1) == 0
    assert 16 <= size <= 2048
    assert 64 <= rows / size < 128 or size == (16 if rows < 1024 else 2048)


@pytest.mark.parametrize("rows", [10, 1_400, 3_199, 4_000, 15_999, 16_000, 60_000])
def test_words_that_networks_take_for_unknown_follow_from_the_rows(rows: int) -> None:
    assert min_count(rows, "network") == sorted((3, rows // 800, 20))[1]
    assert min_count(rows, "estimator") == 3


def test_a_number_that_is_given_stays_and_others_follow_it(tmp_path: Path) -> None:
    own = ("data=table", f"data.path={tmp_path}/t.csv", "data.label=fraud", "experiment=none", "model=tabnet")
    optimizer = ("optimizer.weight_decay=0.1", "optimizer.lr=0.05", "optimizer.decay=matrices")
    automatic, given = (
        compose(*own),
        compose(*own, "batch_size=500", "model.virtual_batch_size=50", *optimizer),
    )
    own_optimizer = {f"optimizer.{key}": value for key, value in MODELS["tabnet"].optimizer.items()}
    assert chosen(automatic, 100_000, 900, [5], 3) == {
        "batch_size": 1024,
        **own_optimizer,
        "model.virtual_batch_size": 1024,
    }
    assert chosen(compose(*own, "batch_size=500"), 100_000, 900, [5], 3) == {
        **own_optimizer,
        "model.virtual_batch_size": 500,
    }
    assert chosen(given, 100_000, 900, [5], 3) == {}
    assert settled(given, {}) == given
    assert given.scheduler["max_lr"] == 0.05
    assert chosen(compose(*own, "model=xgboost"), 100_000, 900, [5], 3) == {}
    with pytest.raises(UserError, match="batch_size=some does not exist; it is one of: auto, a number"):
        compose(*own, "batch_size=some")


@pytest.mark.parametrize("model", ["tabnet", "mlp", "tabm"])
@pytest.mark.parametrize("optimizer", ["adam", "adamw", "muon"])
def test_a_network_brings_its_own_rate_and_decay(tmp_path: Path, model: str, optimizer: str) -> None:
    own = ("data=table", f"data.path={tmp_path}/t.csv", "data.label=fraud", "experiment=none")
    config = compose(*own, f"model={model}", f"optimizer={optimizer}")
    config = settled(config, chosen(config, 10_000, 100, [5], 3))
    suits = MODELS[model].optimizer
    assert config.optimizer["lr"] == config.scheduler["max_lr"] == suits["lr"]
    if optimizer == "adamw":
        assert {key: config.optimizer[key] for key in suits} == suits
    rebuild = {"model": asdict(config.model), "cardinalities": [5], "num_numeric": 3}
    made = make_optimizer(config.optimizer)(make_network(rebuild))
    made_schedule = make_scheduler(config.scheduler)(made, 100)["scheduler"]
    for _ in range(30):  # up to the highest rate
        made.step()
        made_schedule.step()
    assert made.param_groups[0]["lr"] == pytest.approx(suits["lr"], rel=0.02)


@pytest.mark.parametrize("model", ["mlp", "tabm"])
def test_numbers_are_embedded_where_columns_are_few(tmp_path: Path, model: str) -> None:
    own = ("data=table", f"data.path={tmp_path}/t.csv", "data.label=fraud", "experiment=none", f"model={model}")
    automatic, given = compose(*own), compose(*own, "model.embedding=periodic")
    for columns, expected in ((3, "piecewise_linear"), (300, "none")):
        assert settled(automatic, chosen(automatic, 10_000, 100, [5], columns)).model.embedding == expected
        assert "model.embedding" not in chosen(given, 10_000, 100, [5], columns)


@pytest.mark.parametrize("experiment", ["handbook_book", "handbook", "ieee_cis"])
@pytest.mark.parametrize("model", ["tabnet", "mlp"])
def test_recipes_were_chosen_with_decay_of_all_parameters(experiment: str, model: str) -> None:
    """They leave ``decay`` to the optimizer, so that ``optimizer=muon`` can have its own."""
    assert MODELS[model].optimizer["decay"] == "all"
    config = compose(f"experiment={experiment}", f"model={model}")
    assert not any(key.startswith("optimizer.") and key != "optimizer.decay" for key in chosen(config, 9, 1, [], 3))
    assert settled(config, chosen(config, 9, 1, [], 3)).optimizer["decay"] == "all"


def test_a_run_records_its_numbers_and_fits_twice_with_them(tmp_path: Path) -> None:
    """The second fit has more rows, which alone would make another batch of it."""
    draw, rows = np.random.default_rng(0), 5_200
    number, word = draw.standard_normal(rows), draw.integers(0, 700, rows)
    when = pl.datetime_range(
        pl.datetime(2024, 1, 1), interval="10m", closed="left", eager=False, end=pl.datetime(2025, 1, 1)
    )
    frame = pl.select(when.alias("when")).head(rows)
    columns = {"number": number, "word": [f"w{n}" for n in word], "fraud": (number > 1.5).astype(int)}
    frame.with_columns(pl.Series(name, values) for name, values in columns.items()).write_csv(tmp_path / "t.csv")
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
    suits = {f"optimizer.{key}": value for key, value in MODELS["tabnet"].optimizer.items()}
    expected = {
        "features.encoder.min_count": first["rows"] // 800,
        **{"batch_size": rows_of_batch, **suits, "model.virtual_batch_size": rows_of_batch},
    }
    assert first["rows"] // 800 not in (3, second["rows"] // 800)
    for part, fitted in (("selection", first), (".", second)):
        counts = Counter(columns["word"][: fitted["rows"]])
        words = TableEncoder.load(run.path / part / "encoder").words("word")
        assert sorted(words) == sorted(w for w, count in counts.items() if count >= first["rows"] // 800)
    assert facts["auto"] == first["auto"] == second["auto"] == expected
    rebuild, _ = load_checkpoint(run.path / "checkpoints" / "best.ckpt")
    assert rebuild["model"]["virtual_batch_size"] == expected["batch_size"]
    assert not list(run.path.rglob("auto.json"))
    assert yaml.safe_load((run.path / "config.yaml").read_text())["batch_size"] == "auto"
    assert load_config(run.path / "config.yaml").batch_size == "auto"
