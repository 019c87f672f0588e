"""Counts of rows by cell: all that drift is judged by, so that those of workers, hours and instances are added."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fraudlab.errors import UserError

Array = NDArray[Any]
_ARRAYS = ("cells", "unseen", "scores", "alerts")


@dataclass
class Counts:
    """Rows of some time, each with a weight: 1, or the number of requests that a recorded one stands for.

    Attributes:
        cells: sums of the weights by column and cell, float64 [D, K].
        unseen: sums by column of rows whose category the training rows have not, or too rarely, float64 [D].
        scores: sums between the edges of scores, float64 [S].
        alerts: sums of rows of level high, and of rows of any other level than low, float64 [2].
        rows: their number.
        weight: sum of the weights.
        squares: sum of the weights' squares.
        reasons: of alerts that were explained, how many had the column as the strongest reason.
    """

    cells: Array
    unseen: Array
    scores: Array
    alerts: Array
    rows: int = 0
    weight: float = 0.0
    squares: float = 0.0
    reasons: Counter[str] = field(default_factory=Counter)

    @property
    def effective(self) -> float:
        """The number of rows of weight 1 that tell as much (Kish 1965)."""
        return self.weight**2 / self.squares if self.squares else 0.0

    def add(self, other: "Counts") -> None:
        """Take in the rows of another, of the same bundle."""
        for name in _ARRAYS:
            getattr(self, name).__iadd__(getattr(other, name))
        self.rows += other.rows
        self.weight += other.weight
        self.squares += other.squares
        self.reasons.update(other.reasons)

    def to_dict(self) -> dict[str, Any]:
        """Plain data (for JSON) that :meth:`from_dict` reads back."""
        kept = {name: [_plain(row) for row in np.atleast_2d(getattr(self, name))] for name in _ARRAYS}
        about = {"rows": self.rows, "weight": self.weight, "squares": self.squares, "reasons": dict(self.reasons)}
        return {**about, "cells": kept["cells"], **{name: kept[name][0] for name in _ARRAYS[1:]}}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any], like: "Counts") -> "Counts":
        """What :meth:`to_dict` gave, of the same bundle as the counts ``like``.

        Raises:
            UserError: it is of another one, or no counts.
        """
        try:
            arrays = {name: _padded(plain[name], getattr(like, name).shape) for name in _ARRAYS}
            sums = int(plain["rows"]), float(plain["weight"]), float(plain["squares"])
            return cls(**arrays, rows=sums[0], weight=sums[1], squares=sums[2], reasons=Counter(plain["reasons"]))
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"these are not counts of this bundle ({error}); save the answers of GET /drift of its servers, of "
                "this version of fraudlab"
            ) from error


def _plain(row: Array) -> list[float]:
    """Whole numbers as such, and without the zeros at the end."""
    last = np.flatnonzero(row)
    return [int(value) if value == int(value) else float(value) for value in row[: last[-1] + 1 if len(last) else 0]]


def _padded(rows: Any, shape: tuple[int, ...]) -> Array:
    found = np.zeros(shape)
    two = found if found.ndim == 2 else found[None]
    rows = rows if found.ndim == 2 else [rows]
    for place, row in zip(two, rows, strict=True):
        place[: len(row)] = row
    if not (np.isfinite(found).all() and (found >= 0).all()):
        raise ValueError("a count must be a number of 0 or more")
    return found
