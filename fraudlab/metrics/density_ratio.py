"""How much more often rows are seen now than before: weights that make past rows stand for today's."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

_MOST = 20.0  # weight of a row, in means
_ROUNDS = 30
_SAMPLE = 20_000  # rows of each side that the regression learns from
_RIDGE = 1.0


def density_ratio(past: Array, now: Array) -> NDArray[np.float64]:
    """Weight of each past row, with mean 1: how its likelihood among today's rows compares with that among the past's.

    From a logistic regression that tells the two apart, with a weak ridge (Bickel, Brückner and Scheffer 2009). Weights
    are cut at 20 means, so that no single row stands for a week.

    Args:
        past: finite columns ``[N, D]``.
        now: the same columns ``[M, D]``.

    Returns:
        ``[N]``.
    """
    sample = [rows[:: -(-len(rows) // _SAMPLE)] for rows in (past, now)]
    both = np.concatenate(sample).astype(np.float64)
    mean, scale = both.mean(axis=0), np.maximum(both.std(axis=0), 1e-12)

    def inputs(rows: Array) -> NDArray[np.float64]:
        return np.column_stack([np.clip((rows - mean) / scale, -5, 5), np.ones(len(rows))])

    both = inputs(both)
    lengths = [len(rows) for rows in sample]
    target = np.repeat([0.0, 1.0], lengths)
    weight = np.repeat([0.5 / length for length in lengths], lengths) * len(both)
    ridge = _RIDGE * np.eye(both.shape[1])
    ridge[-1, -1] = 1e-6
    slopes = np.zeros(both.shape[1])
    for _ in range(_ROUNDS):
        p = 1 / (1 + np.exp(-np.clip(both @ slopes, -30, 30)))
        curvature = both.T @ (both * (weight * p * (1 - p))[:, None]) + ridge
        step = np.linalg.solve(curvature, both.T @ (weight * (target - p)) - ridge @ slopes)
        slopes += step / max(1.0, float(np.abs(step).max()))
        if np.abs(step).max() < 1e-6:
            break
    ratio = np.exp(np.clip(inputs(past) @ slopes, -30, 30))
    ratio = np.minimum(ratio / ratio.mean(), _MOST)
    found: NDArray[np.float64] = ratio / ratio.mean()
    return found
