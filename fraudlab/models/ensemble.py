"""A deep ensemble in one network: several restarts trained at once (Lakshminarayanan et al. 2017, arXiv:1612.01474)."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from fraudlab.models.contract import NetworkOutput


class Ensemble(nn.Module):
    """Independently initialised networks that see the same batches.

    Args:
        make: makes one freshly initialised network.
        members: how many.
    """

    def __init__(self, make: Callable[[], nn.Module], members: int) -> None:
        super().__init__()
        self.members = nn.ModuleList(make() for _ in range(members))

    def prepare(self, categorical: Tensor, numeric: Tensor) -> None:
        """Let each member that takes anything from training rows do so."""
        for member in self.members:
            if hasattr(member, "prepare"):
                member.prepare(categorical, numeric)  # type: ignore[operator]

    def forward(self, categorical: Tensor, numeric: Tensor) -> NetworkOutput:
        """Logits [B, members, K] and the mean of the members' penalties."""
        outputs = [member(categorical, numeric) for member in self.members]
        return NetworkOutput(
            torch.stack([output.logits for output in outputs], dim=1),
            torch.stack([output.penalty for output in outputs]).mean(),
        )
