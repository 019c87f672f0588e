"""A network of one's own: a sum of a weight for each id and each number, ``model=my_network``."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fraudlab.models.contract import NetworkOutput
from fraudlab.models.registry import register_network


@dataclass
class MyNetworkConfig:
    """The keys of ``model``; all but ``name``, ``members`` and ``compile`` are arguments of the network."""

    name: str = "my_network"
    dropout: float = 0.0
    members: int = 1


class MyNetwork(nn.Module):
    """Logistic regression as a network."""

    def __init__(self, cardinalities: Sequence[int], num_numeric: int, dropout: float) -> None:
        super().__init__()
        self.embeddings = nn.ModuleList(nn.Embedding(ids, 2) for ids in cardinalities)
        self.numbers = nn.Linear(num_numeric, 2)
        self.dropout = nn.Dropout(dropout)

    def forward(self, categorical: Tensor, numeric: Tensor) -> NetworkOutput:
        """Logits [B, 2] of rows ``categorical`` int64 [B, C] and ``numeric`` float [B, N]."""
        logits = self.numbers(self.dropout(numeric))
        for column, embedding in enumerate(self.embeddings):
            logits = logits + embedding(categorical[:, column])
        return NetworkOutput(logits, torch.zeros((), dtype=logits.dtype, device=logits.device))


register_network("my_network", MyNetwork, MyNetworkConfig)
