"""What every baseline keeps, and the arrays it is given."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from fraudlab.metrics.ranking import average_precision

OnRound = Callable[[float], None]
"""Called after each round of boosting with the average precision on validation."""


class Examples(NamedTuple):
    """Encoded rows with their labels: ``categorical`` int64 [B, C], ``numeric`` float32 [B, N], ``label`` int64 [B]."""

    categorical: NDArray[np.int64]
    numeric: NDArray[np.float32]
    label: NDArray[np.int64]


class Estimator(Protocol):
    """A fitted model.

    Attributes:
        FILE: name of the file it is saved to.
        rounds: trees, or steps of the solver, that it is made of.
    """

    FILE: str
    rounds: int

    @classmethod
    def fit(
        cls,
        train: Examples,
        validation: Examples | None,
        cardinalities: Sequence[int],
        settings: Any,
        *,
        fraud_weight: float,
        seed: int,
        on_round: OnRound,
    ) -> Self:
        """Fit to ``train``.

        Args:
            train: rows to learn from.
            validation: rows on whose average precision boosting stops and the best round is chosen; None to take
                the last.
            cardinalities: number of ids of each categorical column.
            settings: the model's own, of :mod:`fraudlab.config.boosting`.
            fraud_weight: weight of a fraud where a genuine row has 1.
            seed: of every draw; the same seed on as many threads gives the same model.
            on_round: told of each round, where there is a validation and rounds.
        """
        ...

    def score(self, categorical: NDArray[np.int64], numeric: NDArray[np.float32]) -> NDArray[np.float32]:
        """Fraud probability [B]."""
        ...

    def save(self, path: Path) -> None:
        """Write the model to ``path`` in its library's own format."""
        ...

    @classmethod
    def load(cls, path: Path) -> Self:
        """The model that :meth:`save` wrote; the file must be whole."""
        ...


def joined(categorical: NDArray[np.int64], numeric: NDArray[np.float32]) -> NDArray[np.float32]:
    """Ids, then numbers: float32 [B, C + N]. Ids are whole up to 2^24, more than any vocabulary here holds."""
    return np.hstack([categorical.astype(np.float32), numeric])


def measure(label: NDArray, score: NDArray) -> float:
    """Average precision; 0 where there is no fraud, which libraries can compare."""
    return float(np.nan_to_num(average_precision(label, score)))
