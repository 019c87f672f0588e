"""Tables of a user's own: written to a file, and read as ``data=table`` reads them."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from fraudlab.config import TableConfig
from fraudlab.data.sources import table
from fraudlab.data.sources.contract import Source

ROWS: dict[str, list[Any]] = {
    "number": [7, 8, 9, 10],
    "when": ["2020-01-03", "2020-01-01", "2020-01-02", "2020-01-01"],
    "who": ["ann", "bob", "ann", "cid"],
    "paid": [1.5, 2.0, 0.25, 4.0],
    "kind": ["a", "?", "b", "a"],
    "fraud": [0, 1, 0, 0],
}


def write(path: Path, rows: dict[str, list[Any]]) -> Path:
    frame = pl.DataFrame(rows)
    match path.suffixes:
        case [".parquet"]:
            frame.write_parquet(path)
        case [".csv"]:
            frame.write_csv(path)
        case [".csv", ".gz"]:
            path.write_bytes(gzip.compress(frame.write_csv().encode()))
    return path


def load(path: Path | str, **settings: Any) -> Source:
    folder = Path(path).parent if "://" not in str(path) else Path()
    cache = settings.pop("cache", folder / ".cache")
    return table.load(TableConfig(path=str(path), **{"label": "fraud", **settings}), Path(cache))


def roles(source: Source) -> dict[str, str]:
    return {column.name: column.role for column in source.schema.columns}


def write_table(path: Path, rows: int = 600) -> None:
    """60 days with a number, which is a fraud where it is above one."""
    draw = np.random.default_rng(0)
    number = draw.standard_normal(rows)
    seconds = np.arange(rows) * 86_400 * 60 // rows
    frame = pl.DataFrame({"time": seconds, "number": number, "fraud": (number > 1).astype(int)})
    frame.write_csv(path)
