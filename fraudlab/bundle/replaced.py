"""Contributions of a model that is known by its scores alone: what they rise by where columns are replaced."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fraudlab.features.encoder import Arrays

_SEED = 0  # of the orders: the same record has the same reasons


class Replaced:
    """Shapley values by sampled orders (Strumbelj and Kononenko 2014), each order taken forwards and backwards.

    A row of the training is turned into the record's, column by column; what the log-odds rise by is the column's. The
    mean over all rows and orders adds up to the record's log-odds less the rows' mean log-odds, exactly.

    Args:
        arrays: ``categorical`` int64 [K, C] and ``numeric`` float32 [K, N], rows of the training; ``column`` int64
            [C + N], the number of the column that each encoded column belongs to: they are replaced together.
        log_odds: of encoded rows, by the model.

    Attributes:
        base: mean log-odds of the rows.
    """

    def __init__(self, arrays: Mapping[str, NDArray[Any]], log_odds: Callable[[Arrays], NDArray[np.float64]]) -> None:
        self._rows = Arrays(arrays["categorical"], arrays["numeric"])
        self._column = arrays["column"]
        self._log_odds = log_odds
        self._columns = int(self._column.max()) + 1
        draw = np.random.default_rng(_SEED)
        orders = np.stack([draw.permutation(self._columns) for _ in self._rows.numeric])
        self._orders = np.concatenate([orders, orders[:, ::-1]])
        self.base = float(np.mean(log_odds(self._rows)))
        # Which encoded columns are the record's, after each step of each order: bool [2 K, columns + 1, C + N].
        place = np.argsort(self._orders, axis=1)
        self._own = place[:, None, self._column] < np.arange(self._columns + 1)[:, None]

    def __call__(self, categorical: NDArray[np.int64], numeric: NDArray[np.float32]) -> NDArray[np.float64]:
        """Contributions [n, C + N]; those of a column stand at the first of its encoded columns."""
        first = np.unique(self._column, return_index=True)[1]
        found = np.zeros((len(numeric), len(self._column)))
        for i in range(len(numeric)):
            found[i, first] = self._of_row(categorical[i], numeric[i])
        return found

    def _of_row(self, categorical: NDArray[np.int64], numeric: NDArray[np.float32]) -> NDArray[np.float64]:
        width = len(categorical)
        own = self._own.reshape(-1, len(self._column))
        others = (np.repeat(np.concatenate([part, part]), self._columns + 1, axis=0) for part in self._rows)
        rows = Arrays(
            np.where(own[:, :width], categorical, next(others)), np.where(own[:, width:], numeric, next(others))
        )
        rise = np.diff(self._log_odds(rows).reshape(len(self._orders), -1), axis=1)
        total = np.zeros(self._columns)
        np.add.at(total, self._orders, rise)
        return total / len(self._orders)


def reference_rows(categorical: NDArray[np.int64], numeric: NDArray[np.float32], count: int) -> dict[str, NDArray[Any]]:
    """Rows to be replaced, spread evenly over those given."""
    rows = np.linspace(0, len(numeric) - 1, min(count, len(numeric))).astype(np.int64)
    return {"categorical": categorical[rows], "numeric": numeric[rows]}
