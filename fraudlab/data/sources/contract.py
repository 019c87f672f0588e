"""What a data source gives."""

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from fraudlab.files import sha256_of
from fraudlab.schema import TableSchema


@dataclass(frozen=True)
class Source:
    """A table ready to be split.

    ``frame`` scans Parquet and is sorted by time, then id (only by id where no column holds the time); the label is
    Int8, 0 or 1 (1 = fraud); there always is an id. ``fingerprint`` is short hex that changes whenever the data would,
    and names the cache; where it also follows where files lie and when they were written, ``data_fingerprint`` follows
    their content alone. ``in_memory`` is the same table in memory, where it has just been read and is small enough.
    """

    frame: pl.LazyFrame
    schema: TableSchema
    fingerprint: str
    in_memory: pl.DataFrame | None = None
    data_fingerprint: str = ""

    def __post_init__(self) -> None:
        if not self.data_fingerprint:
            object.__setattr__(self, "data_fingerprint", self.fingerprint)


LoadSource = Callable[[Any, Path], Source]
"""Gives the table of the typed settings of ``data``; what it makes of raw files it keeps in the folder of the second
argument, under names that :func:`fingerprint_of` the settings and the files is part of."""


def fingerprint_of(facts: dict[str, Any]) -> str:
    """12 hex digits of the SHA-256 of ``facts`` (plain data, as JSON with sorted keys)."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]


def contents_of(files: Iterable[Path]) -> str:
    """Size and SHA-256 of each file, as JSON: the same wherever they lie, and whoever copied or touched them."""
    return json.dumps([[file.stat().st_size, sha256_of(file)] for file in files])
