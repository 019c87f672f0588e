"""The splits of fraudlab. They work on three columns of a table sorted by time and give row positions.

A cut never goes between rows of the same time.
"""

import logging
from dataclasses import replace
from datetime import date

import numpy as np
import polars as pl

from fraudlab.config import RandomConfig, TimeFractionConfig, TimeSpansConfig, TimeWindowsConfig
from fraudlab.data.splits.contract import NO_ROWS, Rows, RowSplit, SplitPart, Window
from fraudlab.data.splits.known import clock, days_of, known_before, known_moments
from fraudlab.errors import UserError

log = logging.getLogger(__name__)


def _random(
    config: RandomConfig, label_delay_days: int, label: pl.Series, time: pl.Series | None, card: pl.Series | None
) -> RowSplit:
    log.warning("split=random mixes past and future: its metrics are too good for data that change with time")
    rows = len(label)
    order = np.random.default_rng(config.seed).permutation(rows)
    test_start = rows - round(rows * config.test)
    ends = (test_start - round(rows * config.validation), test_start)
    train, validation, test = (np.sort(part) for part in np.split(order, ends))
    return RowSplit(train, validation, train, test)


def _cut(moment: np.ndarray, row: int) -> int:
    """The first row with the time of ``row``: a cut may be placed there."""
    return int(np.searchsorted(moment, moment[row])) if row < len(moment) else row


def _with_validation(
    train: Rows, validation: int, test: Rows, delay_days: int, time: pl.Series, label_time: pl.Series | None
) -> RowSplit:
    """The split whose validation is the last ``validation`` training rows with labels known before the test."""
    moment, _ = clock(time)
    known = known_before(train, test, known_moments(delay_days, time, label_time), moment)
    start = _cut(moment[known], max(0, len(known) - validation))
    return RowSplit(known[:start], known[start:], train, test)


def _time_fraction(
    config: TimeFractionConfig,
    label_delay_days: int,
    label: pl.Series,
    time: pl.Series | None,
    card: pl.Series | None,
    label_time: pl.Series | None = None,
) -> RowSplit:
    assert time is not None
    rows = np.arange(len(time))
    test = _cut(clock(time)[0], len(rows) - round(len(rows) * config.test))
    validation = round(len(rows) * config.validation)
    return _with_validation(rows[:test], validation, rows[test:], label_delay_days, time, label_time)


def _time_spans(
    config: TimeSpansConfig,
    label_delay_days: int,
    label: pl.Series,
    time: pl.Series | None,
    card: pl.Series | None,
    label_time: pl.Series | None = None,
) -> RowSplit:
    assert time is not None
    ends = {key: value for key in ("train_until", "test_from", "test_until") if (value := getattr(config, key))}
    starts: dict[str, int] = {}
    for key, value in ends.items():
        day, starts[key] = _days(time, value, f"split.{key}")
    if not starts["train_until"] <= starts["test_from"] < starts.get("test_until", starts["test_from"] + 1):
        spans = ", ".join(f"split.{key}={value}" for key, value in ends.items())
        raise UserError(f"{spans} leak or overlap: training must end before the test begins, and the test after that")
    train = np.flatnonzero(day < starts["train_until"])
    inside = day >= starts["test_from"]
    if "test_until" in starts:
        inside &= day < starts["test_until"]
    validation = round(len(train) * config.validation)
    return _with_validation(train, validation, np.flatnonzero(inside), label_delay_days, time, label_time)


def _time_windows(
    config: TimeWindowsConfig,
    label_delay_days: int,
    label: pl.Series,
    time: pl.Series | None,
    card: pl.Series | None,
    label_time: pl.Series | None = None,
) -> RowSplit:
    assert time is not None
    least_shift = config.test_days + label_delay_days
    if config.validation_shift_days < least_shift:
        raise UserError(
            f"split.validation_shift_days={config.validation_shift_days} leaks: labels of the validation days are not "
            f"all known when the test begins; it must be at least split.test_days + label_delay_days = {least_shift}"
        )
    if config.drop_known_cards and card is None:
        raise UserError("split.drop_known_cards=true needs a card column: name one (data.card=...) or set it to false")
    day, start = _days(time, config.train_start, "split.train_start")
    cards = card if config.drop_known_cards else None
    frauds = label.to_numpy()
    known_from = day + label_delay_days
    if label_time is not None:
        _, length = clock(time)
        known_from = known_moments(label_delay_days, time, label_time) // length
    days = day, known_from
    train, test = _layout(config, label_delay_days, days, start, frauds, cards)
    selection_train, validation = _layout(
        config, label_delay_days, days, start - config.validation_shift_days, frauds, cards
    )
    if not all(map(len, (selection_train, validation, train, test))):
        raise UserError(_no_room(config, label_delay_days, time, day, start))
    recent = _recent(config, label_delay_days, days, start, frauds, cards)
    return RowSplit(selection_train, validation, train, test, recent)


def _no_room(config: TimeWindowsConfig, delay_days: int, time: pl.Series, day: np.ndarray, start: int) -> str:
    """Says which days the windows need, and the settings with which they fit into the data."""
    first, last = int(day[0]), int(day[-1])
    window = Window(first, last + 1, first, time.dtype.is_temporal())
    after = config.train_days + delay_days + config.test_days
    needed = config.validation_shift_days + after
    says = (
        f"split=time_windows has a window without rows: it needs {needed} days (validation_shift_days + train_days + "
        f"label_delay_days + test_days), {window.named(start - config.validation_shift_days)} to "
        f"{window.named(start + after - 1)}, and the data have {last - first + 1}, {window.named(first)} to "
        f"{window.named(last)}; "
    )
    latest = last + 1 - after
    if latest - config.validation_shift_days >= first:
        return f"{says}say split.train_start={window.named(latest)} to test on the last days"
    return f"{says}say shorter windows, or split=time_fraction, which takes shares of the rows"


