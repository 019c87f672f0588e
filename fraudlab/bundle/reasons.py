"""What a score rests on: contributions of columns to its log-odds, and their form in answers."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from fraudlab.bundle.replaced import Replaced
from fraudlab.errors import UserError
from fraudlab.features.encoder import Arrays
from fraudlab.features.joined import Encoder
from fraudlab.models.boosting.tree_shap import TreeShap
from fraudlab.models.boosting.trees import Trees
from fraudlab.models.linear.weights import LinearReasons

FILE = "reasons.safetensors"
LogOdds = Callable[[Arrays], NDArray[np.float64]]


class Reason(NamedTuple):
    """A column that a score rests on.

    Attributes:
        column: its name.
        value: the record's, as the encoder reads it.
        share: of all that the score rests on, in [0, 1].
        contribution: what it adds to the log-odds of the score, above 0 where it speaks for fraud; None where the model
            only tells what it looked at (TabNet's masks).

    >>> Reason("amount", 250.0, 0.7, 1.3).share
    0.7
    """

    column: str
    value: Any
    share: float
    contribution: float | None


class Contributions(Protocol):
    """What encoded columns add to a row's log-odds.

    Attributes:
        base: log-odds that they are added to.
    """

    base: float

    def __call__(self, categorical: NDArray[np.int64], numeric: NDArray[np.float32]) -> NDArray[np.float64]:
        """Contributions [n, C + N]; with ``base`` they add up to the log-odds."""
        ...


KINDS: dict[str, Callable[[Mapping[str, NDArray[Any]], LogOdds], Contributions]] = {
    "trees": lambda arrays, log_odds: TreeShap(Trees.from_arrays(arrays)),
    "crossed_trees": lambda arrays, log_odds: TreeShap(Trees.from_arrays(arrays)),
    "linear": lambda arrays, log_odds: LinearReasons(arrays),
    "replaced": Replaced,
}
"""Of each kind of model what makes its contributions of the arrays in the bundle and of the model's own log-odds."""


def save_reasons(folder: Path, kind: str, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write what :func:`load_reasons` reads."""
    plain = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    (folder / FILE).write_bytes(save(plain, {"kind": kind}))  # save_file() would make it 0600


def load_reasons(folder: Path, log_odds: LogOdds) -> Contributions | None:
    """What makes the contributions of a bundle's model; None where the bundle has none.

    Raises:
        UserError: the file is not what an export writes.
    """
    if not (folder / FILE).is_file():
        return None
    try:
        with safe_open(folder / FILE, "np") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
            kind = (file.metadata() or {})["kind"]
        return KINDS[kind](arrays, log_odds)
    except (OSError, KeyError, TypeError, ValueError, IndexError, SafetensorError) as error:
        raise UserError(
            f"bundle {folder}: {FILE} is not what an export writes ({type(error).__name__}: {error}); export again"
        ) from error


class Columns:
    """The columns that reasons name: those that are encoded, each with its indicator of missing values.

    Attributes:
        names: categorical, then numeric ones.
    """

    def __init__(self, encoder: Encoder) -> None:
        ids, numbers = list(dict.fromkeys(encoder.categorical)), list(dict.fromkeys(encoder.numeric))
        self.names = [*ids, *numbers]
        of_numbers = (len(ids) + numbers.index(name) for name in encoder.numeric_columns)
        self.of_encoded = np.array([*map(ids.index, encoder.categorical), *of_numbers])

    def summed(self, encoded: NDArray[Any]) -> NDArray[np.float64]:
        """Of what encoded columns have [n, C + N] what these have, float64 [n, columns]."""
        return encoded.astype(np.float64) @ np.eye(len(self.names))[self.of_encoded]

    def reasons(
        self, weights: NDArray[np.float64], values: Sequence[Mapping[str, Any]], k: int, *, signed: bool
    ) -> list[list[Reason]]:
        """The ``k`` columns of most weight in each row, largest share first; those of none are left out.

        Args:
            weights: float64 [n, columns].
            values: the columns of each row.
            k: how many.
            signed: whether weights are contributions to the log-odds; else shares of attention.
        """
        size = np.abs(weights)
        total = size.sum(axis=1, keepdims=True)
        share = size / np.where(total > 0, total, 1.0)
        top = np.argsort(-share, axis=1, kind="stable")[:, :k]
        return [
            [
                Reason(self.names[i], value.get(self.names[i]), float(row[i]), float(weight[i]) if signed else None)
                for i in best
                if row[i] > 0
            ]
            for value, row, weight, best in zip(values, share, weights, top.tolist(), strict=True)
        ]
