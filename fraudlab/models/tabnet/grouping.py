"""Which columns share an entry of the attention mask."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Grouping(nn.Module):
    """Spreads a mask over groups to the network's columns: a group's entry is shared out evenly.

    Without ``feature_groups`` each input column is its own group, and a categorical column's entry is spread over its
    embedding's columns, as pytorch-tabnet has it.

    Args:
        dims: columns that each input column becomes: its embedding's width, or 1.
        feature_groups: groups of input columns; columns in none are a group each.

    Raises:
        ValueError: a group is empty, or names a column twice or one that is not there.
    """

    group: Tensor
    share: Tensor
    column: Tensor
    matrix: Tensor | None

    def __init__(self, dims: Sequence[int], feature_groups: Sequence[Sequence[int]] | None = None) -> None:
        super().__init__()
        groups = [list(group) for group in feature_groups or ()]
        named = [column for group in groups for column in group]
        if not all(groups):
            raise ValueError("a group of feature_groups is empty")
        if len(set(named)) < len(named):
            raise ValueError(f"feature_groups name a column twice: {feature_groups}")
        if named and not (min(named) >= 0 and max(named) < len(dims)):
            raise ValueError(f"feature_groups name a column outside 0 to {len(dims) - 1}: {feature_groups}")
        groups += [[column] for column in range(len(dims)) if column not in named]
        group_of = {column: (number, 1 / len(group)) for number, group in enumerate(groups) for column in group}
        self.num_groups = len(groups)
        self.num_inputs = len(dims)
        self.num_columns = sum(dims)
        spread = [(column, *group_of[column], dim) for column, dim in enumerate(dims) for _ in range(dim)]
        self.register_buffer("column", torch.tensor([c for c, _, _, _ in spread], dtype=torch.int64), persistent=False)
        self.register_buffer("group", torch.tensor([g for _, g, _, _ in spread], dtype=torch.int64), persistent=False)
        # Rounded to single precision at each step, as pytorch-tabnet's matrix is.
        shares = torch.tensor([w for _, _, w, _ in spread]) / torch.tensor([dim for _, _, _, dim in spread])
        self.register_buffer("share", shares, persistent=False)
        # The common case needs no matrix: `wide` leading columns spread over `dim` columns each, the rest as they are.
        wide = sum(dim > 1 for dim in dims)
        self.wide, self.dim = wide, max(dims)
        self.part = float(torch.tensor(1.0) / self.dim)
        even = all(dim == (self.dim if column < wide else 1) for column, dim in enumerate(dims))
        matrix = None
        if groups[: len(dims)] != [[column] for column in range(len(dims))] or not even:
            matrix = torch.zeros(self.num_groups, self.num_columns)
            matrix[self.group, torch.arange(self.num_columns)] = self.share
        self.register_buffer("matrix", matrix, persistent=False)

    def to_columns(self, mask: Tensor) -> Tensor:
        """From a mask over groups [B, G] to one over the network's columns [B, D]."""
        if self.matrix is not None:
            return mask @ self.matrix
        if not self.wide:
            return mask
        spread = (mask[:, : self.wide, None] * self.part).expand(-1, -1, self.dim).flatten(1)
        return torch.cat([spread, mask[:, self.wide :]], dim=1)

    def to_inputs(self, mask: Tensor) -> Tensor:
        """From a mask over groups [..., G] to one over the input columns [..., F]; a column's parts are added."""
        over_columns = mask[..., self.group] * self.share
        return mask.new_zeros(*mask.shape[:-1], self.num_inputs).index_add_(-1, self.column, over_columns)


def group_matrix(inputs: int, feature_groups: Sequence[Sequence[int]] | None) -> Tensor:
    """What pytorch-tabnet calls the group matrix: each group's shares of the inputs, [G, inputs]."""
    grouping = Grouping([1] * inputs, feature_groups)
    return grouping.to_columns(torch.eye(grouping.num_groups))
