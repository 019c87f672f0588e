"""Weights of rows reach the fit as the table has them, and what wrong decisions cost beside them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from fraudlab import config
from fraudlab.api import train
from fraudlab.config import ColumnsFeaturesConfig, TableConfig
from fraudlab.data.batches import Batch
from fraudlab.data.prepared import PreparedTable, prepared_table
from fraudlab.errors import UserError
from fraudlab.training.weights import weighed


@dataclass
class Asked:
    loss: Any
    admin_cost: float = 2.5
    recovery_share: float = 0.5


def table(folder: Path, **roles: str) -> PreparedTable:
    settings = TableConfig(path=str(folder / "t.csv"), label="fraud", **roles)
    return prepared_table(settings, ColumnsFeaturesConfig(), 0, folder / "cache")


def written(folder: Path, **columns: list[Any]) -> None:
    rows = {"x": [1.0, 2.0, 3.0, 4.0], "fraud": [0, 1, 0, 1], "paid": [9.0, 7.0, 1.0, 30.0], "w": [1.0, 4.0, 0.0, 1.0]}
    pl.DataFrame({**rows, **columns}).write_csv(folder / "t.csv")


def of(table: PreparedTable, loss: str, rows: list[int]) -> np.ndarray:
    asked = Asked(config.SCHEMAS["loss"][loss]())
    plain = Batch.of(np.zeros((len(rows), 0), np.int64), np.zeros((len(rows), 1), np.float32), np.zeros(len(rows)))
    return weighed(asked, table, np.array(rows), plain).weight.numpy()  # type: ignore[arg-type]


def test_the_mean_size_is_one(tmp_path: Path) -> None:
    written(tmp_path)
    plain, both = table(tmp_path), table(tmp_path, weight="w", amount="paid")
    assert of(plain, "cross_entropy", [0, 1, 3]).tolist() == [1, 1, 1]
    assert of(both, "cross_entropy", [0, 1, 3]) == pytest.approx(np.array([1, 4, 1]) / 2)
    cost = np.array([2.5, 4 * (3.5 - 2.5), 15 - 2.5])  # half of the amount is recovered
    assert of(both, "expected_cost", [0, 1, 3]) == pytest.approx(cost / cost.mean())
    assert "w" not in {*both.categorical, *both.numeric}


@pytest.mark.parametrize(
    ("columns", "roles", "loss", "message"),
    [
        ({"w": [1, -2, 1, 1]}, {"weight": "w"}, "cross_entropy", "data.weight=w holds -2"),
        ({"w": [1, None, 1, 1]}, {"weight": "w"}, "cross_entropy", "data.weight=w is missing in 1 rows"),
        ({"w": [0, 0, 0, 0]}, {"weight": "w"}, "cross_entropy", "have weight 0; check data.weight"),
        ({"w": ["a", "b", "c", "d"]}, {"weight": "w"}, "cross_entropy", "w is weight but holds"),
        ({}, {}, "expected_cost", "has no amounts; name a column with data.amount"),
        ({"paid": [1, None, 1, 1]}, {"amount": "paid"}, "expected_cost", "lacks paid in some rows"),
        ({"paid": [1, -5, 1, 1]}, {"amount": "paid"}, "expected_cost", "below 0"),
    ],
)
def test_weights_and_amounts_that_cannot_be_used_are_named(
    columns: dict[str, list[Any]], roles: dict[str, str], loss: str, message: str, tmp_path: Path
) -> None:
    written(tmp_path, **columns)
    with pytest.raises(UserError, match=message):
        of(table(tmp_path, **roles), loss, [0, 1, 2, 3])


def test_a_model_learns_from_the_weights_of_its_table(tmp_path: Path) -> None:
    """Through train: the score of a kind is its weighed share of frauds, which the plain share is far from."""
    draw = np.random.default_rng(0)
    kind, fraud = draw.integers(0, 3, 1500), draw.random(1500) < 0.3
    rows = {"kind": np.array(["a", "b", "c"])[kind], "fraud": fraud.astype(int), "w": np.where(fraud, 1 + kind, 1.0)}
    pl.DataFrame(rows).write_csv(tmp_path / "t.csv")
    given = ("data=table", f"data.path={tmp_path}/t.csv", "data.label=fraud", "features=columns", "split=random")
    quick = (
        "model=logistic_regression",
        "model.C=1e6",
        "report=false",
        "logger=none",
        "trainer.enable_progress_bar=false",
    )
    run = train(*given, *quick, "data.weight=w", f"paths.data_dir={tmp_path}/data", path=tmp_path / "run")
    test = run.predictions("test")
    number = test["transaction_id"].to_numpy()
    learnt = np.setdiff1d(np.arange(1500), [*number, *run.predictions("val")["transaction_id"]])
    for each in range(3):
        own = learnt[kind[learnt] == each]
        share = np.average(fraud[own], weights=rows["w"][own])
        assert test["score"].to_numpy()[kind[number] == each] == pytest.approx(share, abs=2e-3)
    assert share > fraud[own].mean() + 0.1
