"""A multi-layer perceptron over embedded categories and numeric columns."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from fraudlab.models.categories import CategoryEmbeddings
from fraudlab.models.contract import NetworkOutput
from fraudlab.models.numbers import numeric_embedding

_ALPHA, _GAIN = 1.6732632423543772, 1.0507009873554805  # of SELU (Klambauer et al. 2017, arXiv:1706.02515)
_FASTER = 6.0  # under Adam a factor moves so many times as fast as other parameters, as in RealMLP


class _SELU(nn.Module):
    """As torch's, from operators that ONNX Runtime has in double precision, too."""

    def forward(self, x: Tensor) -> Tensor:
        return _GAIN * torch.where(x > 0, x, _ALPHA * torch.expm1(x.clamp_max(0.0)))


class _Mish(nn.Module):
    """x tanh(log(1 + e^x)), as torch's, without its logarithm; from such operators, too."""

    def forward(self, x: Tensor) -> Tensor:
        rise = torch.exp(x.clamp_max(20.0))  # beyond, it is x to the last digit
        rise = rise * (rise + 2.0)
        return x * (rise / (rise + 2.0))


_ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "selu": _SELU, "mish": _Mish}


class _Scale(nn.Module):
    """A factor of each column, 1 at the start."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((width,), 1 / _FASTER))

    def forward(self, x: Tensor) -> Tensor:
        # As a tensor: PyTorch 2.10 does not export a number times a parameter in double precision.
        return x * (torch.full_like(self.scale, _FASTER) * self.scale)


class _Learnt(nn.Module):
    """x + share (activation(x) - x), with a share of each unit, 1 at the start."""

    def __init__(self, activation: nn.Module, width: int) -> None:
        super().__init__()
        self.activation = activation
        self.share = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.share * (self.activation(x) - x)


class MLP(nn.Module):
    """Linear, batch norm if wanted, activation and dropout layers, then a linear head.

    Scaled input, SELU or Mish and learnt activations are those of RealMLP (Holzmueller et al. 2024, arXiv:2407.04491).

    Args:
        cardinalities: number of ids of each categorical column.
        num_numeric: number of numeric columns.
        num_classes: number of logits.
        embedding_dim: width of each categorical column's embedding.
        hidden: widths of the hidden layers.
        dropout: share of hidden units dropped in training, in [0, 1).
        batch_norm: normalise each hidden layer over the batch before its activation.
        activation: ``relu``, ``selu`` or ``mish``.
        learnt_activation: each hidden unit learns how much of the activation stands in the place of its input.
        input_scale: each number that the first layer reads has a learnt factor.
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
        activation: str = "relu",
        learnt_activation: bool = False,
        input_scale: bool = False,
        embedding: str = "none",
        **of_embedding: Any,
    ) -> None:
        super().__init__()
        self.embeddings = CategoryEmbeddings(cardinalities, embedding_dim)
        self.numeric_embedding = numeric_embedding(embedding, num_numeric, **of_embedding)
        width = embedding_dim * len(cardinalities) + self.numeric_embedding.width * num_numeric
        layers: list[nn.Module] = [_Scale(width)] if input_scale else []
        for next_width in hidden:
            norm = [nn.BatchNorm1d(next_width)] if batch_norm else []
            active = _ACTIVATIONS[activation]()
            active = _Learnt(active, next_width) if learnt_activation else active
            layers += [nn.Linear(width, next_width), *norm, active, nn.Dropout(dropout)]
            width = next_width
        self.layers = nn.Sequential(*layers, nn.Linear(width, num_classes))

    def prepare(self, categorical: Tensor, numeric: Tensor) -> None:
        """Take from training rows what the numeric embedding needs of them."""
        self.numeric_embedding.prepare(numeric)

    def forward(self, categorical: Tensor, numeric: Tensor) -> NetworkOutput:
        """Logits [B, num_classes] of rows ``categorical`` int64 [B, C] and ``numeric`` float32 [B, N]."""
        row = self.numeric_embedding(numeric)
        if len(self.embeddings):
            row = torch.cat([self.embeddings(categorical), row], dim=1)
        return NetworkOutput(self.layers(row), numeric.new_zeros(()))
