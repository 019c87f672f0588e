"""When each label became known, row by row: splits go by it."""

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fraudlab.config import (
    ColumnsFeaturesConfig,
    HistoryFeaturesConfig,
    TableConfig,
    TimeFractionConfig,
    TimeWindowsConfig,
)
from fraudlab.data.prepared import PreparedTable, prepared_table
from fraudlab.features import handbook
from tests.support.handbook import features, of_table

DAYS = 60
START = datetime.datetime(2024, 1, 1)


def written(path: Path, seed: int = 0) -> pl.DataFrame:
    """Ten transactions a day; a fraud becomes known after 1 to 20 days, some not yet; a genuine one after 3."""
    random = np.random.default_rng(seed)
    day = np.repeat(np.arange(DAYS), 10)
    fraud = random.random(len(day)) < 0.3
    known = day + np.where(fraud, random.integers(1, 21, len(day)), 3)
    unknown = fraud & (random.random(len(day)) < 0.2)
    rows = pl.DataFrame(
        {
            "when": [START + datetime.timedelta(days=int(d), minutes=int(n)) for n, d in enumerate(day)],
            "known": [
                None if u else START + datetime.timedelta(days=int(k)) for k, u in zip(known, unknown, strict=True)
            ],
            "card": random.integers(0, 40, len(day)),
            "size": random.normal(size=len(day)).round(3),
            "fraud": fraud.astype(int),
        }
    )
    rows.write_csv(path)
    return rows


def prepared(folder: Path, **settings: Any) -> PreparedTable:
    config = TableConfig(
        path=str(folder / "t.csv"), label="fraud", time="when", card="card", label_time="known", **settings
    )
    return prepared_table(config, ColumnsFeaturesConfig(), 7, folder / "cache")


