"""A table of numbers to the two tensors that a TabNet takes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fraudlab.errors import UserError

BLOCK = 8192  # rows that are scored at once


class Rows(NamedTuple):
    """``categorical``: int64 [N, C], ids. ``numeric``: float32 [N, F - C]."""

    categorical: Tensor
    numeric: Tensor

    def at(self, index: Tensor) -> "Rows":
        """Some of the rows."""
        return Rows(self.categorical.index_select(0, index), self.numeric.index_select(0, index))

    def blocks(self) -> Iterator["Rows"]:
        """All rows in order, as many together as are scored at once."""
        return (Rows(*both) for both in zip(self.categorical.split(BLOCK), self.numeric.split(BLOCK), strict=True))


@dataclass(frozen=True)
class Layout:
    """Which of a table's F columns are categorical, and what they hold.

    The network takes the categorical columns by position, then the others by theirs.

    Attributes:
        inputs: F.
        categorical: positions of the categorical columns, ascending, C of them.
        cardinalities: number of ids of each.
        widths: of the embedding of each.
    """

    inputs: int
    categorical: list[int]
    cardinalities: list[int]
    widths: list[int]

    @classmethod
    def of(cls, inputs: int, cat_idxs: Any, cat_dims: Any, cat_emb_dim: Any) -> "Layout":
        """The layout that pytorch-tabnet's parameters of these names describe.

        Raises:
            UserError: they do not belong together or to a table of so many columns.
        """
        positions, sizes = [int(i) for i in cat_idxs or ()], [int(i) for i in cat_dims or ()]
        one = isinstance(cat_emb_dim, Integral)
        widths = [int(cat_emb_dim)] * len(positions) if one else [int(i) for i in cat_emb_dim]
        if not len(positions) == len(sizes) == len(widths):
            raise UserError(
                f"cat_idxs names {len(positions)} columns, cat_dims has {len(sizes)} entries and cat_emb_dim "
                f"{len(widths)}; give one of each for every categorical column"
            )
        if len(set(positions)) < len(positions) or not all(0 <= i < inputs for i in positions):
            raise UserError(f"cat_idxs={positions} must name different columns, from 0 to {inputs - 1}")
        if min([*sizes, *widths], default=1) < 1:
            raise UserError(f"cat_dims={sizes} and cat_emb_dim={widths} must be at least 1")
        found = sorted(zip(positions, sizes, widths, strict=True))
        return cls(inputs, [i for i, _, _ in found], [size for _, size, _ in found], [width for _, _, width in found])

    @property
    def numeric(self) -> list[int]:
        """Positions of the other columns."""
        return [column for column in range(self.inputs) if column not in set(self.categorical)]

    @property
    def order(self) -> list[int]:
        """Position in the table of each of the network's columns."""
        return [*self.categorical, *self.numeric]

    @property
    def embedded(self) -> list[int]:
        """Place of each of the network's embedded columns where the table's columns are embedded in their order."""
        width = dict(zip(self.categorical, self.widths, strict=True))
        starts = np.cumsum([0, *(width.get(column, 1) for column in range(self.inputs))])
        return [int(starts[column]) + k for column in self.order for k in range(width.get(column, 1))]

    def groups(self, grouped_features: Any) -> list[list[int]]:
        """Groups of positions as the network numbers its columns.

        Raises:
            UserError: there is no such column.
        """
        number = {column: index for index, column in enumerate(self.order)}
        groups = [[int(column) for column in group] for group in grouped_features or ()]
        if wrong := [column for group in groups for column in group if column not in number]:
            raise UserError(f"grouped_features names column {wrong[0]}; the columns are 0 to {self.inputs - 1}")
        return [[number[column] for column in group] for group in groups]

    def rows(self, X: NDArray[Any], names: Sequence[str] | None, device: torch.device | str = "cpu") -> Rows:
        """The tensors of a table [N, F] of finite numbers; ``names`` of its columns serve messages.

        Raises:
            UserError: an id is none of its column's, or float32 cannot hold a number.
        """
        ids = X[:, self.categorical]
        whole = ids.astype(np.int64)
        for row, column in np.argwhere((ids != whole) | (whole < 0) | (whole >= self.cardinalities))[:1]:
            raise UserError(
                f"column {_name(self.categorical[column], names)} holds {ids[row, column]:g} in row {row}; it is "
                f"categorical, and cat_dims gives it the ids 0 to {self.cardinalities[column] - 1}: encode what is "
                "unknown as an id that the training rows have, or count one more id in cat_dims before fit"
            )
        with np.errstate(over="ignore"):
            numeric = X[:, self.numeric].astype(np.float32)
        for row, column in np.argwhere(~np.isfinite(numeric))[:1]:
            position = self.numeric[column]
            raise UserError(
                f"column {_name(position, names)} holds {X[row, position]:g} in row {row}, a value too large for "
                "float32; scale or clip it"
            )
        return Rows(torch.from_numpy(whole).to(device), torch.from_numpy(numeric).to(device))


def _name(position: int, names: Sequence[str] | None) -> str:
    return str(position) if names is None else f"{names[position]} ({position})"
