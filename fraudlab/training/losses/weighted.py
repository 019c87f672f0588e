"""Losses with a larger weight for frauds than for genuine transactions."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fraudlab.training.losses.contract import LossPart


class CrossEntropy(nn.Module):
    """Mean cross-entropy; a fraud (label > 0) weighs ``fraud_weight`` times a genuine transaction."""

    def __init__(self, fraud_weight: float = 1.0) -> None:
        super().__init__()
        self.fraud_weight = fraud_weight

    def forward(self, logits: Tensor, label: Tensor, weight: Tensor) -> Tensor:
        """Loss [] of ``logits``; the mean runs over rows, not over weights."""
        return _mean_over_rows(_cross_entropy(logits, label), label, weight, self.fraud_weight)


class Focal(nn.Module):
    """Focal loss (Lin et al. 2017, arXiv:1708.02002, eq. 4): (1 - p)^focusing * -log p of the true class."""

    def __init__(self, focusing: float = 2.0, fraud_weight: float = 1.0) -> None:
        super().__init__()
        self.focusing = focusing
        self.fraud_weight = fraud_weight

    def forward(self, logits: Tensor, label: Tensor, weight: Tensor) -> Tensor:
        """Loss [] of ``logits``; the mean runs over rows, not over weights."""
        loss = _cross_entropy(logits, label)
        # Above 0, where a power below 1 has no slope: a row that is surely right would turn all weights to NaN.
        wrong = (-torch.expm1(-loss)).clamp_min(torch.finfo(loss.dtype).tiny)
        return _mean_over_rows(wrong**self.focusing * loss, label, weight, self.fraud_weight)


class ExpectedCost(nn.Module):
    """Average expected cost of deciding by chance, a fraud flagged with its probability (Bahnsen et al. 2014).

    Their *Example-Dependent Cost-Sensitive Logistic Regression for Credit Scoring*, and Hoeppner et al. 2022
    (arXiv:2005.02488) for boosted trees, less what the right decision costs, which no score changes: the mean of what a
    wrong decision costs more, the row's weight, times (1 - p) of the true class. A fraud that is not worth an alert has
    a negative weight, which pushes p down.
    """

    def forward(self, logits: Tensor, label: Tensor, weight: Tensor) -> Tensor:
        """Loss [] of ``logits``; ``weight`` is what a wrong decision costs more than the right one, in any unit."""
        return _mean_over_rows(-torch.expm1(-_cross_entropy(logits, label)), label, weight, 1.0)


def _cross_entropy(logits: Tensor, label: Tensor) -> Tensor:
    """Less the logarithm of the true class's probability, [B, M] (M = 1 for a single network)."""
    rows = at_least_float32(logits).reshape(len(label), -1, logits.shape[-1])
    members = rows.shape[1]
    each = label[:, None].expand(-1, members).reshape(-1)
    return F.cross_entropy(rows.flatten(0, 1), each, reduction="none").view(-1, members)


def at_least_float32(logits: Tensor) -> Tensor:
    """Logits of 16 bits as float32; others as they are."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def _mean_over_rows(loss: Tensor, label: Tensor, weight: Tensor, fraud_weight: float) -> Tensor:
    if fraud_weight != 1:
        weight = torch.where(label > 0, weight * fraud_weight, weight)
    return (weight[:, None] * loss).mean()


CROSS_ENTROPY = LossPart(CrossEntropy, for_estimators=True)
FOCAL = LossPart(Focal)
EXPECTED_COST = LossPart(ExpectedCost, weighs_costs=True)