@pytest.mark.parametrize("immature", ["leave_out", "genuine"])
def test_no_fit_uses_a_label_before_it_is_known(
    immature: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = written(tmp_path / "t.csv")
    table = prepared(tmp_path, immature=immature)
    missing = rows["known"].null_count()
    assert f"{missing} rows whose label is not known yet (known is missing)" in caplog.text
    assert table.label.len() == (len(rows) - missing if immature == "leave_out" else len(rows))
    assert table.schema.label_time == "known"
    assert "known" not in (*table.categorical, *table.numeric)
    derived = prepared(tmp_path, immature=immature, derive={"size": "size * 2"})
    assert derived.label.len() == table.label.len()
    if immature == "genuine":
        assert table.label.filter(table.column("known").is_null()).sum() == 0
    split = table.split(TimeFractionConfig(), 7)
    when, known = table.column("when"), table.column("known")
    late = known.fill_null(when + datetime.timedelta(days=7))
    first_validated, first_tested = int(split.validation[0]), int(split.test[0])
    for part, start, until in (
        (split.selection_train, 0, first_validated),
        (split.validation, first_validated, first_tested),
    ):
        rows_before = np.arange(start, until)
        assert part.tolist() == rows_before[(late.gather(rows_before) <= when[until]).to_numpy()].tolist()


def test_a_card_is_known_from_the_day_on_which_its_fraud_is(tmp_path: Path) -> None:
    written(tmp_path / "t.csv")
    table = prepared(tmp_path)
    windows = TimeWindowsConfig(train_start="2024-01-15", train_days=20, test_days=7, validation_shift_days=14)
    split = table.split(windows, 7)
    frame = table.source.select("when", "known", "card", "fraud").collect()
    day = ((frame["when"] - START).dt.total_days()).to_list()
    known = ((frame["known"] - START).dt.total_days()).to_list()
    first_test = 14 + 20 + 7
    expected = [
        row
        for row in range(len(frame))
        if first_test <= day[row] < first_test + 7
        and not any(
            frame["card"][other] == frame["card"][row]
            and frame["fraud"][other] == 1
            and day[other] >= 14
            and known[other] < day[row]
            for other in range(row)
        )
    ]
    assert split.test.tolist() == expected
    assert 0 < len(expected) < 70


def transactions(seed: int, instants: int) -> pl.DataFrame:
    """Few customers and terminals, many rows of one instant; labels known at once, late, too early, never."""
    draw = np.random.default_rng(seed)
    rows = 60
    hours = np.sort(draw.integers(0, instants, rows)) * 12
    after = draw.choice([-5, 0, 0, 12, 24, 24 * 9, 24 * 40], rows)
    when = [START + datetime.timedelta(hours=int(hour)) for hour in hours]
    known = [w + datetime.timedelta(hours=int(a)) for w, a in zip(when, after, strict=True)]
    return pl.DataFrame(
        {
            "TX_DATETIME": when,
            "CUSTOMER_ID": draw.integers(0, 3, rows),
            "TERMINAL_ID": draw.integers(0, 3, rows),
            "TX_AMOUNT": np.round(draw.gamma(2.0, 30.0, rows), 2),
            "TX_FRAUD": (draw.random(rows) < 0.4).astype(np.int8),
            "known": [None if draw.random() < 0.2 else moment for moment in known],
        }
    )


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), instants=st.sampled_from([8, 120]), delay=st.sampled_from([0, 2, 7]))
def test_the_handbooks_windows_of_labels_go_by_when_they_became_known(seed: int, instants: int, delay: int) -> None:
    frame = transactions(seed, instants)
    steps = features(delay, extended=True, label_time="known")
    found = of_table(frame, steps).to_dicts()
    rows = frame.to_dicts()
    for present, row in enumerate(rows):
        labels = []
        for other in rows[:present]:
            known = other["known"] or other["TX_DATETIME"] + datetime.timedelta(days=delay)
            labels.append((row["TX_DATETIME"] - max(known, other["TX_DATETIME"]), other))
        for key, name, days in [("TERMINAL_ID", "RISK", d) for d in (1, 7, 30)] + [
            ("CUSTOMER_ID", "NB_FRAUD", d) for d in (14, 30)
        ]:
            seen = [
                other["TX_FRAUD"]
                for age, other in labels
                if other[key] == row[key] and datetime.timedelta(0) <= age < datetime.timedelta(days=days)
            ]
            expected = sum(seen) / max(len(seen), 1) if name == "RISK" else sum(seen)
            assert found[present][f"{key}_{name}_{days}DAY_WINDOW"] == pytest.approx(expected), (present, key, days)
            if name == "RISK":
                assert found[present][f"{key}_NB_TX_{days}DAY_WINDOW"] == len(seen)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), present=st.integers(1, 59))
def test_a_label_that_is_not_known_yet_moves_no_feature(seed: int, present: int) -> None:
    frame = transactions(seed, 60)
    steps = features(3, extended=True, label_time="known")
    now = frame["TX_DATETIME"][present]
    late = pl.coalesce("known", pl.col("TX_DATETIME") + datetime.timedelta(days=3))
    unknown = (late > now) | (pl.int_range(pl.len()) >= present)
    other = frame.with_columns(TX_FRAUD=pl.when(unknown).then(1 - pl.col("TX_FRAUD")).otherwise("TX_FRAUD"))
    seen, then = (of_table(table, steps).select(steps.numeric)[present] for table in (frame, other))
    assert seen.equals(then)


def test_a_tables_own_label_times_reach_the_handbooks_features(tmp_path: Path) -> None:
    frame = transactions(3, 120).filter(pl.col("known").is_not_null())
    frame.write_csv(tmp_path / "t.csv")
    config = TableConfig(
        path=str(tmp_path / "t.csv"), label="TX_FRAUD", time="TX_DATETIME", card="CUSTOMER_ID",
        terminal="TERMINAL_ID", amount="TX_AMOUNT", label_time="known",
    )  # fmt: skip
    name, book = "TERMINAL_ID_RISK_30DAY_WINDOW", HistoryFeaturesConfig(**handbook.settings())
    found = prepared_table(config, book, 7, tmp_path / "cache").column(name)
    expected = of_table(frame, features(7, label_time="known"))[name]
    assert found.equals(expected)
    config.label_time, config.carried = None, ["known"]
    assert not prepared_table(config, book, 7, tmp_path / "cache").column(name).equals(expected)
