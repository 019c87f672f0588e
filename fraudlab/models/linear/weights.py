"""A linear model of encoded rows as arrays: its ONNX form, and what each column adds to the log-odds."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Weights:
    """Log-odds are ``intercept + numeric @ x + the sum of ids[offset + id]``.

    Attributes:
        numeric: float64 [N].
        ids: float64, the weights of all columns' ids one after the other.
        intercept: float64 [1].
        offset: int64 [C], where each column's ids begin.
    """

    numeric: NDArray[np.float64]
    ids: NDArray[np.float64]
    intercept: NDArray[np.float64]
    offset: NDArray[np.int64]

    kind = "linear"

    def terms(self, categorical: NDArray[np.int64], numeric: NDArray[np.float32]) -> NDArray[np.float64]:
        """What each column adds, float64 [n, C + N]."""
        return np.hstack([self.ids[categorical + self.offset], numeric.astype(np.float64) * self.numeric])

    def arrays(self, categorical: NDArray[np.int64], numeric: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        """The arrays that reasons are made of: the weights, and ``mean`` [C + N] of the terms of training rows."""
        return {**vars(self), "mean": self.terms(categorical, numeric).mean(axis=0)}

    def write_onnx(self, path: Path) -> None:
        """Write an ONNX model that gives ``score``, computed in double precision."""
        from onnx import TensorProto

        from fraudlab.models.scoring_graph import ScoringGraph

        graph = ScoringGraph(len(self.offset), len(self.numeric))
        log_odds = graph.constant(self.intercept.reshape(1, 1))
        if len(self.numeric):
            rows = graph.add("Cast", "numeric", to=TensorProto.DOUBLE)
            log_odds = graph.add("Add", log_odds, graph.add("MatMul", rows, graph.constant(self.numeric[:, None])))
        if len(self.offset):
            place = graph.add("Add", "categorical", graph.constant(self.offset))
            each = graph.add("Gather", graph.constant(self.ids), place)
            log_odds = graph.add("Add", log_odds, graph.add("ReduceSum", each, graph.constant(np.array([1]))))
        graph.save(log_odds, path)


class LinearReasons:
    """What each column adds to the log-odds of a row, over what it adds on average to training rows.

    Attributes:
        base: the mean log-odds of training rows.
    """

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self._mean = arrays["mean"]
        self._weights = Weights(*(arrays[name] for name in ("numeric", "ids", "intercept", "offset")))
        self.base = float(self._weights.intercept[0] + self._mean.sum())

    def __call__(self, categorical: NDArray[np.int64], numeric: NDArray[np.float32]) -> NDArray[np.float64]:
        """Contributions [n, C + N] of encoded rows; with ``base`` they add up to the log-odds."""
        return self._weights.terms(categorical, numeric) - self._mean
