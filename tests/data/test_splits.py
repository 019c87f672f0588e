"""Splits keep the future out, know what is known, and refuse what leaks."""

from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fraudlab.config import (
    FDBConfig,
    FourMonthsGapConfig,
    RandomConfig,
    RollingOriginConfig,
    ThreeQuartersConfig,
    TimeFractionConfig,
    TimeSpansConfig,
    TimeWindowsConfig,
)
from fraudlab.data.splits.registry import split_rows
from fraudlab.errors import UserError

START = date(2020, 1, 1)


def table(rows: int, days: int, cards: int, seed: int) -> tuple[pl.Series, pl.Series, pl.Series]:
    draw = np.random.default_rng(seed)
    seconds = np.sort(draw.integers(0, days * 86400, rows))
    time = pl.Series([datetime(2020, 1, 1) + timedelta(seconds=int(s)) for s in seconds])
    return pl.Series(draw.random(rows) < 0.1).cast(pl.Int8), time, pl.Series(draw.integers(0, cards, rows))


def known_by_hand(label, day, card, start: int, last_train: int, first_test: int, row: int) -> bool:
    """The book's rule for one test row, word by word."""
    known_until = last_train + (day[row] - first_test)
    return any(
        label[other] and card[other] == card[row] and start <= day[other] <= known_until for other in range(len(label))
    )


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), train=st.integers(3, 8), delay=st.integers(0, 5), test=st.integers(1, 4))
def test_time_windows_follow_the_books_rule(seed: int, train: int, delay: int, test: int) -> None:
    label, time, card = table(400, 40, 30, seed)
    config = TimeWindowsConfig(
        train_start="2020-01-13", train_days=train, test_days=test, validation_shift_days=test + delay
    )
    try:
        split = split_rows(config, delay, label, time, card)
    except UserError:
        return  # so few rows that a window is empty or has no fraud
    day = time.dt.date().to_list()
    day = [(d - START).days for d in day]
    for start, train_rows, test_rows in (
        (12, split.train, split.test),
        (12 - test - delay, split.selection_train, split.validation),
    ):
        last_train, first_test = start + train - 1, start + train + delay
        assert [r for r in range(400) if start <= day[r] <= last_train] == train_rows.tolist()
        expected = [
            r
            for r in range(400)
            if first_test <= day[r] < first_test + test
            and not known_by_hand(label, day, card, start, last_train, first_test, r)
        ]
        assert expected == test_rows.tolist()


def test_the_published_protocol_has_the_published_rows(shared_data: Path) -> None:
    frame = pl.read_parquet(shared_data / "handbook" / "transactions.parquet")
    config = TimeWindowsConfig(train_start="2018-07-25", train_days=7)
    split = split_rows(config, 7, frame["TX_FRAUD"], frame["TX_DATETIME"], frame["CUSTOMER_ID"])
    label = frame["TX_FRAUD"].to_numpy()
    assert (len(split.train), label[split.train].sum()) == (67240, 598)
    assert (len(split.test), label[split.test].sum()) == (58264, 385)
    assert split.refit
    longer = TimeWindowsConfig(train_start="2018-05-01", train_days=92, known_card_days=7)
    again = split_rows(longer, 7, frame["TX_FRAUD"], frame["TX_DATETIME"], frame["CUSTOMER_ID"])
    assert np.array_equal(again.test, split.test)
    assert np.array_equal(again.validation, split.validation)


@pytest.mark.parametrize("config", [TimeFractionConfig(), RandomConfig()])
def test_fractions_cover_each_row_once(config, caplog: pytest.LogCaptureFixture) -> None:
    label, time, _ = table(1000, 10, 5, 0)
    split = split_rows(config, 0, label, time, None)
    parts = [split.selection_train, split.validation, split.test]
    assert sorted(np.concatenate(parts).tolist()) == list(range(1000))
    assert [len(part) for part in parts] == [700, 150, 150]
    if config.name == "random":
        assert "mixes past and future" in caplog.text
        assert not split.refit
    else:
        assert split.selection_train[-1] < split.validation[0]
        assert split.validation[-1] < split.test[0]
        assert split.train.tolist() == list(range(850))
    assert not len(split.recent)


def test_seconds_serve_as_time() -> None:
    label, time, card = table(1000, 40, 300, 1)
    seconds = time.dt.epoch("s") - datetime(2020, 1, 1).timestamp()
    dates, numbers = TimeWindowsConfig(**WINDOWS), TimeWindowsConfig(**{**WINDOWS, "train_start": "19"})
    by_date, by_number = split_rows(dates, 2, label, time, card), split_rows(numbers, 2, label, seconds, card)
    assert np.array_equal(by_date.test, by_number.test)
    assert np.array_equal(by_date.selection_train, by_number.selection_train)


