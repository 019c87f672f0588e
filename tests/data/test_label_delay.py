"""No feature and no fit uses a label before it is known: of every feature set and every split."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fraudlab import config
from fraudlab.data.sources.contract import Source
from fraudlab.data.sources.registry import load_source
from fraudlab.data.splits.registry import split_rows
from fraudlab.errors import UserError
from fraudlab.features import handbook, registry
from fraudlab.features.contract import with_features
from fraudlab.schema import TableSchema

HANDBOOK = config.HandbookConfig(customers=25, terminals=20, days=30, radius=60.0)
SETS = [
    (config.HistoryFeaturesConfig(**handbook.settings(extended=True)), HANDBOOK),
    (config.ColumnsFeaturesConfig(), HANDBOOK),
    (config.HistoryFeaturesConfig(), HANDBOOK),
    (config.IEEECISFeaturesConfig(), config.IEEECISSimulatedConfig(rows=120)),
    (config.IEEECISFeaturesConfig(scope="transductive"), config.IEEECISSimulatedConfig(rows=120)),
]
DAY = 86_400
SPLITS = [
    config.TimeWindowsConfig(train_start="20", train_days=60, test_days=10, validation_shift_days=40),
    config.TimeFractionConfig(),
    config.TimeSpansConfig(train_until="100", test_from="100", test_until="150"),
    config.FourMonthsGapConfig(),
    config.RollingOriginConfig(fold=1),
    config.ThreeQuartersConfig(),
    config.FDBConfig(),
]


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[TableSchema, pl.DataFrame]]:
    folder: Path = tmp_path_factory.mktemp("data")
    sources: list[Source] = [load_source(data, folder) for data in {data.name: data for _, data in SETS}.values()]
    return {source.schema.name: (source.schema, source.frame.collect()) for source in sources}


def test_every_feature_set_and_split_in_time_is_tried() -> None:
    assert {features.name for features, _ in SETS} == set(config.SCHEMAS["features"])
    assert {split.name for split in SPLITS} == set(config.SCHEMAS["split"]) - {"random"}


@pytest.mark.parametrize(("features", "data"), SETS, ids=[f"{f.name}-{n}" for n, (f, _) in enumerate(SETS)])
@settings(max_examples=15, deadline=None)
@given(delay=st.integers(0, 12), share=st.floats(0.3, 1.0), seed=st.integers(0, 10**6))
def test_no_feature_uses_a_younger_label(tables: dict, features, data, delay: int, share: float, seed: int) -> None:
    schema, frame = tables[data.name]
    row = round(share * (len(frame) - 1))
    clock = frame[schema.time].dt.epoch("s") if frame[schema.time].dtype.is_temporal() else frame[schema.time]
    age = (clock[row] - clock).to_numpy()
    known = (age >= delay * DAY) & (np.arange(len(frame)) < row)
    label = frame[schema.label].to_numpy()
    drawn = np.random.default_rng(seed).integers(0, 2, len(label))
    other = frame.with_columns(pl.Series(schema.label, np.where(known, label, drawn), frame[schema.label].dtype))
    steps = registry.make(registry.settings_of(features, delay), schema)
    columns = [*steps.categorical, *steps.numeric]
    seen, then = (with_features(steps, table.lazy()).select(columns)[row] for table in (frame, other))
    assert seen.equals(then)


def test_the_handbook_uses_labels_as_old_as_the_delay(tables: dict) -> None:
    """So that the property above does not hold for want of labels."""
    schema, frame = tables["handbook"]
    found = [
        with_features(registry.make(registry.settings_of(SETS[0][0], delay), schema), frame.lazy())[
            "TERMINAL_ID_RISK_7DAY_WINDOW"
        ]
        for delay in (2, 9)
    ]
    assert not found[0].equals(found[1])


@pytest.mark.parametrize("split", SPLITS, ids=lambda split: split.name)
@settings(max_examples=25, deadline=None)
@given(delay=st.integers(0, 25), tick=st.sampled_from([1, 3600, DAY]), seed=st.integers(0, 10**6))
def test_no_fit_uses_a_label_that_is_not_known(split, delay: int, tick: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    time = np.sort(draw.integers(DAY, 183 * DAY, 3000)) // tick * tick
    label = pl.Series((draw.random(3000) < 0.3).astype(np.int8))
    card = pl.Series(draw.integers(0, 3000, 3000))
    parts, all_parts = (split_rows(split, days, label, pl.Series(time), card) for days in (delay, 0))
    assert time[parts.selection_train].max() + delay * DAY <= time[parts.validation].min()
    for learnt in (parts.validation, parts.train):
        assert time[learnt].max() + delay * DAY <= time[parts.test].min()
    assert time[parts.validation].max() < time[parts.test].min()  # no cut within rows of one time
    if split.name == "time_windows":
        return  # there a delay moves the test window
    assert np.array_equal(parts.test, all_parts.test)
    for part, later in (("selection_train", "validation"), ("validation", "test")):
        left_out = np.setdiff1d(getattr(all_parts, part), getattr(parts, part))
        assert (time[left_out] + delay * DAY > time[getattr(parts, later)].min()).all()


def test_a_delay_that_leaves_nothing_is_named() -> None:
    time = pl.Series(np.arange(1000) * 60)
    label = pl.Series(np.arange(1000) % 5 == 0).cast(pl.Int8)
    with pytest.raises(UserError, match="no rows for selection train.*label_delay_days=7"):
        split_rows(config.TimeFractionConfig(), 7, label, time, None)


def test_dates_and_seconds_are_cut_alike() -> None:
    seconds = np.sort(np.random.default_rng(1).integers(0, 60 * DAY, 500))
    label = pl.Series(np.arange(500) % 5 == 0).cast(pl.Int8)
    moments = pl.Series(seconds.astype("datetime64[s]").astype("datetime64[us]"))
    zoned = moments.dt.replace_time_zone("UTC")
    first, *others = (split_rows(SPLITS[1], 7, label, time, None) for time in (pl.Series(seconds), moments, zoned))
    for other in others:
        for part in ("selection_train", "validation", "train", "test"):
            assert np.array_equal(getattr(first, part), getattr(other, part))
