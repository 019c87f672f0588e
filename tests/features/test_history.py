"""History features: equal to their definitions, for a table as for one row with its past, and blind to the future."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import hydra
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fraudlab.config import HistoryFeaturesConfig
from fraudlab.config import typed as typed_config
from fraudlab.errors import UserError
from fraudlab.features.contract import with_features
from fraudlab.features.history import HistoryFeatures
from fraudlab.features.history.sliding import smallest
from fraudlab.features.live import WrongField
from fraudlab.features.registry import make, settings_of
from fraudlab.schema import Reading, TableSchema
from tests.features import history_tables as tables
from tests.features.history_tables import LIMITED, OF, by_hand, from_its_past, made, schema, table

CASES = {"seed": st.integers(0, 10**6), "delay": st.sampled_from([0, 1, 3, 30]), "label_time": st.booleans()}


def features_of(features: HistoryFeatures, frame: pl.DataFrame) -> list[dict[str, Any]]:
    return with_features(features, frame.lazy()).select(features.computed).to_dicts()


@settings(max_examples=12, deadline=None)
@given(**CASES, limited=st.booleans())
def test_a_table_a_row_with_its_past_and_the_definitions_agree(
    seed: int, delay: int, label_time: bool, limited: bool
) -> None:
    features, frame = made(LIMITED if limited else OF, delay, label_time), table(40, seed)
    for present, found in enumerate(features_of(features, frame)):
        assert from_its_past(features, frame, present, label_time) == found  # bit for bit
        assert tables.same(found, by_hand(frame, present, delay, label_time, limited))


@settings(max_examples=30, deadline=None)
@given(**CASES, present=st.integers(0, 79), extra=st.integers(0, 20))
def test_neither_the_future_nor_an_unripe_label_moves_a_feature(
    seed: int, delay: int, label_time: bool, present: int, extra: int
) -> None:
    """After ``present`` everything is another table, or nothing; labels not known by then are turned round."""
    features, frame, other = made(OF, delay, label_time), table(80, seed), table(80 + extra, seed + 1)
    expected = features_of(features, frame)[: present + 1]
    now = frame["when"][present]
    rows = frame[: present + 1].to_dicts()
    for row in rows:
        if tables.known_at(row, delay, label_time) > now or row["row"] == present:
            row["fraud"] = 1 - row["fraud"]
            row["told"] = None if row["told"] is None else max(row["told"], now + timedelta(days=1))
    past = pl.DataFrame(rows, frame.schema)
    assert features_of(features, past) == expected
    changed = pl.concat([past, other.filter(pl.col("when") >= now)])
    assert features_of(features, changed)[: present + 1] == expected


def test_features_are_those_of_a_larger_number_of_keys() -> None:
    """Keys beyond 16 bits are sorted otherwise."""
    frame = table(3_000, 5)
    many = frame.with_columns(card_id=pl.col("card_id") + (pl.col("row") * 97_001 % 70_000 % 900).cast(pl.String))
    few = made(OF, 3, True)
    numbered = many.with_columns(
        card_id=pl.when(pl.col("card_id").is_not_null()).then(pl.col("card_id").hash() % 2_000_000_000)
    )
    assert features_of(few, numbered) == features_of(few, many)


def test_columns_and_rows_without_a_past() -> None:
    features = made(OF, 1, False)
    assert features.categorical == ("country",)
    assert features.numeric == ("amount", *features.computed)
    assert features_of(features, table(0, 0)) == []
    first = features_of(features, table(1, 1))[0]
    assert (first["card_count_all"], first["card_amount_mean_all"], first["card_time_since_last"]) in (
        (0.0, None, None),
        (None, None, None),
    )


def config(**given: Any) -> dict[str, Any]:
    return settings_of(HistoryFeaturesConfig(**given), given.pop("delay_days", 7))


def test_a_definition_is_proposed_by_the_roles() -> None:
    features = make(config(), schema(False))
    assert isinstance(features, HistoryFeatures)
    assert features.definition.keys == {"card": ("card_id",), "terminal": ("shop",)}
    assert not any(a.window is None for a in features.definition.aggregates)  # what grows with the table drifts
    assert {"card_count_7d", "terminal_label_rate_30d", "card_country_is_new"} <= set(features.computed)
    assert make(features.settings, schema(False)).numeric == features.numeric  # as a bundle keeps it
    without = make({**config(), "delay_days": 0}, schema(False))
    assert not any("label" in name or "genuine" in name for name in without.numeric)
    assert any("label" in name for name in make({**config(), "delay_days": 0}, schema(True)).numeric)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"windows": ["7 days"]}, "7 days is no window; write it as 30m, 1h, 7d, 2w or all"),
        ({"windows": ["0d"]}, "0d is no window"),
        ({"windows": ["7d", "1w"]}, "names a window twice"),
        ({"windows": []}, "features.windows is empty"),
        ({"keys": {"card": ["card"]}}, "features.keys.card names card, which data=t has not; did you mean card_id"),
        ({"keys": {"card": []}}, "features.keys.card names no column"),
        ({"keys": {"card": ["fraud"]}}, "fraud is the label"),
        ({"of": {"amount": ["avg"]}}, "there is no aggregate avg; there are sum, mean"),
        ({"of": {"count": ["decayed"]}, "windows": ["1d", "all"]}, r"decayed takes .* write {aggregate: decayed, wind"),
        ({"of": {"amount": ["decayed"]}, "windows": ["1429w"]}, "half-lives, of 10,000 days at most"),
        ({"of": {"count": [{"over": "7d"}]}}, "over: 7d must be longer than a window of count"),
        ({"of": {"count": [{"over": "all"}]}}, "over: all has no length, so there is no count a day"),
        ({"of": {"amount": ["mean", {"aggregate": "max", "over": "amount_mean"}]}}, "did you mean amount_mean_7d"),
        ({"of": {"amount": [{"aggregate": "last", "over": "7d"}]}}, "over: 7d must be longer than a window of last"),
        ({"of": {"amount": ["distance"]}}, "write {aggregate: distance, longitude: <column>}"),
        ({"of": {"amount": [{"aggregate": "speed", "longitude": "lon"}]}}, "features.of names lon, which data=t has"),
        ({"of": {"label": ["rates"]}}, "there is no aggregate rates; did you mean rate"),
        ({"of": {"country_": ["is_new"]}}, "country_, which data=t has not; did you mean country"),
        ({"of": {"country": ["mean"]}}, "country holds no numbers"),
        ({"of": {"count": [{"where": "amount is large"}]}}, "where: amount is large cannot be read"),
        ({"of": {"count": [{"where": "amount < 1.000.000"}]}}, "where: amount < 1.000.000 cannot be read"),
        ({"keys": {"card": [1]}}, "features.keys.card names 1, which"),
        ({"of": {1: ["mean"]}}, "features.of names 1, which"),
        ({"of": {"amount": [None]}}, "features.of.amount: None is no aggregate"),
        ({"of": {"amount": [["mean", "std"]]}}, "features.of.amount: .*is no aggregate"),
        ({"of": {"amount": [{"aggregate": None}]}}, "there is no aggregate None"),
        ({"of": {"count": [{"keys": [1]}]}}, "there is no key 1"),
        ({"of": {"count": [{7: "x"}]}}, "7 is unknown; an entry has aggregate"),
        ({"windows": None}, "features.windows=None must be a list"),
        ({"windows": [7]}, "7 is no window"),
        ({"of": {"when": ["nunique"]}}, r"features.of.when: .*data.derive.when_day=.STRFTIME\(when"),
        ({"keys": {"card": ["card_id", "when"]}}, "features.keys.card: values of when are dates and times"),
        ({"of": {"count": [{"keys": ["shop"]}]}}, "there is no key shop"),
        ({"of": {"label": []}}, r"features.of.label names no aggregate; write e.g. features.of=.label: .rate"),
        ({"of": {"count": [{"windows": "7d"}]}}, r"windows is a list; write windows: \[7d\]"),
        ({"of": {"amount": ["mean", "mean"]}}, "card_amount_mean_7d twice|twice"),
        ({"of": {"count": [{"every": 1}]}}, "every is unknown; an entry has aggregate"),
        ({"keys": {"card": "card_id"}}, "features.keys=.* must be lists by name"),
        ({"keys": None}, "features.keys and features.of belong together"),
        ({"decimals": 12}, "must lie in"),
        ({"columns": ["amountt"]}, "features.columns names amountt; did you mean amount"),
        ({"of": {"count": [{"own": "yes"}]}}, "own: yes must be true or false"),
        ({"of": {"amount": [{"aggregate": "last", "own": True}]}}, "the present row has no part in last"),
        ({"of": {"label": [{"aggregate": "rate", "own": True}]}}, "the present row has no part in rate"),
        ({"of": {"amount": [{"aggregate": "std", "empty": "none"}]}}, "empty: none is no number"),
        ({"of": {"count": [{"as": "n_{day}"}]}}, "as: n_{day} cannot be read; it may hold {key}, {window} and {days}"),
        ({"leave_out": ["no"]}, "features.leave_out names no"),
    ],
)
def test_nonsense_is_refused_with_what_to_type(change: dict[str, Any], said: str) -> None:
    given: dict[str, Any] = {"keys": {"card": ["card_id"]}, "windows": ["7d"], "of": {"count": []}, **change}
    with pytest.raises(UserError, match=said):
        make(config(**given), schema(False))


def test_names_of_digits_are_text() -> None:
    entry = {"where": "amount < .5e2", "name": 7, "keys": [1]}
    features = make(config(keys={1: ["card_id"]}, windows=["7d"], of={"count": [entry]}), schema(False))
    assert isinstance(features, HistoryFeatures)
    assert features.computed == ("1_7_7d",)
    assert features.definition.aggregates[0].where is not None
    assert features.definition.aggregates[0].where.limit == 50.0


@pytest.mark.parametrize("longest", [20, 400])
@pytest.mark.parametrize("spread", [9, 2**40])
def test_the_values_in_the_middle_of_windows(longest: int, spread: int) -> None:
    """Short windows are sorted one by one, long ones together."""
    draw = np.random.default_rng(longest)
    value, stop = draw.integers(-spread, spread, 30_000), np.arange(1, 30_001)
    first = np.maximum.accumulate(np.maximum(stop - draw.integers(1, longest, 30_000), 0))
    places = np.stack([(stop - first - 1) // 2, stop - first - 1])
    found = smallest(value, places, first, stop)
    for window in [*range(50), *range(16_300, 16_450), 29_999]:
        inside = sorted(value[first[window] : stop[window]].tolist())
        assert found[:, window].tolist() == [inside[place] for place in places[:, window]]


def test_rows_beyond_the_reach_do_not_count() -> None:
    """A store forgets them; ``decayed`` looks back 16 half-lives."""
    of = {"count": ["decayed"], "amount": ["decayed", "q25"], "time": ["gap_std"], "country": ["entropy"]}
    settings = {**made({"count": []}, 3, False).settings, "windows": ["6h"], "of": of}
    features, frame = HistoryFeatures(settings, schema(False)), table(300, 4, days=30)
    assert features.reach == 4 * 86_400_000_000
    expected = features_of(features, frame)
    for present in (150, 299):
        near = frame[: present + 1].filter(pl.col("when") > frame["when"][present] - timedelta(days=4))
        assert 1 < len(near) < present
        assert features_of(features, near)[-1] == expected[present]


def test_columns_are_chosen_and_named_whole() -> None:
    of = {"count": [{"as": "{key}_of_{days}_days"}], "country": [{"aggregate": "is_new", "as": "new_{window}"}]}
    wanted = ["card_of_0.25_days", "country", "new_7d", "amount"]
    given = config(keys={"card": ["card_id"]}, windows=["6h", "7d"], of=of, columns=wanted)
    features, frame = make(given, schema(False)), table(100, 1)
    assert isinstance(features, HistoryFeatures)
    assert (features.categorical, features.numeric) == (("country",), ("card_of_0.25_days", "new_7d", "amount"))
    assert with_features(features, frame.lazy()).columns == [*frame.columns, "card_of_0.25_days", "new_7d"]
    assert from_its_past(features, frame, 99, False).keys() == {"card_of_0.25_days", "new_7d"}
    all_of_them = made(OF, 3, False)  # what a chosen ratio is made of is computed though it is not chosen
    one = HistoryFeatures({**all_of_them.settings, "columns": ["card_spike"]}, schema(False))
    assert features_of(one, frame) == [{"card_spike": row["card_spike"]} for row in features_of(all_of_them, frame)]
    assert from_its_past(one, frame, 99, False) == features_of(one, frame)[99]


def test_a_time_that_is_derived_is_read_once() -> None:
    """Such a time is in UTC, or in seconds, already; another is in the zone and unit that the table's were."""
    times = {"zone": "America/New_York", "unit": "days", "format": None}
    settings = made({"count": []}, 3, False).settings
    for kind, value, plain in (("datetime", datetime(2024, 1, 1, 12), 1_704_128_400), ("number", 7, 604_800)):
        columns = tuple(replace(c, type=kind) if c.name == "when" else c for c in schema(False).columns)
        raw = tuple(c for c in columns if c.name != "when")
        given = HistoryFeatures(settings, TableSchema("t", columns, reading=Reading(columns, time=times)))
        assert given.event({"row": 1, "when": value}).time == plain * 1_000_000
        derived = Reading(raw, derive={"when": "x"}, time=times)
        derives = HistoryFeatures(settings, TableSchema("t", columns, reading=derived))
        utc = (value - datetime(1970, 1, 1)).total_seconds() if isinstance(value, datetime) else value
        assert derives.event({"row": 1, "when": value}).time == utc * 1_000_000


