"""Splits by name, and the checks of every split."""

from typing import Any

import polars as pl

from fraudlab.config.registry import Registry
from fraudlab.data.splits.contract import MakeSplit, Rows, RowSplit, SplitPart
from fraudlab.data.splits.known import known_rows
from fraudlab.errors import UserError

_LAYOUTS = "fraudlab.data.splits.layouts"
SPLITS: Registry[SplitPart] = Registry(
    "split",
    {
        "time_windows": f"{_LAYOUTS}:TIME_WINDOWS",
        "time_fraction": f"{_LAYOUTS}:TIME_FRACTION",
        "time_spans": f"{_LAYOUTS}:TIME_SPANS",
        "four_months_gap": f"{_LAYOUTS}:TIME_SPANS",
        "rolling_origin": f"{_LAYOUTS}:TIME_SPANS",
        "three_quarters": f"{_LAYOUTS}:TIME_FRACTION",
        "fdb": f"{_LAYOUTS}:TIME_FRACTION",
        "random": f"{_LAYOUTS}:RANDOM",
    },
)


_FEW = 10  # frauds, which no split divides well


class OneClassError(UserError):
    """A part of a split has no fraud or nothing but fraud."""


def register_split(name: str, make: MakeSplit, settings: type, **declared: Any) -> None:
    """Add a split of a plugin as ``split=<name>``.

    Args:
        name: as in ``split=<name>``.
        make: see :data:`fraudlab.data.splits.contract.MakeSplit`.
        settings: dataclass of the keys of ``split``, with ``name: str = <name>``.
        declared: further attributes of :class:`fraudlab.data.splits.contract.SplitPart`.

    Raises:
        UserError: fraudlab has a split of that name, or ``settings`` is not such a dataclass.
    """
    SPLITS.add(name, SplitPart(make, **declared), settings)


def split_rows(
    config: Any,
    label_delay_days: int,
    label: pl.Series,
    time: pl.Series | None,
    card: pl.Series | None,
    label_time: pl.Series | None = None,
) -> RowSplit:
    """Split the rows of a table sorted by time.

    A model is chosen and fitted when the test begins: every split in time leaves labels that are not known by then,
    ``label_delay_days`` after their rows, out of training and validation.

    Args:
        config: typed settings of the split.
        label_delay_days: after how many days a label is known; a random split mixes past and future anyway.
        label: 0/1 of every row.
        time: date, datetime or number of seconds of every row; only a random split can do without.
        card: who pays; needed to leave out cards known to be compromised.
        label_time: when each label became known, on the clock of ``time``; where missing, after ``label_delay_days``.

    Raises:
        UserError: the split leaks, needs a column that is not there, or leaves a part without rows or frauds.
    """
    part = SPLITS[config.name]
    if part.needs_time and time is None:
        raise UserError(f"split={config.name} needs a time column: name one (data.time=...) or use split=random")
    row_by_row = {"label_time": label_time} if part.label_times else {}
    split = part.make(config, label_delay_days, label, time, card, **row_by_row)
    if part.needs_time and time is not None:
        split = known_rows(split, label_delay_days, time, label_time)
    frauds = label.to_numpy()
    for name in ("selection_train", "validation", "train", "test"):
        rows: Rows = getattr(split, name)
        if not len(rows):
            span = f"; the data run from {time[0]} to {time[-1]}" if time is not None and len(time) else ""
            delay = f"; it and label_delay_days={label_delay_days} leave out some of them" if span else ""
            raise UserError(f"split={config.name} leaves no rows for {name.replace('_', ' ')}{span}{delay}")
        if not frauds[rows].any() or frauds[rows].all():
            kind = "no fraud" if not frauds[rows].any() else "nothing but fraud"
            total = int(frauds.sum())
            do = "take a longer window or a larger share"
            if min(total, len(frauds) - total) < _FEW:
                do = f"the whole table has {total:,} frauds in {len(frauds):,} rows: check its label, or give more rows"
            raise OneClassError(f"split={config.name}: {name.replace('_', ' ')} has {len(rows)} rows and {kind} among "
                                f"them; {do}")  # fmt: skip
    return split
