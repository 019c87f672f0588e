"""Exact path-dependent TreeSHAP (Lundberg et al. 2020) of all trees at once, in NumPy.

A leaf's part in a column's Shapley value is an integral along the diagonal of the multilinear extension (Owen 1972).
Of a path whose columns keep the share z of the training rows, and let the row pass (o = 1) or not (o = 0), it is
``value (o_i - z_i) * integral over t in [0, 1] of the product over j != i of z_j (1 - t) + o_j t``. The integrand is a
polynomial, so Gauss-Legendre quadrature is exact.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fraudlab.models.boosting.trees import LEAF, Trees

_LEAST = 1e-12  # of a share: of paths that no training row took the quotient below would be 0 / 0


class _Paths(NamedTuple):
    """Leaves whose paths ask ``d`` columns each.

    ``value`` [L]; ``column`` and ``factor`` [d, L], the latter where the columns' questions stand among all; ``share``
    [d, L]; ``at`` and ``weight`` [Q], of the quadrature.
    """

    value: NDArray[np.float64]
    column: NDArray[np.int64]
    factor: NDArray[np.int64]
    share: NDArray[np.float64]
    at: NDArray[np.float64]
    weight: NDArray[np.float64]


class TreeShap:
    """What each column adds to the log-odds of a row.

    Where trees split on columns together (:class:`fraudlab.models.boosting.crossings.Crossings`), a set of columns is
    one player, whose contribution its columns share equally, as CatBoost has it.

    Attributes:
        base: log-odds of which the contributions are counted: the trees' mean over the training rows, in float64.
    """

    def __init__(self, trees: Trees) -> None:
        self._trees = trees
        leaf, node, right = _edges(trees)
        player, self._share = trees.crossings.players(int(trees.widths.sum()))
        column = player[trees.column[node]]
        child = np.where(right, trees.right[node], trees.left[node])
        with np.errstate(invalid="ignore", divide="ignore"):
            share = np.nan_to_num(trees.cover[child] / trees.cover[node], nan=0.5)
        order = np.lexsort((column, leaf))  # questions of a path about one column stand together, and the path's too
        leaf, column, share = leaf[order], column[order], share[order]
        self._node, self._right = node[order], right[order]
        new = np.ones(len(leaf), bool)
        new[1:] = (leaf[1:] != leaf[:-1]) | (column[1:] != column[:-1])
        self._first = np.flatnonzero(new)
        shares = np.maximum(np.multiply.reduceat(share, self._first), _LEAST) if len(leaf) else share
        leaves, start, length = np.unique(leaf[self._first], return_index=True, return_counts=True)
        self._paths = []
        alone = np.flatnonzero(trees.left[trees.root] == LEAF)  # trees of one leaf
        self.base = float(trees.base[0] + trees.value[trees.root[alone]].sum())
        for depth in np.unique(length):
            picked = length == depth
            factor = start[picked] + np.arange(depth)[:, None]
            at, weight = np.polynomial.legendre.leggauss((depth + 1) // 2)
            value = trees.value[leaves[picked]]
            self._paths.append(
                _Paths(value, column[self._first][factor], factor, shares[factor], (at + 1) / 2, weight / 2)
            )
            self.base += float(value @ shares[factor].prod(axis=0))

    def __call__(self, categorical: NDArray[np.int64], numeric: NDArray[np.float32]) -> NDArray[np.float64]:
        """Contributions [n, C + N] of encoded rows; with ``base`` they add up to the log-odds."""
        players, width = self._share.shape
        passes = self._trees.goes_right(categorical, numeric)[:, self._node] == self._right
        if not len(passes):
            return np.empty((0, width))
        found = np.stack([self._of_row(row, players) for row in passes])
        return found if players == width else found @ self._share

    def _of_row(self, passes: NDArray[np.bool_], players: int) -> NDArray[np.float64]:
        found = np.zeros(players)
        if not self._paths:
            return found
        factors = np.logical_and.reduceat(passes, self._first)
        for value, column, factor, share, at, weight in self._paths:
            one = factors[factor]
            terms = share[:, None] * (1 - at[:, None]) + one[:, None] * at[:, None]  # [d, Q, L]
            product = terms.prod(axis=0)
            integral = (weight[:, None] * product / terms).sum(axis=1)
            found += np.bincount(column.ravel(), (value * (one - share) * integral).ravel(), players)
        return found


def _edges(trees: Trees) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Of all paths from a leaf to its root: the leaf, a split above it, and whether the path goes right there."""
    parent = np.full(len(trees.column), LEAF, np.int64)
    came_right = np.zeros(len(trees.column), bool)
    splits = np.flatnonzero(trees.column != LEAF)
    if (np.minimum(trees.left[splits], trees.right[splits]) <= splits).any():
        raise ValueError("a node of a tree comes before its parent")  # a circle would have no end
    parent[trees.left[splits]] = splits
    parent[trees.right[splits]] = splits
    came_right[trees.right[splits]] = True
    leaf = here = np.flatnonzero(trees.column == LEAF)
    found: list[tuple[NDArray, NDArray, NDArray]] = []
    while len(here):
        below = parent[here] != LEAF
        leaf, here = leaf[below], here[below]
        found.append((leaf, parent[here], came_right[here]))
        here = parent[here]
    leaves, nodes, rights = (np.concatenate(part) for part in zip(*found, strict=True))
    return leaves, nodes, rights
