"""TabNet's encoder: decision steps that each look at a few columns, chosen row by row (figure 4a of the paper)."""

from typing import Any

import torch
from torch import Tensor, nn

from fraudlab.models.tabnet.blocks import AttentiveTransformer, FeatureTransformer, gated_linear
from fraudlab.models.tabnet.grouping import Grouping
from fraudlab.models.tabnet.native.compile import usable
from fraudlab.models.tabnet.native.encoder import encode


class Encoder(nn.Module):
    """From embedded, normalised columns to one decision vector a step.

    Args:
        grouping: which columns share a mask entry.
        n_d, n_a, n_steps, gamma, n_independent, n_shared, epsilon, virtual_batch_size, momentum, mask_type: as in
            :class:`fraudlab.models.tabnet.TabNet`.
    """

    def __init__(
        self,
        grouping: Grouping,
        *,
        n_d: int,
        n_a: int,
        n_steps: int,
        gamma: float,
        n_independent: int,
        n_shared: int,
        epsilon: float,
        virtual_batch_size: int,
        momentum: float,
        mask_type: str,
    ) -> None:
        super().__init__()
        self.n_d, self.n_a, self.n_steps, self.gamma, self.epsilon = n_d, n_a, n_steps, gamma, epsilon
        self.n_shared, self.n_independent = n_shared, n_independent
        self.virtual_batch_size, self.momentum, self.mask_type = virtual_batch_size, momentum, mask_type
        self.grouping = grouping
        width, inputs = n_d + n_a, grouping.num_columns
        self.shared = nn.ModuleList(gated_linear(width if layer else inputs, width) for layer in range(n_shared))
        # The first gives the first step's attention; then one a step.
        self.feature_transformers = nn.ModuleList(
            FeatureTransformer(inputs, width, n_shared, n_independent, virtual_batch_size, momentum)
            for _ in range(n_steps + 1)
        )
        self.attentive_transformers = nn.ModuleList(
            AttentiveTransformer(n_a, grouping.num_groups, virtual_batch_size, momentum, mask_type)
            for _ in range(n_steps)
        )

    def forward(self, x: Tensor, prior: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Decisions [S, B, n_d] of ``x`` [B, D] and the masks' mean entropy [].

        ``prior`` [B, G] is 0 where a group must not be looked at; None for 1 everywhere.
        """
        if usable(x, self.training):
            return encode(self, x, prior)
        decisions, masks = self.steps(x, prior)
        return decisions, mean_entropy(masks, self.epsilon)

    def __getstate__(self) -> dict[str, Any]:
        """Of copies and pickles: without the compiled encoder's layout and workspace, which are made again."""
        state: dict[str, Any] = super().__getstate__()
        state.pop("_native_layout", None)
        return state

    def steps(self, x: Tensor, prior: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Decisions [S, B, n_d] and masks [S, B, G]."""
        if prior is None:
            prior = x.new_ones(x.shape[0], self.grouping.num_groups)  # len(x) would fix the rows in torch.export
        first, *transformers = self.feature_transformers
        attention = first(x, self.shared)[:, self.n_d :]
        decisions, masks = [], []
        for attend, transform in zip(self.attentive_transformers, transformers, strict=True):
            mask = attend(attention, prior)
            prior = (self.gamma - mask) * prior
            out = transform(self.grouping.to_columns(mask) * x, self.shared)
            decisions.append(torch.relu(out[:, : self.n_d]))
            attention = out[:, self.n_d :]
            masks.append(mask)
        return torch.stack(decisions), torch.stack(masks)


def mean_entropy(masks: Tensor, epsilon: float) -> Tensor:
    """Mean entropy [] of the rows of ``masks`` [S, B, G], with ``epsilon`` inside the logarithm (section 3.2)."""
    return -(masks * torch.log(masks + epsilon)).sum(dim=-1).mean()
