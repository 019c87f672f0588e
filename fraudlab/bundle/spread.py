"""The range of a model's members: how certain a score is."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

LEFT_OUT = 0.05
"""Share of the members' weight that is left out at either end."""


class Spread(NamedTuple):
    """Between which probabilities the members lie, [n] each; the mean of all may lie beyond where one is far out."""

    low: NDArray[np.float64]
    high: NDArray[np.float64]


def spread_of(probability: NDArray[np.float32], weights: NDArray[np.float64]) -> Spread:
    """The lowest and the highest member of each row once :data:`LEFT_OUT` of the weight is left out at either end.

    Either is what a member gives, not a value between two: the lowest of the members that have, with all below them,
    more than 5 % of the weight, and the highest likewise. Of fewer than 20 equal members these are the extremes.

    Args:
        probability: of each member, [n, M].
        weights: of the members, [M], above 0 with the sum 1.
    """
    edge = LEFT_OUT * (1 + 1e-9)  # 2 of 40 equal members are left out, whatever their sum is rounded to
    if (weights == weights[0]).all():
        place = int(edge * len(weights))
        ranked = np.sort(probability, axis=1).astype(np.float64)
        return Spread(ranked[:, place], ranked[:, len(weights) - 1 - place])
    order = np.argsort(probability, axis=1, kind="stable")
    ranked = np.take_along_axis(probability, order, axis=1).astype(np.float64)
    below = np.cumsum(weights[order], axis=1)
    above = np.cumsum(weights[order[:, ::-1]], axis=1)
    first, last = np.argmax(below > edge, axis=1), np.argmax(above > edge, axis=1)
    rows = np.arange(len(ranked))
    return Spread(ranked[rows, first], ranked[rows, ranked.shape[1] - 1 - last])
