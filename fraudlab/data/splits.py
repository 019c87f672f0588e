"""Splits: which rows a model may learn from, is chosen on, and is tested on.

All work on three columns of a table sorted by time and give row positions. A model is chosen when the test begins and
fitted for it: labels that are not known by then, ``label_delay_days`` after their rows, are left out of training and
validation, in :func:`_known` for all splits in time. A cut never goes between rows of the same time.
"""

import logging
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl

from fraudlab.config import RandomConfig, TimeFractionConfig, TimeSpansConfig, TimeWindowsConfig
from fraudlab.errors import UserError

log = logging.getLogger(__name__)

Rows = np.ndarray  # int64, increasing positions in the table


@dataclass(frozen=True)
class Split:
    """Row positions, int64 and increasing.

    A model is chosen by fitting ``selection_train`` and scoring ``validation``; the model that is tested on
    ``test`` learns from ``train``. Where the two training sets are one, a single fit does both.
    """

    selection_train: Rows
    validation: Rows
    train: Rows
    test: Rows

    @property
    def refit(self) -> bool:
        """Whether the tested model learns from other rows than the one that was chosen."""
        return self.selection_train is not self.train


def split_rows(
    config: TimeWindowsConfig | TimeFractionConfig | TimeSpansConfig | RandomConfig,
    label_delay_days: int,
    label: pl.Series,
    time: pl.Series | None,
    card: pl.Series | None,
) -> Split:
    """Split the rows of a table sorted by time.

    Args:
        config: which split.
        label_delay_days: after how many days a label is known; a random split mixes past and future anyway.
        label: 0/1 of every row.
        time: date, datetime or number of seconds of every row; only a random split can do without.
        card: who pays; needed to leave out cards known to be compromised.

    Raises:
        UserError: the split leaks, needs a column that is not there, or leaves a part without rows or frauds.
    """
    if isinstance(config, RandomConfig):
        log.warning("split=random mixes past and future: its metrics flatter any data in which time matters")
        split = _random(config, len(label))
    elif time is None:
        raise UserError(f"split={config.name} needs a time column: name one (data.time=...) or ask for split=random")
    else:
        if isinstance(config, TimeFractionConfig):
            split = _time_fraction(config, time)
        elif isinstance(config, TimeSpansConfig):
            split = _time_spans(config, time)
        else:
            split = _time_windows(config, label_delay_days, label.to_numpy(), time, card)
        split = _known(split, label_delay_days, time)
    frauds = label.to_numpy()
    for part in ("selection_train", "validation", "train", "test"):
        rows: Rows = getattr(split, part)
        if not len(rows):
            span = f"; the data run from {time[0]} to {time[-1]}" if time is not None and len(time) else ""
            delay = f", of which it and label_delay_days={label_delay_days} leave out some" if span else ""
            raise UserError(f"split={config.name} leaves no rows for {part.replace('_', ' ')}{span}{delay}")
        if not frauds[rows].any() or frauds[rows].all():
            kind = "no fraud" if not frauds[rows].any() else "nothing but fraud"
            raise UserError(
                f"split={config.name}: {part.replace('_', ' ')} has {len(rows)} rows and {kind} among them; "
                "take a longer window or a larger share"
            )
    return split


def _random(config: RandomConfig, rows: int) -> Split:
    order = np.random.default_rng(config.seed).permutation(rows)
    test_start = rows - round(rows * config.test)
    ends = (test_start - round(rows * config.validation), test_start)
    train, validation, test = (np.sort(part) for part in np.split(order, ends))
    return Split(train, validation, train, test)


def _known(split: Split, label_delay_days: int, time: pl.Series) -> Split:
    """The split without the rows whose labels nobody knows when they are needed, which is told.

    The model that is chosen learns from what is known when the validation begins; it is chosen by, and the tested model
    learns from, what is known when the test begins.
    """
    moment, day = _clock(time)

    def known(rows: Rows, before: Rows) -> Rows:
        return rows[moment[rows] + label_delay_days * day <= moment[before[0]]] if len(before) else rows

    selection_train = known(split.selection_train, split.validation)
    validation = known(split.validation, split.test)
    train = known(split.train, split.test) if split.refit else selection_train
    left_out = len(split.train) - len(train), len(split.validation) - len(validation)
    if any(left_out):
        log.info("label_delay_days=%d leaves out %d rows of training and %d of validation", label_delay_days, *left_out)
    return Split(selection_train, validation, train, split.test)


def _clock(time: pl.Series) -> tuple[np.ndarray, int]:
    """The moment of every row and the length of a day, in one unit."""
    return (time.dt.epoch("us").to_numpy(), 86_400_000_000) if time.dtype.is_temporal() else (time.to_numpy(), 86_400)


