"""The network of TabM, and its form for ONNX."""

import copy
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from fraudlab.models.categories import CategoryEmbeddings
from fraudlab.models.contract import NetworkOutput
from fraudlab.models.numbers import numeric_embedding
from fraudlab.models.tabm.layers import Dropout, MemberLinear, SharedLinear


class TabM(nn.Module):
    """k perceptrons with one trunk, the same function as the package ``tabm`` 0.0.3 (Gorishniy et al. 2025).

    Each member learns from its own loss; the probability is the mean of theirs. Categories are embedded, where the
    package has one column for each.

    Args:
        cardinalities: number of ids of each categorical column.
        num_numeric: number of numeric columns.
        num_classes: number of logits.
        variant: ``mini``, where members differ in a scale of each input and in their heads, or ``full``, where each
            layer has scales and biases of each member.
        k: number of members.
        hidden: widths of the hidden layers.
        dropout: share of hidden units dropped in training, in [0, 1), rounded to a multiple of 1/256.
        embedding_dim: width of each categorical column's embedding.
        embedding: of numeric columns: ``none``, ``piecewise_linear`` or ``periodic``.
        numeric_dim, bins, frequencies, frequency_scale: of that embedding, see :mod:`fraudlab.models.numbers`.
    """

    def __init__(
        self,
        cardinalities: Sequence[int],
        num_numeric: int,
        num_classes: int = 2,
        *,
        variant: str = "mini",
        k: int = 32,
        hidden: Sequence[int] = (256, 256, 256),
        dropout: float = 0.1,
        embedding_dim: int = 4,
        embedding: str = "none",
        **of_embedding: Any,
    ) -> None:
        super().__init__()
        self.embeddings = CategoryEmbeddings(cardinalities, embedding_dim)
        self.numeric_embedding = numeric_embedding(embedding, num_numeric, **of_embedding)
        columns = torch.tensor([embedding_dim] * len(cardinalities) + [self.numeric_embedding.width] * num_numeric)
        widths = [int(columns.sum()), *hidden]
        full = variant == "full"
        self.layers = nn.ModuleList(
            SharedLinear(inputs, outputs, k, scaled_in=full or number == 0, own=full)
            for number, (inputs, outputs) in enumerate(pairwise(widths))
        )
        # Members begin to differ by the first scale, which is one of a column, not of each number that stands for it.
        start = torch.randn(k, len(columns))
        start = start.sign() if embedding == "none" else start
        self.layers[0].scale_in.data.copy_(start.repeat_interleave(columns, dim=1))  # type: ignore[union-attr,operator]
        self.activation = Dropout(dropout)
        self.head = MemberLinear(widths[-1], num_classes, k)

    @property
    def k(self) -> int:
        """Number of members."""
        return len(self.head.weight)

    def prepare(self, categorical: Tensor, numeric: Tensor) -> None:
        """Take from training rows what the numeric embedding needs of them."""
        self.numeric_embedding.prepare(numeric)

    def row(self, categorical: Tensor, numeric: Tensor) -> Tensor:
        """What all members see, [B, D]."""
        numbers = self.numeric_embedding(numeric)
        return torch.cat([self.embeddings(categorical), numbers], dim=1) if len(self.embeddings) else numbers

    def forward(self, categorical: Tensor, numeric: Tensor) -> NetworkOutput:
        """Logits [B, k, num_classes] of rows ``categorical`` int64 [B, C] and ``numeric`` float32 [B, N]."""
        first, *others = self.layers
        x = self.activation(first(self.row(categorical, numeric).T)).unflatten(0, (first.members, -1))
        for layer in others:
            x = self.activation(layer(x, self.activation.factor))
        return NetworkOutput(self.head(x, self.activation.factor).permute(2, 0, 1), numeric.new_zeros(()))

    def kept(self, members: Sequence[int]) -> "TabM":
        """A copy with some of the members alone, by their numbers."""
        made = copy.deepcopy(self)
        for layer in [*made.layers, made.head]:
            layer.keep(torch.tensor(list(members)))
        return made

    def exported(self) -> nn.Module:
        """A copy that computes row by row, without a weight of each member, which one row would wait for."""
        return _RowByRow(copy.deepcopy(self)).eval()


class _RowByRow(nn.Module):
    def __init__(self, network: TabM) -> None:
        super().__init__()
        self.network = network

    def forward(self, categorical: Tensor, numeric: Tensor) -> NetworkOutput:
        x = self.network.row(categorical, numeric)[None]
        for layer in self.network.layers:
            x = torch.relu(layer.row_by_row(x))  # type: ignore[operator]
        return NetworkOutput(self.network.head.row_by_row(x).transpose(0, 1), numeric.new_zeros(()))
