"""The features of a whole table, which need not fit into memory."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from fraudlab.config.aggregates import QUANTILES
from fraudlab.engines import Engine
from fraudlab.errors import UserError
from fraudlab.features.history import rows as _rows
from fraudlab.features.history.aggregates import QUIET, computed, of_clock, plan
from fraudlab.features.history.definition import Definition, basis
from fraudlab.features.history.parts import MOST, Room, by_part, part_of
from fraudlab.features.history.streams import Floats, Integers
from fraudlab.features.threads import THREADS

if TYPE_CHECKING:
    import polars as pl

_PART = 1 << 17  # rows computed at once: what is made of them stays in the cache of a core
_STRETCH = 1 << 18  # rows read and given at once, in memory
_MANY, _FEW = 1 << 22, 1 << 16  # rows of a stretch where they go through files, as memory allows
_GIB = 2**30


@dataclass(frozen=True)
class Stretches:
    """Features of one key in stretches of consecutive rows, each made when it is asked for.

    Attributes:
        count: how many there are.
        make: gives one by its number.
        memory: bytes that one takes.
    """

    count: int
    make: Callable[[int], "pl.DataFrame"]
    memory: float

    def __iter__(self) -> Iterator["pl.DataFrame"]:
        return map(self.make, range(self.count))


@dataclass(frozen=True)
class Table:
    """A table in order of time.

    Attributes:
        definition: of the features.
        frame: the table.
        label: name of its column.
        label_time: name of the column that says when labels were known, if there is one.
    """

    definition: Definition
    frame: "pl.LazyFrame"
    label: str
    label_time: str | None

    def features(self, folder: Path | None, memory: float | None, engine: Engine) -> Iterator[Stretches]:
        """The features, those of one key after the other; to be taken before the next.

        Args:
            folder: where to put files meanwhile; None: all in memory.
            memory: bytes that this may take, or each machine of a cluster; None: any.
            engine: where they are computed.

        Raises:
            UserError: a time is missing or rows are not in its order, numbers are too large for exact sums, or memory
                does not suffice.
        """
        size, row = (_STRETCH, 0.0) if memory is None else self._stretch(memory)
        stretch = min(size, self._length) * row
        part = {key: 0.0 if memory is None else self._largest(key, size, memory) for key in self._keys}
        self._check_order(size)
        shares = _rows.Shares(self._labels(size))
        if self.definition.of(""):
            yield self._of_clock(size, stretch)
        for key in self._keys:
            threads = THREADS if memory is None else max(1, min(THREADS, int(memory / max(part[key], 1))))
            with TemporaryDirectory(dir=folder, prefix="history-") as place:
                files = Path(place) if folder is not None and (engine.apart or self._length > size) else None
                room = Room(engine, 1 if engine.apart else threads, part[key], stretch, files)
                yield self._of_key(key, size, shares, room)

    def _stretch(self, memory: float) -> tuple[int, float]:
        """Rows of a stretch, that three copies of what is read and made of them fit into memory; bytes of a row."""
        sample = self.frame.head(_FEW).select(self._columns(self.definition)).collect()
        widest = max(len(self.definition.of(key)) for key in ["", *self.definition.keys])
        row = 3 * (sample.estimated_size() / max(len(sample), 1) + 8 * widest) + 32
        if row * min(_FEW, self._length) > memory:
            raise UserError(
                f"features=history with {widest} features of one key needs {row * _FEW / _GIB:.2g} GiB of memory at "
                f"least, and {memory / _GIB:.2g} GiB may be used: raise features.memory_gb, or ask for fewer features"
            )
        return int(min(_MANY, max(_FEW, memory / row))), row

    def _largest(self, key: str, size: int, memory: float) -> float:
        """Bytes that the largest part of a key takes."""
        own = self.definition.only(key)
        columns, counts = own.keys[key], np.zeros(self._parts, np.int64)
        for rows in self._read(list(columns), size):
            counts += np.bincount(part_of(rows, columns, self._parts), minlength=self._parts + 1)[:-1]
        largest = int(counts.max())
        made_of = basis(own.aggregates)
        quantiles = sum(a.what in QUANTILES for a in made_of)
        words = (
            40
            + 2 * len(own.aggregates)
            + 2 * len(made_of)
            + 12 * len(own.numbers)
            + 6 * len(own.categories)
            + 6 * quantiles
        )
        part = 8 * words * largest
        if part > memory:
            raise UserError(
                f"features.keys.{key}: {largest:,} rows have one value of it or a few, which are computed at once and "
                f"need about {part / _GIB:.2g} GiB of memory; {memory / _GIB:.2g} GiB may be used: raise "
                "features.memory_gb, ask for fewer features of that key, or leave rows of its most frequent values out"
            )
        return part

    @cached_property
    def _length(self) -> int:
        import polars as pl

        return int(self.frame.select(pl.len()).collect().item())

    @property
    def _keys(self) -> list[str]:
        return [key for key in self.definition.keys if self.definition.of(key)]

    @property
    def _parts(self) -> int:
        return min(max(1, -(-self._length // _PART)), MOST)

    def _columns(self, definition: Definition) -> list[str]:
        keys = [column for columns in definition.keys.values() for column in columns]
        labels = [self.label, *([self.label_time] if self.label_time else [])] if definition.reads_labels else []
        return list(dict.fromkeys((definition.time, *keys, *definition.numbers, *definition.categories, *labels)))

    def _read(self, columns: list[str], size: int) -> Iterator["pl.DataFrame"]:
        """Consecutive rows, ``size`` at once; one empty frame of an empty table."""
        for number in range(self._count(size)):
            yield self._read_one(columns, size, number)

    def _read_one(self, columns: list[str], size: int, number: int) -> "pl.DataFrame":
        return self.frame.slice(number * size, size).select(columns).collect()

    def _count(self, size: int) -> int:
        return max(1, -(-self._length // size))

    def _check_order(self, size: int) -> None:
        name = self.definition.time
        empty, before = 0, None
        for rows in self._read([name], size):
            empty += rows[name].null_count()
            time = _rows.moments(rows[name])
            if not empty and len(time) and ((np.diff(time) < 0).any() or (before is not None and time[0] < before)):
                raise UserError(f"rows are not sorted by {name}")
            before = time[-1] if len(time) else before
        if empty:
            raise UserError(f"column {name} has no value in {empty} rows; fill them or leave the rows out")

    def _labels(self, size: int) -> Iterator[tuple[Integers, Integers]]:
        if self.definition.reads_labels:
            name = self.definition.time
            for rows in self._read([name, self.label, *([self.label_time] if self.label_time else [])], size):
                told = rows[self.label_time] if self.label_time else None
                yield _rows.labels(self.definition, _rows.moments(rows[name]), rows[self.label], told)

    def _of_clock(self, size: int, memory: float) -> Stretches:
        def make(number: int) -> "pl.DataFrame":
            import polars as pl

            time = _rows.moments(self._read_one([self.definition.time], size, number).to_series())
            return pl.DataFrame({a.name: of_clock(a.what, time) for a in self.definition.of("")})

        return Stretches(self._count(size), make, memory)

    def _of_key(self, key: str, size: int, shares: _rows.Shares, room: Room) -> Stretches:
        own = self.definition.only(key)
        position = {aggregate: number for number, aggregate in enumerate(own.aggregates)}
        planned = plan(own.aggregates)
        columns, count = self._columns(own), self._count(size)

        def compute(rows: "pl.DataFrame") -> list[Floats]:
            made = [np.full(len(rows), np.nan) for _ in position]
            group = _rows.group(rows, own.keys[key])
            given = _rows.table(own, rows, self.label, self.label_time, shares)
            with np.errstate(**QUIET):
                for place, found in computed(given, group, planned):
                    for aggregate in position.keys() & found.keys():
                        made[position[aggregate]][place] = found[aggregate]
            return made

        read = partial(self._read_one, columns, size)
        columns_of = by_part(read, count, own.keys[key], self._parts, compute, len(position), room)

        def make(number: int) -> "pl.DataFrame":
            import polars as pl

            made = zip(position, columns_of(number), strict=True)
            return pl.DataFrame({a.name: values for a, values in made}, nan_to_null=True)

        return Stretches(count, make, room.stretch)