def _recent(
    config: TimeWindowsConfig,
    delay_days: int,
    days: tuple[np.ndarray, np.ndarray],
    start: int,
    label: np.ndarray,
    card: pl.Series | None,
) -> Rows:
    """Rows before the test that the tested model was not fitted on, chosen like test rows.

    They are the days of the delay and the nearest ``recent_windows`` test windows before the training; each leaves out
    the cards that a layout tested there would know as compromised. One week can give twice as many alerts as another,
    so a threshold needs more than one week. A window whose layout would begin before the data is not used: the history
    of its cards is incomplete.
    """
    windows = [(delay_days, delay_days)] if delay_days else []  # days of the window, and how much earlier its layout is
    for number in range(1, config.recent_windows + 1):
        earlier = config.train_days + delay_days + number * config.test_days
        if start - earlier >= days[0][0]:
            windows.append((config.test_days, earlier))
    found = [
        _layout(replace(config, test_days=length), delay_days, days, start - earlier, label, card)[1]
        for length, earlier in windows
    ]
    return np.sort(np.concatenate([NO_ROWS, *found]))


def _days(time: pl.Series, named: str, key: str) -> tuple[np.ndarray, int]:
    """Day number of every row and of the day ``named`` by setting ``key``, on one clock."""
    if time.dtype.is_temporal():
        try:
            start = (date.fromisoformat(named) - date(1970, 1, 1)).days
        except ValueError:
            raise UserError(f"{key}={named} is not a date; write it as 2018-07-25") from None
        return days_of(time), start
    try:
        return days_of(time), int(named)
    except ValueError:
        raise UserError(f"{key}={named}: time is a number of seconds, so this must be a whole number of days") from None


def _layout(
    config: TimeWindowsConfig,
    delay_days: int,
    days: tuple[np.ndarray, np.ndarray],
    start: int,
    label: np.ndarray,
    card: pl.Series | None,
) -> tuple[Rows, Rows]:
    """Training and test rows of one layout: training days, delay, test days.

    ``days`` are the day of each row and the day on which its label is known, by default ``delay_days`` later. On test
    day i, cards are left out that had a fraud since the first training day which was known by the day before (Fraud
    Detection Handbook, chapter 5). Transactions without a card are never left out.
    ``known_card_days`` starts later than the first training day, so that longer training has the same test rows.
    """
    day, known_from = days
    last_train = start + config.train_days - 1
    first_test = last_train + delay_days + 1
    train = np.flatnonzero((day >= start) & (day <= last_train))
    test = np.flatnonzero((day >= first_test) & (day < first_test + config.test_days))
    if card is not None and len(test):
        since = start if config.known_card_days is None else last_train - config.known_card_days + 1
        frauds = (day >= max(start, since)) & (label == 1)
        # As in Polars, a missing card equals no other; NumPy's NaN would be equal in a join.
        frauds_of = pl.DataFrame({"card": card.filter(pl.Series(frauds)), "known": known_from[frauds]})
        first_fraud = frauds_of.group_by("card").agg(first=pl.col("known").min())
        first = pl.DataFrame({"card": card[test]}).join(first_fraud, on="card", how="left", maintain_order="left")
        known = first["first"].to_numpy() < day[test]  # null -> NaN -> False
        test = test[~known]
    return train, test


def _fraction_moved(config: TimeFractionConfig, _: int, window: Window) -> TimeSpansConfig:
    """Training on all rows before the window; the last of them are the validation, in the same proportion."""
    return _spans(window.start, window, config.validation / (1 - config.test))


def _spans_moved(config: TimeSpansConfig, _: int, window: Window) -> TimeSpansConfig:
    ends = [window.number(getattr(config, key), f"split.{key}") for key in ("train_until", "test_from")]
    return _spans(window.start - (ends[1] - ends[0]), window, config.validation)


def _spans(train_until: int, window: Window, validation: float) -> TimeSpansConfig:
    until, *test = (window.named(day) for day in (train_until, window.start, window.stop))
    return TimeSpansConfig(train_until=until, test_from=test[0], test_until=test[1], validation=validation)


def _windows_moved(config: TimeWindowsConfig, delay_days: int, window: Window) -> TimeWindowsConfig:
    start = window.start - delay_days - config.train_days
    begins = start - config.validation_shift_days
    if begins < window.first:
        raise UserError(
            f"its validation needs training days from {window.named(begins)} on, and the data begin on "
            f"{window.named(window.first)}"
        )
    recent = config.recent_windows if window.fresh else 0
    days = window.stop - window.start
    return replace(config, train_start=window.named(start), test_days=days, recent_windows=recent)


TIME_WINDOWS = SplitPart(_time_windows, refits=True, label_times=True, moved=_windows_moved)
TIME_FRACTION = SplitPart(_time_fraction, refits=True, label_times=True, moved=_fraction_moved)
TIME_SPANS = SplitPart(_time_spans, refits=True, label_times=True, moved=_spans_moved)
RANDOM = SplitPart(_random, needs_time=False)
