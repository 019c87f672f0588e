"""The prepared table: a source and its feature columns, cached beside it."""

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import psutil
from tqdm import tqdm

from fraudlab.config import FeaturesConfig
from fraudlab.data.limits import learnt
from fraudlab.data.sources.contract import Source
from fraudlab.data.sources.registry import load_source
from fraudlab.data.splits.contract import RowSplit
from fraudlab.data.splits.registry import split_rows
from fraudlab.engines import Engine, InThreads
from fraudlab.errors import UserError
from fraudlab.features import handbook, registry
from fraudlab.features.contract import Features
from fraudlab.files import make_once, replacing

log = logging.getLogger(__name__)

_WIDTH = 32  # columns of one file at least
_AHEAD, _VALUES = 32, 1 << 27  # most columns, and most values, read ahead at once


class PreparedTable:
    """A table sorted by (time, id) with its features.

    Args:
        path: folder of the columns that the features add, in Parquet files.
        source: the raw table.
        features: the inputs.
        fingerprint: changes with the content, and also if files were only copied or touched.
        data_fingerprint: changes with the content only; a run recognises its data by it.
        in_memory: the same columns in memory, if they have just been computed.
    """

    def __init__(
        self,
        path: Path,
        source: Source,
        features: Features,
        fingerprint: str,
        data_fingerprint: str,
        in_memory: Sequence[pl.DataFrame] = (),
    ) -> None:
        self.path = path
        self.schema = source.schema
        self.features = features
        self.fingerprint = fingerprint
        self.data_fingerprint = data_fingerprint
        files = [[file] if file.is_file() else sorted(file.iterdir()) for file in sorted(path.glob("*"))]
        self._on_disk = [source.frame, *(pl.scan_parquet(rows, glob=False) for rows in files)]
        self._in_memory = {name: frame for frame in in_memory for name in frame.columns}

    @property
    def categorical(self) -> tuple[str, ...]:
        return self.features.categorical

    @property
    def numeric(self) -> tuple[str, ...]:
        return self.features.numeric

    @property
    def source(self) -> pl.LazyFrame:
        """The raw table."""
        return self._on_disk[0]

    def column(self, name: str | None) -> pl.Series | None:
        """One column of the whole table; None for None."""
        if name is None:
            return None
        return (
            self._in_memory[name][name]
            if name in self._in_memory
            else self._file_of[name].select(name).collect().to_series()
        )

    @property
    def label(self) -> pl.Series:
        """0 or 1 (fraud) of every row."""
        label = self.column(self.schema.label)
        assert label is not None
        return label

    def split(self, config: Any, label_delay_days: int) -> RowSplit:
        """The rows of each part, by the typed settings of a split; see :func:`.splits.registry.split_rows`."""
        label, time, card = self.label, self.column(self.schema.time), self.column(self.schema.card)
        return split_rows(config, label_delay_days, label, time, card, self.column(self.schema.label_time))

    def rows(self, rows: np.ndarray, columns: Sequence[str]) -> pl.DataFrame:
        """The named columns of ``rows``, increasing positions; only the range from first to last row is read."""
        start, stop = int(rows[0]), int(rows[-1]) + 1
        found = [self._in_memory[name][name].slice(start, stop - start) for name in columns if name in self._in_memory]
        for file in self._on_disk:
            names = [name for name in columns if name not in self._in_memory and self._file_of[name] is file]
            if names:
                found += file.slice(start, stop - start).select(names).collect().get_columns()
        frame = pl.DataFrame(found).select(columns)
        return frame if len(frame) == len(rows) else frame[rows - start]

    def release(self) -> None:
        """Free the memory of a table that has just been computed; it is read from its files from now on."""
        self._in_memory = {}

    def columns(self, rows: np.ndarray) -> "Columns":
        """The columns of ``rows``, read on demand."""
        return Columns(self, rows)

    def types(self) -> dict[str, pl.DataType]:
        """Every column, of the raw table and of the features, with its type."""
        return {name: kind for file in self._on_disk for name, kind in file.collect_schema().items()}

    @cached_property
    def _file_of(self) -> dict[str, pl.LazyFrame]:
        return {name: file for file in self._on_disk for name in file.collect_schema().names()}


