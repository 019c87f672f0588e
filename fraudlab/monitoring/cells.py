"""The cells that a bundle's columns and scores are counted in: those of its ``reference.json``.

Rows are counted as the encoder has them, by one code for what a server scores and for what a file holds: both give the
same counts.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fraudlab.features.categories import FIRST
from fraudlab.features.encoder import Arrays, TableEncoder
from fraudlab.monitoring.counts import Counts

Array = NDArray[Any]
UNSEEN = 1  # the encoder's id of a category that the training rows have not, or too rarely


def title(kind: str, name: str, both: bool) -> str:
    """What a column is called where ``both`` its category and its number are inputs."""
    return f"{name} (number)" if both and kind == "number" else name


def alerts_of(levels: Array) -> NDArray[np.bool_]:
    """Whether rows of these levels [n] are alerts of level high, and of any, [2, n]."""
    return np.stack([levels == "high", levels != "low"])


def score_parts(counts: Array, told: Array, alerts: Array) -> Array:
    """Counts [..., 3, K]: by cell of the scores, by whether they make a high alert, by whether any alert.

    Args:
        counts: between the edges, [..., S].
        told: which edges part the cells.
        alerts: counts of the alerts of level high and of any, [..., 2].
    """
    cells = np.add.reduceat(counts, np.r_[0, np.asarray(told) + 1], axis=-1)
    found = np.zeros((*counts.shape[:-1], 3, cells.shape[-1]), counts.dtype)
    found[..., 0, :] = cells
    found[..., 1:, 1] = alerts
    found[..., 1:, 0] = np.maximum(counts.sum(axis=-1)[..., None] - alerts, 0)
    return found


class Cells:
    """Counts encoded rows.

    A numeric column has a cell up to each edge, one above all, and one for missing values. A categorical one has a cell
    for each of its most frequent values, one for all others, unseen ones among them, and one for missing values.

    Args:
        encoder: of the bundle; of several, the first, whose arrays are the first columns of all.
        columns: ``reference.json``'s ``columns``.
        score_edges: its scores' ``edges``.

    Attributes:
        names: of the D columns: the categorical ones, then the numeric ones.
        widths: number of cells of each.
    """

    def __init__(self, encoder: TableEncoder, columns: Mapping[str, Any], score_edges: Sequence[float]) -> None:
        both = set(encoder.categorical) & set(encoder.numeric)
        self.names = [
            *encoder.categorical,
            *(title("number", name, name in both) for name in encoder.numeric),
        ]
        self._categories = len(encoder.categorical)
        self._edges = [np.array(columns[name]["encoded"], np.float32) for name in self.names[self._categories :]]
        most = max(encoder.cardinalities, default=1)
        self._cell = np.zeros((self._categories, most), np.int64)
        self.widths = [len(edges) + 2 for edges in self._edges]
        for i, name in enumerate(encoder.categorical):
            values = columns[name]["values"]
            ids = {word: FIRST + position for position, word in enumerate(encoder.words(name))}
            self._cell[i] = len(values)
            self._cell[i, 0] = len(values) + 1
            self._cell[i, [ids[value] for value in values]] = np.arange(len(values))
            self.widths.insert(i, len(values) + 2)
        indicators = {name: i for i, name in enumerate(encoder.numeric_names) if i >= len(encoder.numeric)}
        self._missing = [indicators.get(f"{name}_missing") for name in encoder.numeric]
        self._score_edges = np.array(score_edges)
        self._width = max(self.widths, default=2)

    def empty(self) -> Counts:
        """Counts of no rows."""
        count = len(self.names)
        cells, scores = np.zeros((count, self._width)), np.zeros(len(self._score_edges) + 1)
        return Counts(cells, np.zeros(count), scores, np.zeros(2))

    def codes(self, arrays: Arrays) -> NDArray[np.int64]:
        """The cell of each row in each column, [D, rows]."""
        found = np.empty((len(self.names), len(arrays.numeric)), np.int64)
        for i in range(self._categories):
            found[i] = self._cell[i][arrays.categorical[:, i]]
        numbers = np.ascontiguousarray(arrays.numeric.T)
        for i, (edges, missing) in enumerate(zip(self._edges, self._missing, strict=True)):
            code = np.searchsorted(edges, numbers[i], side="left")
            if missing is not None:
                code = np.where(numbers[missing] > 0.5, len(edges) + 1, code)
            found[self._categories + i] = code
        return found

    def count(self, arrays: Arrays, scores: Array, levels: Array, weights: Array | None = None) -> Counts:
        """Counts of encoded rows with their scores [n], risk levels [n] and weights [n], 1 where there are none."""
        found = self.empty()
        rows = len(scores)
        weights = np.ones(rows) if weights is None else np.asarray(weights, np.float64)
        for i, code in enumerate(self.codes(arrays)):
            found.cells[i] = np.bincount(code, weights, self._width)
        found.unseen[: self._categories] = weights @ (arrays.categorical[:, : self._categories] == UNSEEN)
        # A threshold is an edge, and a score that equals it lies above it.
        at = np.searchsorted(self._score_edges, scores, side="right")
        found.scores[:] = np.bincount(at, weights, len(found.scores))
        found.alerts[:] = alerts_of(levels) @ weights
        found.rows, found.weight, found.squares = rows, float(weights.sum()), float(weights @ weights)
        return found
