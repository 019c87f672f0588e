"""Limits that are learnt on training rows: those of a tree with one split, told once and kept in the bundle."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.tree import DecisionTreeClassifier

from fraudlab.config import HandbookConfig, HistoryFeaturesConfig, TimeFractionConfig, TimeWindowsConfig
from fraudlab.data.limits import learnt, parting
from fraudlab.data.prepared import prepared_table
from fraudlab.data.sources.contract import Source
from fraudlab.errors import UserError
from fraudlab.features.registry import make
from fraudlab.schema import Column, TableSchema

DATA = HandbookConfig(customers=60, terminals=100, days=50, radius=30.0)
SPLIT = TimeWindowsConfig(train_start="2018-04-24", train_days=7, drop_known_cards=False)


@pytest.mark.parametrize("seed", range(5))
def test_equal_to_the_split_of_a_tree(seed: int) -> None:
    draw = np.random.default_rng(seed)
    number = draw.integers(0, 60, 500) / 4
    fraud = draw.random(500) < np.where(number > 11, 0.7, 0.05)
    tree = DecisionTreeClassifier(criterion="entropy", max_depth=1).fit(number[:, None], fraud).tree_.threshold[0]
    below, above = number[number <= tree].max(), number[number > tree].min()
    missing, frauds = np.append(number, np.nan), np.append(fraud, True)
    assert [parting(missing, frauds, operator) for operator in ("<", "<=")] == [above, below]
    assert [parting(-missing, frauds, operator) for operator in (">", ">=")] == [-above, -below]


def test_there_may_be_no_limit() -> None:
    number, fraud = np.arange(10.0), np.arange(10) > 5
    assert parting(number, fraud, ">") is None  # what lies above has more frauds wherever it begins
    assert parting(np.zeros(10), fraud, "<") is None
    same = np.array([0.0, 0.0, 1.0, 1.0]), np.array([True, False, True, False])  # no share is the smaller one
    assert [parting(*same, operator) for operator in ("<", "<=", ">", ">=")] == [None] * 4


def features(where: str) -> HistoryFeaturesConfig:
    of: dict[str, Any] = {"label": [{"aggregate": "rate", "where": where, "name": "small"}]}
    return HistoryFeaturesConfig(keys={"terminal": ["TERMINAL_ID"]}, windows=["30d"], of=of)


def test_a_limit_is_learnt_on_rows_before_validation_and_kept(tmp_path: Path) -> None:
    table = prepared_table(DATA, features("amount < learnt"), 7, tmp_path, SPLIT)
    rows = table.source.collect()[table.split(SPLIT, 7).selection_train]
    limit = parting(rows["TX_AMOUNT"].to_numpy(), rows["TX_FRAUD"].to_numpy() == 1, "<")
    assert table.features.settings["limits"] == {"TX_AMOUNT <": limit}
    typed = prepared_table(DATA, features(f"amount < {limit}"), 7, tmp_path, SPLIT)
    found = table.column("terminal_label_small_30d")
    assert found.equals(typed.column("terminal_label_small_30d"))
    assert found.n_unique() > 10
    again = make(table.features.settings, table.schema)  # as a bundle does
    assert not again.to_learn
    assert again.layout == table.features.layout
    late = TimeWindowsConfig(train_start="2018-04-28", train_days=7, drop_known_cards=False)
    assert prepared_table(DATA, features("amount < learnt"), 7, tmp_path, late).fingerprint != table.fingerprint


@pytest.mark.parametrize(("operator", "want"), [("<", 10.35), ("<=", 10.34), (">", 10.34), (">=", 10.35)])
@pytest.mark.parametrize("dtype", [pl.Float32, pl.Float64])
def test_a_limit_parts_numbers_as_the_features_compare_them(operator: str, want: float, dtype: Any) -> None:
    """Amounts with more decimals than are kept; the frauds lie on the side that the condition does not count."""
    amount = pl.Series([10.339, 10.341, 10.349, 10.351] * 50, dtype=dtype)
    fraud = amount > 10.345 if "<" in operator else amount < 10.345
    columns = (
        Column("when", "integer", "time"),
        Column("amount", "number", "amount"),
        Column("fraud", "integer", "label"),
    )
    frame = pl.DataFrame({"when": range(200), "amount": amount, "fraud": fraud.cast(pl.Int8)}).lazy()
    source = Source(frame, TableSchema("amounts", columns), "none")
    assert learnt(source, [("amount", operator, 2)], TimeFractionConfig(), 0) == [want]


def test_what_cannot_be_learnt_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="give the split, split="):
        prepared_table(DATA, features("amount < learnt"), 7, tmp_path)
    with pytest.raises(UserError, match="what is learnt is a limit; write < or >"):
        prepared_table(DATA, features("amount == learnt"), 7, tmp_path, SPLIT)
    table = prepared_table(DATA, features("amount < 9"), 7, tmp_path)
    made = make({**table.features.settings, "of": features("amount < learnt").of}, table.schema)
    with pytest.raises(UserError, match="TX_AMOUNT < learnt: no training row has told the limit"):
        list(made.parts(pl.LazyFrame(table.source.collect())))