class Columns:
    """Columns of some rows of a table, by name; columns requested in order are read several at a time."""

    def __init__(self, table: PreparedTable, rows: np.ndarray) -> None:
        self.columns = [*table.categorical, *table.numeric]
        self._table = table
        self._rows = rows
        self._read = pl.DataFrame()

    def __getitem__(self, name: str) -> pl.Series:
        if name not in self._read.columns:
            first = self.columns.index(name)
            ahead = max(1, min(_AHEAD, _VALUES // max(len(self._rows), 1)))
            self._read = self._table.rows(self._rows, self.columns[first : first + ahead])
        return self._read[name]


def prepare(
    source: Source,
    features: Features,
    settings: dict[str, object],
    cache_dir: Path,
    memory_gb: float | None = None,
    engine: Engine | None = None,
) -> PreparedTable:
    """Compute the features of a source, or find them in the cache.

    Args:
        source: the raw table.
        features: what to compute.
        settings: the features' settings; with the source's fingerprint they name the cache folder.
        cache_dir: where the cache lies.
        memory_gb: GiB for features that can be computed of a table larger than memory; None: half of the free
            memory.
        engine: computes such features; threads of this process by default.
    """
    engine = engine or InThreads()
    identity = handbook.recorded(settings, features.version, source.schema.label_time is not None)
    fingerprint, data_fingerprint = (
        hashlib.sha256(json.dumps([known, *identity], sort_keys=True).encode()).hexdigest()[:16]
        for known in (source.fingerprint, source.data_fingerprint)
    )
    path = cache_dir / f"{source.schema.name}-{fingerprint}"
    in_memory = [] if source.in_memory is None else [source.in_memory]

    def write(folder: Path) -> None:
        folder.mkdir()
        if (source.in_memory is None or engine.apart) and hasattr(features, "stretches"):
            memory = psutil.virtual_memory().available / 2 if memory_gb is None else memory_gb * 2**30
            for number, made in enumerate(features.stretches(source.frame, cache_dir, memory, engine)):
                (of_key := folder / f"{number:03}").mkdir()
                write_one = partial(_write_stretch, made.make, of_key)
                for _ in engine.map(write_one, range(made.count), memory=made.memory):
                    pass
                for left in of_key.glob(".*"):  # by a worker that was killed
                    left.unlink()
            return
        frame = source.frame if source.in_memory is None else source.in_memory.lazy()
        for number, part in enumerate(_wide(features.parts(frame))):
            _write(part, folder / f"{number:03}.parquet")
            if source.in_memory is not None:
                in_memory.append(part)

    make_once(path, write)
    return PreparedTable(path, source, features, fingerprint, data_fingerprint, in_memory)


def _write_stretch(make: Callable[[int], pl.DataFrame], folder: Path, place: int) -> None:
    with replacing(folder / f"{place:06}.parquet", sync=False) as aside:
        _write(make(place), aside)


def _write(rows: pl.DataFrame, file: Path) -> None:
    # Small row groups: a split reads only the weeks it needs.
    rows.write_parquet(file, compression="lz4", row_group_size=65536)


def _wide(parts: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """The same columns in fewer, wider frames, with a progress bar."""
    wide = pl.DataFrame()
    with tqdm(desc="features", unit=" columns", leave=False, disable=None) as progress:
        for part in parts:
            progress.update(part.width)
            wide = wide.hstack(part) if wide.width else part
            if wide.width >= _WIDTH:
                yield wide
                wide = pl.DataFrame()
    if wide.width:
        yield wide


def prepared_table(
    data: Any,
    features: FeaturesConfig,
    label_delay_days: int,
    data_dir: Path,
    split: Any = None,
    *,
    read: bool = False,
    engine: Engine | None = None,
) -> PreparedTable:
    """The prepared table of ``data``, typed settings or a loaded source: made, or found under ``data_dir``.

    Features may learn limits from the training rows of ``split``. Settings that were ``read`` from an earlier run may
    have values that are refused now.
    ``engine`` computes features=history, by default threads of this process.

    Raises:
        UserError: no input column is left, or the requested features are not allowed.
    """
    source = data if isinstance(data, Source) else load_source(data, data_dir)
    settings = registry.settings_of(features, label_delay_days)
    made = registry.make(settings, source.schema)
    if engine is not None and engine.apart and not hasattr(made, "stretches"):
        raise UserError(
            f"engine=ray computes features=history and handbook; features={features.name} are computed in one process: "
            "leave engine=ray out"
        )
    if not read and hasattr(made, "check_typed"):
        made.check_typed()
    if to_learn := getattr(made, "to_learn", None):
        limits = learnt(source, list(to_learn.values()), split, label_delay_days)
        settings = {**settings, "limits": dict(zip(to_learn, limits, strict=True))}
        made = registry.make(settings, source.schema)
    if not (made.categorical or made.numeric):
        roles = ", ".join(f"{column.name} ({column.role})" for column in source.schema.columns)
        raise UserError(
            f"data={source.schema.name} features={features.name}: no column is left to learn from. The table has "
            f"{roles}; "
            "add columns of numbers or text, or leave fewer out (features.leave_out, data.carried)"
        )
    return prepare(source, made, settings, data_dir, getattr(features, "memory_gb", None), engine)