@pytest.mark.parametrize("value", ["9999-12-31T23:59:59-05:00", "0001-01-01T00:00:00+14:00", 10**18, -1e300, 10**400])
def test_a_time_out_of_range_is_refused(value: Any) -> None:
    with pytest.raises(WrongField, match="^when is ") as refused:
        made(OF, 3, False).event({"row": 1, "when": value})
    assert refused.value.field == "when"


@pytest.mark.usefixtures("hydra_conf")
def test_a_definition_is_typed_on_the_command_line() -> None:
    small = '{aggregate: rate, where: "amount < 220", keys: [pair], windows: [90d], name: small}'
    of = f"{{count: [], label: [count, {small}]}}"
    overrides = ["features=history", "features.keys={card: [card_id], pair: [card_id, shop]}", f"features.of={of}"]
    composed = hydra.compose("train", ["paths.output_dir=out", *overrides, "features.windows=[1h,all]"])
    typed = typed_config("train", composed)
    names = make(settings_of(typed.features, typed.label_delay_days), schema(False)).computed
    assert names == (
        *("card_count_1h", "card_count_all", "pair_count_1h", "pair_count_all"),
        *("card_label_count_1h", "card_label_count_all", "pair_label_count_1h", "pair_label_count_all"),
        "pair_label_small_90d",
    )


def test_labels_without_a_delay_are_not_to_be_typed() -> None:
    given = {**config(keys={"card": ["card_id"]}, of={"label": ["rate"]}), "delay_days": 0}
    with pytest.raises(UserError, match=r"card_label_rate_1d rests on labels.*label_delay_days=7"):
        HistoryFeatures(given, schema(False)).check_typed()
    HistoryFeatures(given, schema(True)).check_typed()


def test_what_sums_cannot_hold_is_refused() -> None:
    frame = table(50, 0)
    features = made(OF, 1, False)
    for change, said in (
        ({"amount": pl.lit(1e15)}, "column amount is 1e[+]15.*lower features.decimals"),
        ({"amount": pl.lit(5e13)}, "too large for exact sums"),
        ({"when": pl.col("when").reverse()}, "not sorted by when"),
    ):
        with pytest.raises(UserError, match=said):
            features_of(features, frame.with_columns(**change))
