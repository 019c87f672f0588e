"""A feature set of one's own: the amount, its logarithm, and whether it is night, ``features=my_features``."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from fraudlab.config import FeaturesConfig
from fraudlab.errors import UserError
from fraudlab.features.contract import Lookups
from fraudlab.features.registry import register_features
from fraudlab.schema import TableSchema


@dataclass
class MyFeaturesConfig(FeaturesConfig):
    """The keys of ``features``; ``encoder`` is among them."""

    name: str = "my_features"
    night_until: int = 6  # hour


class MyFeatures:
    """A record and a row of the table go through the same arithmetic, so that training and serving agree."""

    version = 1
    categorical: tuple[str, ...] = ()
    numeric: tuple[str, ...] = ("amount", "log_amount", "night")

    def __init__(self, night_until: int) -> None:
        self.night_until = night_until

    def parts(self, frame: pl.LazyFrame) -> Iterator[pl.DataFrame]:
        """The columns that the table has not."""
        rows = frame.select("amount", "hour").collect()
        found = [self._of(amount, hour) for amount, hour in rows.iter_rows()]
        yield pl.DataFrame(found, schema={"log_amount": pl.Float64, "night": pl.Float64}, orient="row")

    def lookups(self, frame: pl.LazyFrame) -> dict[str, Any]:
        """None: the features are of the row alone."""
        return {}

    def of_record(self, record: Mapping[str, Any], lookups: Lookups) -> dict[str, Any]:
        """The record with the features' columns added."""
        log_amount, night = self._of(record.get("amount"), record.get("hour"))
        return {**record, "log_amount": log_amount, "night": night}

    def of_records(self, records: pl.DataFrame, lookups: Lookups) -> pl.DataFrame:
        """The records with the features' columns added."""
        return records.hstack(next(self.parts(records.lazy())))

    def _of(self, amount: float | None, hour: float | None) -> tuple[float | None, float | None]:
        log_amount = None if amount is None else math.log1p(amount)
        return log_amount, None if hour is None else float(hour < self.night_until)


def make(settings: Mapping[str, Any], schema: TableSchema) -> MyFeatures:
    """The feature set for a table that has the columns ``amount`` and ``hour``."""
    there = {column.name for column in schema.columns}
    if not {"amount", "hour"} <= there:
        raise UserError(f"features=my_features needs the columns amount and hour, which data={schema.name} has not")
    return MyFeatures(settings["night_until"])


register_features("my_features", make, MyFeaturesConfig)