def _cut(moment: np.ndarray, row: int) -> int:
    """The first row of the same time as ``row``, where a cut may be."""
    return int(np.searchsorted(moment, moment[row])) if row < len(moment) else row


def _time_fraction(config: TimeFractionConfig, time: pl.Series) -> Split:
    moment, _ = _clock(time)
    test = _cut(moment, len(moment) - round(len(moment) * config.test))
    validation = _cut(moment, max(0, test - round(len(moment) * config.validation)))
    train, chosen_on, tested = np.split(np.arange(len(moment)), (validation, test))
    return Split(train, chosen_on, train, tested)


def _time_spans(config: TimeSpansConfig, time: pl.Series) -> Split:
    ends = {key: value for key in ("train_until", "test_from", "test_until") if (value := getattr(config, key))}
    starts: dict[str, int] = {}
    for key, value in ends.items():
        day, starts[key] = _days(time, value, f"split.{key}")
    if not starts["train_until"] <= starts["test_from"] < starts.get("test_until", starts["test_from"] + 1):
        spans = ", ".join(f"split.{key}={value}" for key, value in ends.items())
        raise UserError(f"{spans} leak or overlap: training must end before the test begins, and the test after that")
    known = np.flatnonzero(day < starts["train_until"])
    moment, _ = _clock(time)
    train, validation = np.split(known, [_cut(moment[known], len(known) - round(len(known) * config.validation))])
    inside = day >= starts["test_from"]
    if "test_until" in starts:
        inside &= day < starts["test_until"]
    return Split(train, validation, train, np.flatnonzero(inside))


def _time_windows(
    config: TimeWindowsConfig, delay_days: int, label: np.ndarray, time: pl.Series, card: pl.Series | None
) -> Split:
    least_shift = config.test_days + delay_days
    if config.validation_shift_days < least_shift:
        raise UserError(
            f"split.validation_shift_days={config.validation_shift_days} leaks: labels of the validation days are not "
            f"all known when the test begins; it must be at least split.test_days + label_delay_days = {least_shift}"
        )
    if config.drop_known_cards and card is None:
        raise UserError("split.drop_known_cards=true needs a card column: name one (data.card=...) or set it to false")
    day, start = _days(time, config.train_start, "split.train_start")
    cards = card if config.drop_known_cards else None
    train, test = _layout(config, delay_days, day, start, label, cards)
    selection_train, validation = _layout(config, delay_days, day, start - config.validation_shift_days, label, cards)
    return Split(selection_train, validation, train, test)


def _days(time: pl.Series, named: str, key: str) -> tuple[np.ndarray, int]:
    """Day number of every row and of the day ``named`` by setting ``key``, on one clock."""
    if time.dtype.is_temporal():
        try:
            start = (date.fromisoformat(named) - date(1970, 1, 1)).days
        except ValueError:
            raise UserError(f"{key}={named} is no date; write it as 2018-07-25") from None
        return time.cast(pl.Date).cast(pl.Int32).to_numpy(), start
    try:
        return (time // 86400).cast(pl.Int32).to_numpy(), int(named)
    except ValueError:
        raise UserError(f"{key}={named}: time is a number of seconds, so this must be a whole number of days") from None


def _layout(
    config: TimeWindowsConfig, delay_days: int, day: np.ndarray, start: int, label: np.ndarray, card: pl.Series | None
) -> tuple[Rows, Rows]:
    """Training and test rows of one layout: training days, delay, test days.

    On test day i the cards with a fraud between the first training day and (last training day + i) are known, since
    a label is known ``delay_days`` later; their transactions are left out (Fraud Detection Handbook, chapter 5), those
    without a card never.
    ``known_card_days`` counts from later than the first training day, so that longer training has the same test rows.
    """
    last_train = start + config.train_days - 1
    first_test = last_train + delay_days + 1
    train = np.flatnonzero((day >= start) & (day <= last_train))
    test = np.flatnonzero((day >= first_test) & (day < first_test + config.test_days))
    if card is not None and len(test):
        since = start if config.known_card_days is None else last_train - config.known_card_days + 1
        frauds = (day >= max(start, since)) & (label == 1)
        # As Polars has it: a missing card equals no other, whereas NumPy's NaN would equal each other in a join.
        frauds_of = pl.DataFrame({"card": card.filter(pl.Series(frauds)), "day": day[frauds]})
        first_fraud = frauds_of.group_by("card").agg(first=pl.col("day").min())
        first = pl.DataFrame({"card": card[test]}).join(first_fraud, on="card", how="left", maintain_order="left")
        known = first["first"].to_numpy() <= last_train + (day[test] - first_test)  # null -> NaN -> False
        test = test[~known]
    return train, test
