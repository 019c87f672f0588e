"""Steps of a backtest: what each learns from was known then, and where a split says the same, the rows are the same."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fraudlab.api import compose
from fraudlab.backtesting.plan import Backtest, begin, check
from fraudlab.config import (
    BacktestConfig,
    HistoryFeaturesConfig,
    RandomConfig,
    RollingOriginConfig,
    TimeFractionConfig,
    TimeSpansConfig,
    TimeWindowsConfig,
)
from fraudlab.data.sources.contract import Source
from fraudlab.data.splits.contract import RowSplit
from fraudlab.data.splits.registry import split_rows
from fraudlab.errors import UserError
from fraudlab.schema import Column, TableSchema

DAY = 86_400


@pytest.fixture(scope="module")
def composed() -> BacktestConfig:
    return compose("model=logistic_regression", "features=columns", command="backtest")


def source(frame: pl.DataFrame) -> Source:
    types = {"id": "integer", "time": "integer", "card": "integer", "fraud": "integer", "told": "integer"}
    roles = {"id": "id", "time": "time", "card": "card", "fraud": "label", "told": "label_time"}
    columns = [Column(name, types[name], roles[name], nullable=name == "told") for name in frame.columns]  # type: ignore[arg-type]
    return Source(frame.lazy(), TableSchema("t", tuple(columns)), "t")


def table(days: int, seed: int, *, told: bool = False, rows_a_day: int = 12) -> pl.DataFrame:
    draw = np.random.default_rng(seed)
    rows = days * rows_a_day
    time = np.sort(draw.integers(0, days * DAY, rows))
    frame = {
        "id": np.arange(rows),
        "time": time,
        "card": draw.integers(0, 1000, rows),
        "fraud": draw.random(rows) < 0.3,
    }
    found = pl.DataFrame(frame).with_columns(pl.col("fraud").cast(pl.Int8))
    if not told:
        return found
    late = pl.Series("told", time + draw.integers(0, 20 * DAY, rows))
    return found.with_columns(pl.when(pl.lit(draw.random(rows) < 0.9)).then(late).alias("told"))


def planned(config: BacktestConfig, frame: pl.DataFrame, split: Any, **asked: Any) -> Backtest:
    with tempfile.TemporaryDirectory() as folder:
        asked = {"steps": 1, "step_days": 7, **asked}
        paths = replace(config.paths, output_dir=folder)
        backtest = replace(config.backtest, **asked)
        return begin(replace(config, split=split, paths=paths, backtest=backtest), source(frame), {})


def rows(config: BacktestConfig, frame: pl.DataFrame, split: Any) -> RowSplit:
    told = frame["told"] if "told" in frame.columns else None
    return split_rows(split, config.label_delay_days, frame["fraud"], frame["time"], frame["card"], told)


def same(one: RowSplit, other: RowSplit) -> bool:
    parts = ("selection_train", "validation", "train", "test")
    return all(np.array_equal(getattr(one, part), getattr(other, part)) for part in parts)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    delay=st.integers(0, 9),
    told=st.booleans(),
    step_days=st.integers(3, 9),
    steps=st.integers(2, 4),
    policy=st.sampled_from(["fresh", "frozen", "none"]),
    split=st.sampled_from(
        [
            TimeFractionConfig(validation=0.2, test=0.1),
            TimeSpansConfig(train_until="70", test_from="73", test_until="80", validation=0.3),
            TimeWindowsConfig(train_start="60", train_days=10, validation_shift_days=18),
        ]
    ),
)
def test_no_step_sees_a_label_before_it_is_known(
    composed: BacktestConfig,
    seed: int,
    delay: int,
    told: bool,
    step_days: int,
    steps: int,
    policy: str,
    split: Any,
) -> None:
    frame = table(90, seed, told=told)
    config = replace(composed, label_delay_days=delay)
    time = frame["time"].to_numpy()
    known = time + delay * DAY
    if told:
        own = frame["told"].to_numpy().astype(float)
        known = np.where(np.isnan(own), known, own)
    found = planned(config, frame, split, steps=steps, step_days=step_days, policy=policy).steps
    assert len(found) == steps
    before = None
    for step in found:
        part = rows(config, frame, step.split)
        assert (time[part.test] // DAY >= int(step.start)).all()
        assert (time[part.test] // DAY < int(step.stop)).all()
        assert known[part.selection_train].max() <= time[part.validation].min()
        assert known[part.validation].max() <= time[part.test].min()
        assert known[part.train].max() <= time[part.test].min()
        if policy != "fresh" and before is not None and len(part.recent):
            assert part.recent.min() > before.train.max()  # earlier models have not learnt from them either
        if before is not None:  # what a warm start brings along was known in time, too
            assert known[before.selection_train].max() <= time[part.validation].min()
            assert part.test[0] > before.test[-1]
        before = part


@pytest.mark.parametrize("fold", [0, 1, 2])
def test_a_fold_of_rolling_origin_is_a_step(composed: BacktestConfig, fold: int) -> None:
    frame = table(183, 3, rows_a_day=20)
    config = replace(composed, label_delay_days=0)
    split = RollingOriginConfig(fold=fold)
    stop = int(split.test_until or 183)
    (step,) = planned(config, frame, split, step_days=stop - int(split.test_from)).steps
    assert same(rows(config, frame, step.split), rows(config, frame, split))


def test_the_last_step_is_the_splits_own_test_and_the_others_come_before_it(composed: BacktestConfig) -> None:
    frame = table(90, 4)
    split = TimeWindowsConfig(train_start="56", train_days=14, validation_shift_days=14)
    found = planned(composed, frame, split, steps=3).steps
    assert [(step.start, step.stop) for step in found] == [("63", "70"), ("70", "77"), ("77", "84")]
    assert same(rows(composed, frame, found[-1].split), rows(composed, frame, split))
    later = planned(composed, frame, split, steps=2, until="90").steps
    assert [step.start for step in later] == ["76", "83"]


@pytest.mark.parametrize(
    ("asked", "split", "said"),
    [
        ({"steps": 9}, TimeWindowsConfig(train_start="56", train_days=14), r"step 2 of 9.*on 0\nbacktest.steps=7"),
        ({"until": "95"}, TimeFractionConfig(), "backtest.until=95: the data end on 89"),
        ({"until": "soon"}, TimeFractionConfig(), "whole number of days"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_refused(composed: BacktestConfig, asked: dict, split: Any, said: str) -> None:
    with pytest.raises(UserError, match=f"(?s){said}"):
        planned(composed, table(90, 5), split, **asked)


@pytest.mark.parametrize(
    ("policy", "split", "said"),
    [
        ("fresh", RandomConfig(), "cannot be moved.*split=time_windows or split=time_fraction"),
        ("warm", TimeFractionConfig(), "logistic_regression cannot start.*model=tabnet"),
    ],
)
def test_what_no_table_makes_possible_is_refused(composed: BacktestConfig, policy: str, split: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        check(replace(composed, split=split, backtest=replace(composed.backtest, policy=policy)), [])


def test_a_window_without_a_fraud_is_refused_by_its_days(composed: BacktestConfig) -> None:
    frame = table(90, 6)
    quiet = (pl.col("time") // DAY).is_between(70, 76)
    frame = frame.with_columns(fraud=pl.when(quiet).then(0).otherwise(pl.col("fraud")).cast(pl.Int8))
    split = TimeSpansConfig(train_until="77", test_from="77", test_until="84")
    said = r"(?s)step 2 of 3, tested on 70 to 76: .*no fraud.*backtest\.steps=1 .*backtest\.step_days=14"
    with pytest.raises(UserError, match=said):
        planned(composed, frame, split, steps=3)


def test_longer_steps_are_no_advice_where_a_validation_needs_a_longer_shift(composed: BacktestConfig) -> None:
    split = TimeWindowsConfig(train_start="56", train_days=14, validation_shift_days=14)
    with pytest.raises(UserError, match=r"split\.validation_shift_days=14 leaks") as refused:
        planned(replace(composed, label_delay_days=7), table(90, 6), split, step_days=14)
    assert "longer steps" not in str(refused.value)


@pytest.mark.parametrize("policy", ["frozen", "none"])
def test_limits_that_are_learnt_are_no_one_set_of_features(composed: BacktestConfig, policy: str) -> None:
    counted = [{"aggregate": "count", "windows": ["7d"], "where": "time < learnt"}]
    features = HistoryFeaturesConfig(keys={"card": ["card"]}, of={"label": counted}, windows=["7d"])
    with pytest.raises(UserError, match=f"backtest.policy={policy}: .*learnt"):
        planned(replace(composed, features=features), table(90, 6), TimeFractionConfig(), policy=policy)


def test_other_settings_do_not_go_on_with_a_backtest(composed: BacktestConfig, tmp_path: Path) -> None:
    frame = table(90, 7)
    config = replace(composed, split=TimeFractionConfig(), paths=replace(composed.paths, output_dir=str(tmp_path)))
    begin(replace(config, seed=5), source(frame), {})  # which begins no step yet
    begin(config, source(frame), {})
    (tmp_path / "steps" / "81").mkdir(parents=True)
    (tmp_path / "steps" / "81" / "config.yaml").touch()
    begin(config, source(frame), {})  # of settings that were refused by the first step, before its training
    assert not (tmp_path / "steps" / "81" / "config.yaml").exists()
    (tmp_path / "steps" / "81" / "run.json").touch()
    begin(replace(config, backtest=replace(config.backtest, jobs=3)), source(frame), {})
    with pytest.raises(UserError, match=r"seed: 0, now 1.*backtest\.name"):
        begin(replace(config, seed=1), source(frame), {})
    with pytest.raises(UserError, match=r"the data of the backtest in .* have changed"):
        begin(config, replace(source(frame), fingerprint="u", data_fingerprint="u"), {})
