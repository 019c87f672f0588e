"""The prepared table: a source with its features computed, cached as one Parquet file."""

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from fraudlab import build
from fraudlab.atomic import replacing
from fraudlab.data.sources import Source
from fraudlab.features import registry
from fraudlab.features.registry import Features
from fraudlab.schema import TableSchema

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PreparedTable:
    """A table sorted by (time, id) with its features, on disk.

    ``fingerprint`` changes whenever the content would.
    """

    path: Path
    schema: TableSchema
    categorical: tuple[str, ...]
    numeric: tuple[str, ...]
    fingerprint: str

    def column(self, name: str | None) -> pl.Series | None:
        """One column of the whole table; None for None."""
        return None if name is None else pl.scan_parquet(self.path).select(name).collect().to_series()

    def rows(self, rows: np.ndarray, columns: Sequence[str]) -> pl.DataFrame:
        """The named columns of ``rows``, increasing positions; only the stretch that they span is read."""
        start, stop = int(rows[0]), int(rows[-1]) + 1
        frame = pl.scan_parquet(self.path).slice(start, stop - start).select(columns).collect()
        return frame if len(frame) == len(rows) else frame[rows - start]


def prepare(source: Source, features: Features, settings: dict[str, object], cache_dir: Path) -> PreparedTable:
    """Compute the features of a source, or find them in the cache.

    Args:
        source: the raw table.
        features: what to compute.
        settings: the features' settings; with the source's fingerprint they name the cache file.
        cache_dir: where the cache lies.
    """
    identity = json.dumps([source.fingerprint, settings, features.version], sort_keys=True)
    fingerprint = hashlib.sha256(identity.encode()).hexdigest()[:16]
    path = cache_dir / f"{source.schema.name}-{fingerprint}.parquet"
    if not path.exists():
        log.info("computing features of %s", source.schema.name)
        # Small row groups: a split reads only the weeks it needs.
        with replacing(path) as aside:
            features.apply(source.frame).collect().write_parquet(aside, compression="lz4", row_group_size=65536)
    return PreparedTable(path, source.schema, features.categorical, features.numeric, fingerprint)


def prepared_table(data: Any, features: Any, data_dir: Path) -> PreparedTable:
    """The prepared table of typed settings: made, or found under ``data_dir``."""
    source = build.source(data, data_dir)
    settings = {key: value for key, value in asdict(features).items() if key != "encoder"}
    return prepare(source, registry.make(settings, source.schema), settings, data_dir)
