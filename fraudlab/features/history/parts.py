"""A table's rows brought together by key, a part at a time, and what is made of them put back in the table's order.

Parts are of whole keys and of about as many rows each, whatever the table's size: what is made of one stays in the
cache of a core, and of a table that does not fit into memory all but a few parts and one stretch lie in files.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from fraudlab.features.history.streams import Floats, Integers
from fraudlab.features.threads import in_threads

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


def by_part(
    stretches: Iterable["pl.DataFrame"],
    key: Sequence[str],
    parts: int,
    compute: Callable[["pl.DataFrame"], list[Floats]],
    width: int,
    threads: int,
    folder: Path | None,
) -> Iterator[list[Floats]]:
    """What ``compute`` gives for each row, from the rows of its part.

    Args:
        stretches: consecutive rows of the table.
        key: its columns; a row with a missing one is in no part.
        parts: their number.
        compute: gives columns ``[n]`` of a part's n rows, in their order.
        width: number of the columns.
        threads: parts at once.
        folder: where rows and results lie meanwhile; None: in memory.

    Yields:
        The columns of each stretch; NaN where a row is in no part.
    """
    sorted_ = [_sorted(rows, key, parts, folder and folder / f"{i}.arrow") for i, rows in enumerate(stretches)]
    counts = np.array([np.diff(stretch.ends) for stretch in sorted_])
    some = np.flatnonzero(counts[:, :parts].sum(axis=0)).tolist()
    made: dict[int, list[Floats]] = {}
    with tqdm(total=int(counts.sum()), desc="features", unit=" rows", leave=False, disable=None) as progress:

        def work(part: int) -> None:
            import polars as pl

            made[part] = compute(pl.concat([stretch.part(part) for stretch in sorted_]))
            if folder is not None:
                np.save(folder / f"{part}.npy", made.pop(part))
            progress.update(int(counts[:, part].sum()))

        in_threads(work, some, threads)

    def piece(part: int, begin: int, end: int) -> list[Floats]:
        if folder is None:
            return [column[begin:end] for column in made[part]]
        return list(np.array(np.load(folder / f"{part}.npy", "r")[:, begin:end]))

    ends = np.cumsum(counts, axis=0)
    for stretch, begin, end in zip(sorted_, ends - counts, ends, strict=True):
        pieces = [piece(part, begin[part], end[part]) for part in some]
        yield _put_back(stretch, [[of_part[i] for of_part in pieces] for i in range(width)], threads)


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


def _put_back(stretch: _Stretch, columns: list[list[Floats]], threads: int) -> list[Floats]:
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
    sorted_.write_ipc(file, compression="uncompressed")
    return _Stretch(pl.scan_ipc(file, glob=False), ends)