def test_rows_without_a_card_are_never_known() -> None:
    """Whatever the type of the column: a fraud on a row without a card says nothing of other such rows."""
    label, time, card = table(1000, 40, 300, 1)
    gaps = card.set(card < 100, None)
    by_number, by_text = (
        split_rows(TimeWindowsConfig(**WINDOWS), 2, label, time, c) for c in (gaps, gaps.cast(pl.String))
    )
    assert label.to_numpy()[by_number.train][gaps[by_number.train].is_null().to_numpy()].any()
    day = (time.dt.date() - START).dt.total_days()
    assert gaps[by_number.test].null_count() == gaps.filter(day.is_between(28, 30)).null_count() > 0
    for part in ("selection_train", "validation", "train", "test"):
        assert np.array_equal(getattr(by_number, part), getattr(by_text, part))


WINDOWS = {"train_start": "2020-01-20", "train_days": 7, "test_days": 3, "validation_shift_days": 5}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"validation_shift_days": 4}, "leaks"),
        ({"train_start": "2021-01-20"}, "a window without rows: it needs 17 days .* 2020"),
        ({"train_start": "soon"}, "is not a date"),
    ],
)
def test_windows_that_cannot_be_are_refused(change: dict, said: str) -> None:
    label, time, card = table(1000, 40, 30, 1)
    with pytest.raises(UserError, match=said):
        split_rows(TimeWindowsConfig(**{**WINDOWS, **change}), 2, label, time, card)


def test_missing_columns_and_classes_are_refused() -> None:
    label, time, card = table(1000, 40, 30, 1)
    with pytest.raises(UserError, match="card column"):
        split_rows(TimeWindowsConfig(**WINDOWS), 2, label, time, None)
    with pytest.raises(UserError, match="time column"):
        split_rows(TimeFractionConfig(), 0, label, None, None)
    with pytest.raises(UserError, match="no fraud"):
        split_rows(TimeWindowsConfig(**WINDOWS), 2, label * 0, time, card)
    with pytest.raises(UserError, match="nothing but fraud"):
        split_rows(TimeFractionConfig(), 0, label * 0 + 1, time, card)


@pytest.mark.parametrize("as_seconds", [True, False])
def test_spans_end_and_begin_on_the_days_named(as_seconds: bool) -> None:
    label, time, _ = table(2000, 40, 5, 3)
    day = (time - datetime(2020, 1, 1)).dt.total_days().to_numpy()
    names = {"train_until": 20, "test_from": 25, "test_until": 33}
    if as_seconds:
        time = (time - datetime(2020, 1, 1)).dt.total_seconds()
    named = {key: str(d) if as_seconds else str(START + timedelta(days=d)) for key, d in names.items()}
    split = split_rows(TimeSpansConfig(**named, validation=0.25), 0, label, time, None)
    known = np.concatenate([split.selection_train, split.validation])
    assert np.array_equal(known, np.flatnonzero(day < 20))
    assert np.array_equal(known, split.train)
    assert len(split.validation) == round(len(known) / 4)
    assert split.selection_train.max() < split.validation.min()
    assert np.array_equal(split.test, np.flatnonzero((day >= 25) & (day < 33)))
    assert split.refit


