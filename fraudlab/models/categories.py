"""Embeddings of categorical columns."""

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor, nn


class CategoryEmbeddings(nn.ModuleList):
    """``width`` numbers for each id of each categorical column, small at the start.

    So an id that training has none of, or few, adds next to nothing.

    Args:
        cardinalities: number of ids of each column.
        width: of a column's embedding.
    """

    starts: Tensor

    def __init__(self, cardinalities: Sequence[int], width: int) -> None:
        super().__init__(_small(ids, width) for ids in cardinalities)
        starts = torch.tensor([0, *accumulate(cardinalities)][:-1], dtype=torch.int64)
        self.register_buffer("starts", starts, persistent=False)  # of each column where all tables are one

    def forward(self, categorical: Tensor) -> Tensor:
        """[B, C * width] of ``categorical`` int64 [B, C], column after column."""
        if self.training and len(self) > 1:  # one look-up and one gradient for all: the same numbers, sooner
            whole = torch.cat([table.weight for table in self])  # type: ignore[misc]
            return nn.functional.embedding(categorical + self.starts, whole).flatten(1)
        return torch.cat([table(categorical[:, column]) for column, table in enumerate(self)], dim=1)


def _small(ids: int, width: int) -> nn.Embedding:
    made = nn.Embedding(ids, width)
    nn.init.normal_(made.weight, std=0.01)
    return made
