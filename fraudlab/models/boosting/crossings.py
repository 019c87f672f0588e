"""Columns of ids that are made of others: what categories, and answers to questions about numbers, are together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

NO_PART = -1
_APART = np.uint64(0x9E3779B97F4A7C15)  # odd: crossings are told apart by a multiple of it in their keys


@dataclass(frozen=True)
class Crossings:
    """V columns of ids, each made of up to P parts.

    A part of ids gives a number for each id. A part of numbers gives one of two, by whether a number is above a
    threshold. A row's key is the sum of what the parts give, modulo 2^64. The id of a key that is not listed is 0.

    Attributes:
        column: int32 [V, P], a part's column, of C ids, then N numbers; ``NO_PART`` where a crossing has fewer parts.
        threshold: float32 [V, P], of a part of numbers.
        start: int64 [V, P], where ``word`` has what the part gives for id 0, or up to the threshold; the rest follows.
        shares: bool [V, P], which parts a contribution of the crossing is shared by.
        word: int64; the first is 0.
        key: int64, sorted, of all crossings.
        id: int64, of each key.
    """

    column: NDArray[np.int32]
    threshold: NDArray[np.float32]
    start: NDArray[np.int64]
    shares: NDArray[np.bool_]
    word: NDArray[np.int64]
    key: NDArray[np.int64]
    id: NDArray[np.int64]

    @classmethod
    def none(cls) -> Self:
        """No crossing at all."""
        flat = np.empty(0, np.int64)
        column = np.empty((0, 0), np.int32)
        return cls(column, column.astype(np.float32), column.astype(np.int64), column.astype(bool), flat, flat, flat)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """What :meth:`arrays` gave; none where there is nothing."""
        if "crossing_key" not in arrays:
            return cls.none()
        return cls(**{field.name: arrays[f"crossing_{field.name}"] for field in fields(cls)})

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays by name; nothing where there is no crossing."""
        return {f"crossing_{field.name}": getattr(self, field.name) for field in fields(self)} if len(self) else {}

    def __len__(self) -> int:
        return len(self.column)

    @property
    def apart(self) -> NDArray[np.int64]:
        """What is added to the keys of each crossing, int64 [V]."""
        return apart(len(self))

    def ids(self, categorical: NDArray[np.int64], numeric: NDArray[np.float32]) -> NDArray[np.int64]:
        """The crossings' ids of rows, int64 [n, V]."""
        if not len(self.key):
            return np.zeros((len(numeric), len(self)), np.int64)
        width = categorical.shape[1]
        of_ids, of_numbers = (self.column != NO_PART) & (self.column < width), self.column >= width
        at = np.zeros((len(numeric), *self.column.shape), np.int64)
        at[:, of_ids] = categorical[:, self.column[of_ids]]
        at[:, of_numbers] = numeric[:, self.column[of_numbers] - width] > self.threshold[of_numbers]
        key = self.word[self.start + at].sum(axis=2) + self.apart
        place = np.minimum(np.searchsorted(self.key, key), len(self.key) - 1)
        return np.where(self.key[place] == key, self.id[place], 0)

    def renumbered(self, number: NDArray[np.int64]) -> Self:
        """The same crossings of columns that have other numbers."""
        return replace(self, column=np.where(self.column == NO_PART, NO_PART, number[self.column]).astype(np.int32))

    def players(self, width: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Whose contributions are counted, and how those of several columns together are shared, equally.

        Args:
            width: of the encoded columns.

        Returns:
            The player of each column and crossing [width + V], columns first; the share that a column has of a
            player's contribution [players, width].
        """
        together = [
            tuple(sorted(set(row[shares].tolist()))) for row, shares in zip(self.column, self.shares, strict=True)
        ]
        several = {columns: width + i for i, columns in enumerate(sorted({c for c in together if len(c) > 1}))}
        share = np.eye(width + len(several), width)
        for columns, player in several.items():
            share[player, list(columns)] = 1 / len(columns)
        of_crossings = [several[columns] if len(columns) > 1 else columns[0] for columns in together]
        return np.array([*range(width), *of_crossings], np.int64), share


def apart(count: int) -> NDArray[np.int64]:
    """What is added to the keys of each of so many crossings."""
    return (np.arange(count, dtype=np.uint64) * _APART).view(np.int64)


def padded(parts: Sequence[Sequence[Any]], nothing: Any, dtype: Any) -> NDArray[Any]:
    """What crossings have of each of their parts, [V, P], with ``nothing`` where one has fewer."""
    most = max(map(len, parts), default=0)
    return np.array([[*each, *[nothing] * (most - len(each))] for each in parts], dtype).reshape(len(parts), most)