@pytest.mark.parametrize(
    ("config", "first", "end"),
    [
        (TimeFractionConfig(test=0.25), 0, 45),
        (ThreeQuartersConfig(), 0, 45),
        (FDBConfig(), 0, 57),
        (TimeSpansConfig(train_until="2020-02-10", test_from="2020-02-10"), 0, 40),
        (TimeSpansConfig(train_until="2020-02-10", test_from="2020-02-20"), 0, 50),
        (TimeWindowsConfig(train_start="2020-01-20", train_days=10, drop_known_cards=False), 19, 36),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_the_tested_model_learns_up_to_the_delay_and_is_seen_on_what_follows(config, first: int, end: int) -> None:
    """Of 60 days of 1,000 rows each: training, then rows with unknown labels, then, from day ``end`` on, the test."""
    label, time, card = table(60_000, 60, 3000, 4)
    day = (time - datetime(2020, 1, 1)).dt.total_seconds().to_numpy() / 86400
    split = split_rows(config, 7, label, time, card)
    named = config.train_until if config.name == "time_spans" else None
    until = min(end - 7, (date.fromisoformat(named) - START).days) if named else end - 7
    assert day[split.train].min() == pytest.approx(first, abs=0.01)
    assert day[split.train].max() == pytest.approx(until, abs=0.05)
    assert day[split.test].min() == pytest.approx(end, abs=0.05)
    assert len(split.train) == pytest.approx(1000 * (until - first), rel=0.05)
    assert day[split.validation].max() <= until
    assert split.refit
    unlearnt = np.setdiff1d(np.arange(split.test[0]), split.train)
    if config.name == "time_windows":  # no earlier window: its layout would begin 10 + 7 + 7 days before day 19
        unlearnt = unlearnt[day[unlearnt] >= 29]
    assert np.array_equal(split.recent, unlearnt)


@pytest.mark.parametrize(("first_day", "windows"), [(19, 0), (24, 1), (40, 3), (59, 4)])
def test_recent_rows_are_unlearnt_and_leave_out_known_cards_as_the_test_does(first_day: int, windows: int) -> None:
    """The delay and the four windows of a week before ten days of training, where their layouts lie in the data."""
    label, time, card = table(40_000, 100, 2000, 5)
    config = TimeWindowsConfig(train_start=str(START + timedelta(days=first_day)), train_days=10)
    split = split_rows(config, 7, label, time, card)
    day = [(d - START).days for d in time.dt.date().to_list()]
    label, card = label.to_numpy(), card.to_numpy()
    frauds: dict[int, list[int]] = {}
    for row in np.flatnonzero(label):
        frauds.setdefault(card[row], []).append(day[row])
    weeks = [first_day + 10, *(first_day - 7 * number for number in range(1, windows + 1))]
    expected = [
        row
        for row in range(40_000)
        for week in weeks  # the test of a layout whose ten training days begin 17 days before it
        if week <= day[row] < week + 7 and not any(week - 17 <= d < day[row] - 7 for d in frauds.get(card[row], ()))
    ]
    assert split.recent.tolist() == expected
    assert not np.intersect1d(split.recent, split.train).size
    assert split.recent[-1] < split.test[0]


def test_few_recent_rows_are_none() -> None:
    label, time, _ = table(8000, 60, 5, 6)  # some 930 in seven days
    assert not len(split_rows(TimeFractionConfig(), 7, label, time, None).recent)
    assert len(split_rows(TimeFractionConfig(), 9, label, time, None).recent) > 1000


@pytest.mark.parametrize("spans", [("20", "15", None), ("20", "25", "25"), ("20", "25", "24")])
def test_spans_that_overlap_are_refused(spans: tuple) -> None:
    label, time, _ = table(2000, 40, 5, 3)
    seconds = (time - datetime(2020, 1, 1)).dt.total_seconds()
    with pytest.raises(UserError, match="leak or overlap"):
        split_rows(
            TimeSpansConfig(train_until=spans[0], test_from=spans[1], test_until=spans[2]), 0, label, seconds, None
        )


def test_months_of_ieee_cis() -> None:
    """Days count from 2017-11-30: the spans begin and end with calendar months."""
    first = datetime(2017, 11, 30)
    seconds = pl.Series(np.arange(86400, 183 * 86400 - 86400, 3600))
    months = np.array([(first + timedelta(seconds=int(s))).strftime("%m") for s in seconds])
    label = pl.Series(np.random.default_rng(0).random(len(seconds)) < 0.2).cast(pl.Int8)
    for config, known, tested in (
        (FourMonthsGapConfig(), {"12", "01", "02", "03"}, {"05"}),
        (RollingOriginConfig(fold=0), {"12", "01", "02", "03"}, {"05"}),
        (RollingOriginConfig(fold=1), {"12", "01", "02"}, {"04"}),
        (RollingOriginConfig(fold=2), {"12", "01"}, {"03"}),
    ):
        split = split_rows(config, 0, label, seconds, None)
        assert set(months[split.train]) == known
        assert np.array_equal(split.train, np.concatenate([split.selection_train, split.validation]))
        assert set(months[split.test]) == tested


@pytest.mark.parametrize(
    ("days", "says"), [(62, "say split.train_start=2024-02-11 to test on"), (20, "split=time_fraction")]
)
def test_windows_beyond_the_data_say_what_fits(days: int, says: str) -> None:
    time = pl.Series([datetime(2024, 1, 1) + timedelta(hours=8 * n) for n in range(3 * days)])
    label = pl.Series([n % 2 for n in range(3 * days)])
    windows = TimeWindowsConfig(train_start="2018-07-25", train_days=7, drop_known_cards=False)
    with pytest.raises(UserError, match=f"it needs 35 days .*, 2018-07-11 to 2018-08-14, .* have {days}, .*{says}"):
        split_rows(windows, 7, label, time, None)
    if days == 62:
        windows.train_start = "2024-02-11"
        assert len(split_rows(windows, 7, label, time, None).test) == 21
