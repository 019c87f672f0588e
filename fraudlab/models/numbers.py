"""Embeddings of numeric columns (Gorishniy et al. 2022, arXiv:2203.05556): each column becomes a vector."""

import math

import torch
from torch import Tensor, nn

EDGE_ROWS = 200_000
"""Most training rows that quantiles are taken of, evenly spaced: more do not move 64 of them."""


class Plain(nn.Module):
    """No embedding: a column is one number."""

    width = 1

    def prepare(self, numeric: Tensor) -> None:
        """Take what is needed from training rows ``numeric`` [rows, N]; nothing here."""

    def forward(self, numeric: Tensor) -> Tensor:
        """[B, N * width] of ``numeric`` [B, N], column after column."""
        return numeric


class PiecewiseLinear(Plain):
    """Piecewise-linear embedding between quantiles of the training rows, beside a linear one.

    The form of TabM's authors (arXiv:2410.24210), who call it version B: the piecewise part starts at 0. A column's
    first piece goes on below its quantiles and the last one above. It needs :meth:`prepare` before it is used.

    Args:
        columns: number of numeric columns N.
        width: of a column's vector.
        bins: most pieces of a column; a column of few values has fewer.
    """

    slope: Tensor
    offset: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, columns: int, width: int, bins: int) -> None:
        super().__init__()
        self.width = width
        bound = width**-0.5
        self.linear = nn.Parameter(torch.empty(columns, width).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(columns, width).uniform_(-bound, bound))
        self.weight = nn.Parameter(torch.zeros(columns, bins, width))
        # Piece b of a column is slope * x + offset, held between low and high. NaN tells of a missing prepare.
        for name in ("slope", "offset", "low", "high"):
            self.register_buffer(name, torch.full((columns, bins), math.nan))

    @torch.no_grad()
    def prepare(self, numeric: Tensor) -> None:
        rows = numeric[:: math.ceil(len(numeric) / EDGE_ROWS)]
        share = torch.linspace(0.0, 1.0, self.slope.shape[1] + 1).to(numeric)
        # Finite, since an average of weights over training cannot hold an infinity.
        endless = torch.finfo(self.low.dtype).max
        self.slope.zero_()
        self.offset.zero_()
        self.low.zero_()
        self.high.fill_(1.0)
        for column in range(len(self.slope)):
            edges = torch.quantile(rows[:, column], share).unique()
            pieces = len(edges) - 1  # 0: a column of one value has none
            self.slope[column, :pieces] = 1.0 / edges.diff()
            self.offset[column, :pieces] = -edges[:-1] / edges.diff()
            self.low[column, :1] = -endless
            self.high[column, max(pieces - 1, 0)] = endless

    def forward(self, numeric: Tensor) -> Tensor:
        pieces = torch.addcmul(self.offset[:, None], self.slope[:, None], numeric.T[:, :, None])
        pieces = torch.maximum(torch.minimum(pieces, self.high[:, None]), self.low[:, None])
        linear = torch.addcmul(self.bias, self.linear, numeric[:, :, None])
        return (linear + (pieces @ self.weight).transpose(0, 1)).flatten(1)


class Periodic(Plain):
    """Sines and cosines of learnt frequencies, then a linear layer of each column's own, and ReLU.

    Args:
        columns: number of numeric columns N.
        width: of a column's vector.
        frequencies: learnt frequencies of a column.
        scale: standard deviation of the frequencies at the start; what it should be depends on the table.
    """

    def __init__(self, columns: int, width: int, frequencies: int, scale: float) -> None:
        super().__init__()
        self.width = width
        bound = (2 * frequencies) ** -0.5
        self.frequencies = nn.Parameter(torch.empty(columns, frequencies))
        nn.init.trunc_normal_(self.frequencies, 0.0, scale, -3 * scale, 3 * scale)
        self.weight = nn.Parameter(torch.empty(columns, 2 * frequencies, width).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(columns, width).uniform_(-bound, bound))

    def forward(self, numeric: Tensor) -> Tensor:
        turn = self.frequencies.new_tensor(2 * math.pi)  # ONNX would have a plain number in single precision
        angle = turn * self.frequencies[:, None] * numeric.T[:, :, None]
        waves = torch.cat([torch.cos(angle), torch.sin(angle)], dim=-1)
        return torch.relu(self.bias[:, None] + waves @ self.weight).transpose(0, 1).flatten(1)


def numeric_embedding(
    kind: str,
    columns: int,
    *,
    numeric_dim: int = 8,
    bins: int = 16,
    frequencies: int = 16,
    frequency_scale: float = 0.1,
) -> Plain:
    """The embedding ``kind`` of ``columns`` numeric columns, from settings as ``model`` has them."""
    if kind == "piecewise_linear":
        return PiecewiseLinear(columns, numeric_dim, bins)
    return Periodic(columns, numeric_dim, frequencies, frequency_scale) if kind == "periodic" else Plain()
