"""What is drawn together where models are compared."""

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from fraudlab.errors import UserError
from fraudlab.metrics.bootstrap import paired
from fraudlab.runs.comparison import ComparedModel, resampled
from fraudlab.runs.folder import RunFolder


def models(**columns: object) -> list[ComparedModel]:
    """Two models of 600 rows over 6 days, of 100 cards and, the frauds at few of them, 30 terminals."""
    random = np.random.default_rng(0)
    terminal = random.integers(0, 30, 600)
    label = ((terminal < 5) & (random.random(600) < 0.5)).astype(np.int8)
    rows = pl.DataFrame(
        {
            "transaction_id": np.arange(600),
            "time": [datetime(2020, 1, 1) + timedelta(minutes=14 * n) for n in range(600)],
            "card_id": random.integers(0, 100, 600),
            "terminal_id": terminal,
            "amount": 1.0,
            "label": label,
        }
    ).with_columns(**columns)
    score = (random.normal(size=(2, 600)) + label).astype(np.float32)
    return [ComparedModel(f"m{n}", [RunFolder(Path())], [0], [{}], rows, score[n : n + 1], False) for n in (0, 1)]


@pytest.mark.parametrize(
    ("columns", "asked", "by", "groups", "with_fraud"),
    [
        ({}, None, "terminal", 30, 5),
        ({"terminal_id": pl.lit(None)}, None, "card", 100, None),
        ({"terminal_id": pl.lit(None), "card_id": pl.lit(None)}, None, "day", 6, 6),
        ({"time": pl.col("transaction_id") * 840, "card_id": pl.lit(None)}, "day", "day", 6, 6),
        ({"terminal_id": None, "card_id": pl.lit(None), "time": pl.lit(None)}, None, "row", 600, None),
        ({"terminal_id": pl.lit(None)}, "row", "row", 600, None),
        ({"card_id": pl.col("card_id").cast(pl.String)}, "card", "card", 100, None),
    ],
)
def test_groups(columns: dict, asked: str | None, by: str, groups: int, with_fraud: int | None) -> None:
    compared = models(**columns)
    found = resampled(compared, asked, 100, 0.95, 0)
    frauds = compared[0].rows.filter(pl.col("label") == 1)
    expected = {"card": frauds["card_id"].n_unique(), "row": len(frauds)}.get(by, with_fraud)
    assert (found.by, found.groups, found.with_fraud) == (by, groups, expected)


def test_deviations_are_those_of_resamples_by_group() -> None:
    compared = models()
    label, terminal = (compared[0].rows[name].to_numpy() for name in ("label", "terminal_id"))
    drawn = np.array(list(paired(label, [model.scores for model in compared], terminal, 100, 3)))
    found = resampled(compared, "terminal", 100, 0.9, 3)
    for n in (0, 1):
        assert [*found.deviations[n].values()] == pytest.approx(drawn[:, n].std(axis=0, ddof=1), abs=1e-12)
    apart = found.differences[0]["average_precision"]
    assert (apart.low, apart.high) == pytest.approx(np.quantile(drawn[:, 1, 1] - drawn[:, 0, 1], [0.05, 0.95]))


def test_rows_without_a_card_are_groups_of_their_own() -> None:
    cards = pl.when(pl.col("card_id") < 50).then(pl.col("card_id"))
    compared = models(card_id=cards)
    known = compared[0].rows["card_id"]
    assert resampled(compared, "card", 100, 0.95, 0).groups == known.drop_nulls().n_unique() + known.null_count()


def test_what_the_rows_do_not_say_is_refused_and_few_groups_are_told(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(UserError, match="group=terminal.*use card or day or row"):
        resampled(models(terminal_id=pl.lit(None)), "terminal", 100, 0.95, 0)
    resampled(models(), "day", 100, 0.95, 0)
    assert "only 6 groups have a fraud" in caplog.text
