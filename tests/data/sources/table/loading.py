"""What the tests of ``data=table`` share: a file from text or rows, and its source."""

import gzip
from pathlib import Path
from typing import Any

import polars as pl

from fraudlab.config import TableConfig
from fraudlab.data.sources import table
from fraudlab.data.sources.contract import Source


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
