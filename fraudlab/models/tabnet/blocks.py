"""What TabNet is made of: gated layers, feature transformers, attentive transformers (section 3 of the paper)."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fraudlab.models.tabnet.ghost_batch_norm import GhostBatchNorm
from fraudlab.models.tabnet.masks import MASKS

# The root of one half as pytorch-tabnet has it: in single precision, in double too.
ROOT_HALF = 0.7071067690849304


def gated_linear(inputs: int, width: int) -> nn.Linear:
    """The linear part of a gated layer, ``inputs`` -> 2 * ``width``, with pytorch-tabnet's initial weights."""
    linear = nn.Linear(inputs, 2 * width, bias=False)
    nn.init.xavier_normal_(linear.weight, gain=math.sqrt((inputs + 2 * width) / math.sqrt(inputs)))
    return linear


def plain_linear(inputs: int, outputs: int) -> nn.Linear:
    """A linear layer that no gate follows, with pytorch-tabnet's initial weights."""
    linear = nn.Linear(inputs, outputs, bias=False)
    nn.init.xavier_normal_(linear.weight, gain=math.sqrt((inputs + outputs) / math.sqrt(4 * inputs)))
    return linear


class FeatureTransformer(nn.Module):
    """Gated layers, the shared ones first; each but the very first adds its input and keeps the variance.

    Args:
        inputs: columns of its input.
        width: columns of its output.
        n_shared: layers whose linear part is given at each call.
        n_independent: layers of its own.
        virtual_batch_size, momentum: of its ghost batch norms, which are its own in every layer.
    """

    def __init__(
        self, inputs: int, width: int, n_shared: int, n_independent: int, virtual_batch_size: int, momentum: float
    ) -> None:
        super().__init__()
        layers = range(n_shared, n_shared + n_independent)
        self.linears = nn.ModuleList(gated_linear(width if layer else inputs, width) for layer in layers)
        self.norms = nn.ModuleList(
            GhostBatchNorm(2 * width, virtual_batch_size, momentum) for _ in range(n_shared + n_independent)
        )

    def forward(self, x: Tensor, shared: Sequence[nn.Module]) -> Tensor:
        """From ``x`` [B, inputs] to [B, width]."""
        for layer, (linear, norm) in enumerate(zip([*shared, *self.linears], self.norms, strict=True)):
            gated = F.glu(norm(linear(x)), dim=-1)
            x = (x + gated) * ROOT_HALF if layer else gated
        return x


class AttentiveTransformer(nn.Module):
    """Chooses what a step looks at: linear, ghost batch norm, times the prior, then sparsemax or entmax.

    Args:
        n_a: columns of the attention part.
        groups: number of masks entries, one a group of columns.
        virtual_batch_size, momentum: of its ghost batch norm.
        mask_type: ``sparsemax`` or ``entmax``.
    """

    def __init__(self, n_a: int, groups: int, virtual_batch_size: int, momentum: float, mask_type: str) -> None:
        super().__init__()
        self.linear = plain_linear(n_a, groups)
        self.norm = GhostBatchNorm(groups, virtual_batch_size, momentum)
        self.mask_type = mask_type

    def forward(self, attention: Tensor, prior: Tensor) -> Tensor:
        """Mask [B, groups] whose rows sum to 1, from ``attention`` [B, n_a] and ``prior`` [B, groups]."""
        return MASKS[self.mask_type](self.norm(self.linear(attention)) * prior)


class Embedding(nn.Module):
    """One table for all categorical columns: one lookup, whatever their number.

    Args:
        cardinalities: number of ids of each column.
        dims: width of each column's embedding. The table is as wide as the widest; of a narrower column's rows the
            rest is never read.
    """

    offset: Tensor
    cardinality: Tensor
    width: Tensor
    kept: Tensor

    def __init__(self, cardinalities: Sequence[int], dims: Sequence[int]) -> None:
        super().__init__()
        widest = max(dims, default=0)
        self.weight = nn.Parameter(torch.randn(sum(cardinalities), widest))
        starts = [sum(cardinalities[:column]) for column in range(len(cardinalities))]
        for name, values in (("offset", starts), ("cardinality", cardinalities), ("width", dims)):
            self.register_buffer(name, torch.tensor(values, dtype=torch.int64), persistent=False)
        kept = [column * widest + k for column, dim in enumerate(dims) for k in range(dim)]
        self.register_buffer("kept", torch.tensor(kept, dtype=torch.int64), persistent=False)
        self.even = len(set(dims)) <= 1

    def check(self, categorical: Tensor) -> None:
        """Refuse ids out of their column's range, which in the one table are a neighbour's.

        Raises:
            IndexError: there is one.
        """
        if ((categorical < 0) | (categorical >= self.cardinality)).any():
            raise IndexError(f"an id is outside its column's range; the columns have {self.cardinality.tolist()} ids")

    def forward(self, categorical: Tensor) -> Tensor:
        """From ids int64 [B, C] to [B, sum(dims)]."""
        table = F.embedding(categorical + self.offset, self.weight).flatten(1)
        return table if self.even else table.index_select(1, self.kept)
