"""A loss of one's own: squared error of the probability, ``loss=my_loss``."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fraudlab.training.losses.registry import register_loss


@dataclass
class MyLossConfig:
    """The keys of ``loss``."""

    name: str = "my_loss"
    fraud_weight: float = 1.0


class MyLoss(nn.Module):
    """The mean over rows, and over an ensemble's members, of (p - label)^2."""

    def __init__(self, fraud_weight: float) -> None:
        super().__init__()
        self.fraud_weight = fraud_weight

    def forward(self, logits: Tensor, label: Tensor, weight: Tensor) -> Tensor:
        """Loss [] of ``logits`` [B, 2] or [B, M, 2]."""
        probability = torch.softmax(logits, dim=-1)[..., 1].reshape(len(label), -1)
        weight = torch.where(label > 0, weight * self.fraud_weight, weight)
        return (weight[:, None] * (probability - label[:, None]) ** 2).mean()


register_loss("my_loss", MyLoss, MyLossConfig)
