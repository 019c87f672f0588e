"""Splits: which rows a model may learn from, is chosen on, and is tested on.

All work on three columns of a table sorted by time and give row positions. A split that would leak (a test that
starts before the training labels are known, a validation whose labels come too late) is refused.
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
    label: pl.Series,
    time: pl.Series | None,
    card: pl.Series | None,
) -> Split:
    """Split the rows of a table sorted by time.

    Args:
        config: which split.
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
    elif isinstance(config, TimeFractionConfig):
        split = _time_fraction(config, len(label))
    elif isinstance(config, TimeSpansConfig):
        split = _time_spans(config, time)
    else:
        split = _time_windows(config, label.to_numpy(), time, card)
    frauds = label.to_numpy()
    for part in ("selection_train", "validation", "train", "test"):
        rows: Rows = getattr(split, part)
        if not len(rows):
            span = f"; the data run from {time[0]} to {time[-1]}" if time is not None else ""
            raise UserError(f"split={config.name} leaves no rows for {part.replace('_', ' ')}{span}")
        if not frauds[rows].any() or frauds[rows].all():
            kind = "no fraud" if not frauds[rows].any() else "nothing but fraud"
            raise UserError(
                f"split={config.name}: {part.replace('_', ' ')} has {len(rows)} rows and {kind} among them; "
                "take a longer window or a larger share"
            )
    return split


def _random(config: RandomConfig, rows: int) -> Split:
    order = np.random.default_rng(config.seed).permutation(rows)
    ends = _ends(rows, config.validation, config.test)
    train, validation, test = (np.sort(part) for part in np.split(order, ends))
    return Split(train, validation, train, test)


def _time_fraction(config: TimeFractionConfig, rows: int) -> Split:
    train, validation, test = np.split(np.arange(rows), _ends(rows, config.validation, config.test))
    return Split(train, validation, train, test)


def _time_spans(config: TimeSpansConfig, time: pl.Series) -> Split:
    ends = {key: value for key in ("train_until", "test_from", "test_until") if (value := getattr(config, key))}
    starts: dict[str, int] = {}
    for key, value in ends.items():
        day, starts[key] = _days(time, value, f"split.{key}")
    if not starts["train_until"] <= starts["test_from"] < starts.get("test_until", starts["test_from"] + 1):
        spans = ", ".join(f"split.{key}={value}" for key, value in ends.items())
        raise UserError(f"{spans} leak or overlap: training must end before the test begins, and the test after that")
    known = np.flatnonzero(day < starts["train_until"])
    train, validation = np.split(known, [len(known) - round(len(known) * config.validation)])
    inside = day >= starts["test_from"]
    if "test_until" in starts:
        inside &= day < starts["test_until"]
    return Split(train, validation, train, np.flatnonzero(inside))


def _ends(rows: int, validation: float, test: float) -> tuple[int, int]:
    test_start = rows - round(rows * test)
    return test_start - round(rows * validation), test_start


def _time_windows(config: TimeWindowsConfig, label: np.ndarray, time: pl.Series, card: pl.Series | None) -> Split:
    least_shift = config.test_days + config.delay_days
    if config.validation_shift_days < least_shift:
        raise UserError(
            f"split.validation_shift_days={config.validation_shift_days} leaks: labels of the validation days are not "
            f"all known when the test begins; it must be at least test_days + delay_days = {least_shift}"
        )
    if config.drop_known_cards and card is None:
        raise UserError("split.drop_known_cards=true needs a card column: name one (data.card=...) or set it to false")
    day, start = _days(time, config.train_start, "split.train_start")
    cards = card if config.drop_known_cards else None
    train, test = _layout(config, day, start, label, cards)
    selection_train, validation = _layout(config, day, start - config.validation_shift_days, label, cards)
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
    config: TimeWindowsConfig, day: np.ndarray, start: int, label: np.ndarray, card: pl.Series | None
) -> tuple[Rows, Rows]:
    """Training and test rows of one layout: training days, delay, test days.

    On test day i the cards with a fraud between the first training day and (last training day + i) are known, since
    a label is known ``delay_days`` later; their transactions are left out (Fraud Detection Handbook, chapter 5), those
    without a card never.
    ``known_card_days`` counts from later than the first training day, so that longer training has the same test rows.
    """
    last_train = start + config.train_days - 1
    first_test = last_train + config.delay_days + 1
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
