"""A split of one's own: thirds of the table in order of time, ``split=my_split``."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from fraudlab.data.splits.contract import RowSplit
from fraudlab.data.splits.registry import register_split


@dataclass
class MySplitConfig:
    """The keys of ``split``."""

    name: str = "my_split"
    train: float = 0.5  # share of the rows; validation and test have half of the others each


def split(
    config: MySplitConfig, label_delay_days: int, label: pl.Series, time: pl.Series | None, card: pl.Series | None
) -> RowSplit:
    """Row positions; fraudlab leaves out the rows whose labels are not known in time."""
    first = round(len(label) * config.train)
    train, validation, test = np.split(np.arange(len(label)), [first, (first + len(label)) // 2])
    return RowSplit(train, validation, train, test)


register_split("my_split", split, MySplitConfig)
