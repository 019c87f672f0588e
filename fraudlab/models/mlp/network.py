"""A multi-layer perceptron over embedded categories and numeric columns."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from fraudlab.models.contract import NetworkOutput
from fraudlab.models.numbers import numeric_embedding


class MLP(nn.Module):
    """Linear, batch norm if wanted, ReLU and dropout layers, then a linear head.

    Args:
        cardinalities: number of ids of each categorical column.
        num_numeric: number of numeric columns.
        num_classes: number of logits.
        embedding_dim: width of each categorical column's embedding.
        hidden: widths of the hidden layers.
        dropout: share of hidden units dropped in training, in [0, 1).
        batch_norm: normalise each hidden layer over the batch before its ReLU.
        embedding: of numeric columns: ``none``, ``piecewise_linear`` or ``periodic``.
        numeric_dim, bins, frequencies, frequency_scale: of that embedding, see :mod:`fraudlab.models.numbers`.
    """

    def __init__(
        self,
        cardinalities: Sequence[int],
        num_numeric: int,
        num_classes: int = 2,
        *,
        embedding_dim: int = 4,
        hidden: Sequence[int] = (500, 500),
        dropout: float = 0.2,
        batch_norm: bool = False,
        embedding: str = "none",
        **of_embedding: Any,
    ) -> None:
        super().__init__()
        self.embeddings = nn.ModuleList(_embedding(ids, embedding_dim) for ids in cardinalities)
        self.numeric_embedding = numeric_embedding(embedding, num_numeric, **of_embedding)
        width = embedding_dim * len(cardinalities) + self.numeric_embedding.width * num_numeric
        layers: list[nn.Module] = []
        for next_width in hidden:
            norm = [nn.BatchNorm1d(next_width)] if batch_norm else []
            layers += [nn.Linear(width, next_width), *norm, nn.ReLU(), nn.Dropout(dropout)]
            width = next_width
        self.layers = nn.Sequential(*layers, nn.Linear(width, num_classes))

    def prepare(self, categorical: Tensor, numeric: Tensor) -> None:
        """Take from training rows what the numeric embedding needs of them."""
        self.numeric_embedding.prepare(numeric)

    def forward(self, categorical: Tensor, numeric: Tensor) -> NetworkOutput:
        """Logits [B, num_classes] of rows ``categorical`` int64 [B, C] and ``numeric`` float32 [B, N]."""
        embedded = [embedding(categorical[:, column]) for column, embedding in enumerate(self.embeddings)]
        return NetworkOutput(
            self.layers(torch.cat([*embedded, self.numeric_embedding(numeric)], dim=1)), numeric.new_zeros(())
        )


def _embedding(ids: int, width: int) -> nn.Embedding:
    """Small numbers to start from, so that an id that training has none of, or few, adds next to nothing."""
    made = nn.Embedding(ids, width)
    nn.init.normal_(made.weight, std=0.01)
    return made
