"""A table's rows brought together by key, a part at a time, and what is made of them put back in the table's order.

Parts are of whole keys and of about as many rows each, whatever the table's size: what is made of one stays in the
cache of a core, and of a table that does not fit into memory all but a few parts and one stretch lie in files.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from fraudlab.engines import Engine
from fraudlab.errors import UserError
from fraudlab.features.history.streams import Floats, Integers
from fraudlab.features.threads import in_threads
from fraudlab.files import replacing

if TYPE_CHECKING:
    import polars as pl

MOST = 2**16 - 2
"""Parts at most: their numbers are sorted in 16 bits."""
_ROW = "\x1frow"


def part_of(rows: "pl.DataFrame", key: Sequence[str], parts: int) -> NDArray[np.uint16]:
    """``[N]``: number of the part that each row is in, by its key alone; ``parts`` where a column of it is missing."""
    import polars as pl

    hashed = np.zeros(len(rows), np.uint64)
    missing = np.zeros(len(rows), np.bool_)
    for name in key:
        column = rows[name].fill_nan(None) if rows[name].dtype.is_float() else rows[name]
        if column.dtype == pl.Categorical:
            column = column.cast(pl.String)  # what numbers stand for differs from one stretch to the next
        hashed = hashed * np.uint64(0x9E3779B97F4A7C15) + column.hash().to_numpy()
        missing |= column.is_null().to_numpy()
    part = ((hashed >> np.uint64(40)) * np.uint64(parts) >> np.uint64(24)).astype(np.uint16)
    part[missing] = parts
    return part


def _hashes() -> list[int]:
    """What Polars makes of some values on this machine."""
    import polars as pl

    return [pl.Series([value]).hash().item() for value in ("text of more than sixteen bytes", "text", 1, 1.5)]


@dataclass(frozen=True)
class Room:
    """Where parts are computed, and what there is for them.

    Attributes:
        engine: runs the tasks, each of a part or of a stretch.
        threads: parts at once in this process.
        part: bytes that a part takes.
        stretch: bytes that a stretch takes.
        folder: where rows and results lie meanwhile; None: in memory.
    """

    engine: Engine
    threads: int
    part: float
    stretch: float
    folder: Path | None


def by_part(
    read: Callable[[int], "pl.DataFrame"],
    count: int,
    key: Sequence[str],
    parts: int,
    compute: Callable[["pl.DataFrame"], list[Floats]],
    width: int,
    room: Room,
) -> Callable[[int], list[Floats]]:
    """What ``compute`` gives for each row, from the rows of its part.

    Args:
        read: gives a stretch, consecutive rows of the table, by its number.
        count: of the stretches.
        key: columns of the key; a row with a missing one is in no part.
        parts: their number.
        compute: gives columns ``[n]`` of a part's n rows, in their order.
        width: number of the columns.
        room: where to compute.

    Returns:
        What gives the columns of a stretch by its number; NaN where a row is in no part.
    """
    engine, threads, folder = room.engine, room.threads, room.folder
    hashes = _hashes()

    def sort(number: int) -> _Stretch:
        if _hashes() != hashes:  # the rows of a key would fall into several parts
            raise UserError(
                "the machines of the cluster hash values each in its own way, so keys cannot be brought together: use "
                "machines of one kind with one version of Polars"
            )
        return _sorted(read(number), key, parts, folder and folder / f"{number}.arrow")

    sorted_ = list(engine.map(sort, range(count), memory=room.stretch))
    counts = np.array([np.diff(stretch.ends) for stretch in sorted_])
    some = np.flatnonzero(counts[:, :parts].sum(axis=0)).tolist()

    def work(part: int) -> list[Floats]:
        import polars as pl

        made = compute(pl.concat([stretch.part(part) for stretch in sorted_]))
        if folder is None:
            return made
        with replacing(folder / f"{part}.npy", sync=False) as aside, aside.open("wb") as file:
            np.save(file, made)
        return []

    made: dict[int, list[Floats]] = {}
    with tqdm(total=int(counts.sum()), desc="features", unit=" rows", leave=False, disable=None) as progress:
        for part, found in zip(some, engine.map(work, some, at_once=threads, memory=room.part), strict=True):
            made[part] = found
            progress.update(int(counts[:, part].sum()))

    def piece(part: int, begin: int, end: int) -> list[Floats]:
        if folder is None:
            return [column[begin:end] for column in made[part]]
        return list(np.array(np.load(folder / f"{part}.npy", "r")[:, begin:end]))

    ends = np.cumsum(counts, axis=0)

    def columns_of(number: int) -> list[Floats]:
        end = ends[number]
        begin = end - counts[number]
        pieces = [piece(part, begin[part], end[part]) for part in some]
        return _in_table_order(sorted_[number], [[of_part[i] for of_part in pieces] for i in range(width)], threads)

    return columns_of


@dataclass(frozen=True)
class _Stretch:
    """Consecutive rows in order of their parts.

    Attributes:
        rows: their columns, and ``_ROW``, where each of them stood in the stretch.
        ends: ``[parts + 2]``: where each part begins; behind the last stand rows that are in none.
    """

    rows: "pl.DataFrame | pl.LazyFrame"
    ends: Integers

    def part(self, number: int) -> "pl.DataFrame":
        begin, end = self.ends[number : number + 2].tolist()
        return self.rows.slice(begin, end - begin).lazy().collect()


def _in_table_order(stretch: _Stretch, columns: list[list[Floats]], threads: int) -> list[Floats]:
    """Columns in the table's order, of those that are in order of the parts, in pieces."""
    row = stretch.rows.lazy().select(_ROW).collect().to_series().to_numpy()
    place = np.empty(len(row), np.int64)
    place[row] = np.arange(len(row))
    nothing = np.full(len(row) - stretch.ends[-2], np.nan)
    return in_threads(lambda pieces: np.concatenate([*pieces, nothing])[place], columns, threads)


def _sorted(rows: "pl.DataFrame", key: Sequence[str], parts: int, file: Path | None) -> _Stretch:
    import polars as pl

    part = part_of(rows, key, parts)
    order = np.argsort(part, kind="stable").astype(np.uint32)  # a radix sort, of 16 bits
    ends = np.append(0, np.cumsum(np.bincount(part, minlength=parts + 1)))
    sorted_ = rows[order].with_columns(pl.Series(_ROW, order))
    if file is None:
        return _Stretch(sorted_, ends)
    with replacing(file, sync=False) as aside:
        sorted_.write_ipc(aside, compression="uncompressed")
    return _Stretch(pl.scan_ipc(file, glob=False), ends)
