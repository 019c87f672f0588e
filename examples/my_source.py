"""A data source of one's own: payments drawn at random, ``data=my_source``."""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import polars as pl

from fraudlab.data.sources.contract import Source, fingerprint_of
from fraudlab.data.sources.registry import register_source
from fraudlab.files import make_once
from fraudlab.schema import Column, TableSchema


@dataclass
class MySourceConfig:
    """The keys of ``data``."""

    name: str = "my_source"
    rows: int = 2000
    seed: int = 0


def load(config: MySourceConfig, cache_dir: Path) -> Source:
    """A table of 60 days: id, seconds, card, amount, hour and label; large amounts at night are fraud more often."""
    fingerprint = fingerprint_of(asdict(config))
    path = cache_dir / f"my_source-{fingerprint}.parquet"

    def write(aside: Path) -> None:
        draw = np.random.default_rng(config.seed)
        time = np.sort(draw.integers(0, 60 * 86_400, config.rows))
        amount = np.round(draw.lognormal(3, 1, config.rows), 2)
        risk = 0.02 + 0.6 * ((amount > 60) & (time % 86_400 < 6 * 3600))
        pl.DataFrame(
            {
                "id": np.arange(config.rows),
                "seconds": time,
                "card": draw.integers(0, 200, config.rows),
                "amount": amount,
                "hour": time % 86_400 / 3600,
                "label": (draw.random(config.rows) < risk).astype(np.int8),
            }
        ).write_parquet(aside)

    make_once(path, write)
    columns = (
        Column("id", "integer", "id"),
        Column("seconds", "integer", "time"),
        Column("card", "integer", "card"),
        Column("amount", "number", "amount"),
        Column("hour", "number", "numeric"),
        Column("label", "integer", "label"),
    )
    return Source(pl.scan_parquet(path), TableSchema("my_source", columns, simulated=True), fingerprint)


register_source("my_source", load, MySourceConfig)
