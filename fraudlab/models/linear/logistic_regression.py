"""Logistic regression: scikit-learn fits it, three arrays hold it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save
from scipy.sparse import csr_matrix, hstack
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from fraudlab.config import LogisticRegressionConfig
from fraudlab.models.contract import Examples, OnRound
from fraudlab.models.linear.weights import Weights


class LogisticModel:
    """See :class:`fraudlab.models.contract.Estimator`.

    Args:
        state: float64 arrays: ``numeric`` [N], a weight a number; ``ids``, the weights of all columns' ids one after
            the other; ``intercept`` [1]; and int64 ``offset`` [C], where each column's ids begin.
        rounds: steps of the solver.
    """

    FILE = "best.safetensors"

    def __init__(self, state: Mapping[str, NDArray], rounds: int = 0) -> None:
        self._state = state
        self.rounds = rounds

    @classmethod
    def fit(
        cls,
        train: Examples,
        validation: Examples | None,
        cardinalities: Sequence[int],
        settings: LogisticRegressionConfig,
        *,
        fraud_weight: float,
        seed: int,
        on_round: OnRound,
    ) -> "LogisticModel":
        offset = np.cumsum([0, *cardinalities])
        numbers = train.numeric.astype(np.float64)
        rows, columns = train.categorical.shape
        ids = csr_matrix(
            (
                np.ones(rows * columns),
                (train.categorical + offset[:-1]).ravel(),
                np.arange(0, rows * columns + 1, columns) if columns else np.zeros(rows + 1),
            ),
            shape=(rows, offset[-1]),
        )
        design = hstack([csr_matrix(numbers), ids], format="csr") if columns else numbers
        solver = LogisticRegression(C=settings.C, max_iter=settings.max_iter, class_weight={0: 1.0, 1: fraud_weight})
        solver.fit(design, train.label, sample_weight=train.weight)
        weights = solver.coef_[0]
        width = numbers.shape[1]
        state = {"numeric": weights[:width], "ids": weights[width:], "intercept": solver.intercept_}
        return cls({**state, "offset": offset[:-1]}, int(solver.n_iter_[0]))

    def score(self, categorical: NDArray[np.int64], numeric: NDArray[np.float32]) -> NDArray[np.float32]:
        state = self._state
        logit = numeric.astype(np.float64) @ state["numeric"] + state["intercept"]
        logit += state["ids"][categorical + state["offset"]].sum(axis=1)
        return expit(logit).astype(np.float32)

    def save(self, path: Path) -> None:
        # save_file() would keep it from other users, whatever the umask says.
        path.write_bytes(save({name: np.ascontiguousarray(array) for name, array in self._state.items()}))

    @classmethod
    def load(cls, path: Path) -> "LogisticModel":
        return cls(load_file(path))

    def exported(self, cardinalities: Sequence[int], num_numeric: int) -> Weights:
        return Weights(**self._state)
