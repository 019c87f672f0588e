"""Losses against their definitions."""

import torch
import torch.nn.functional as F

from fraudlab.training.losses.weighted import CrossEntropy, Focal

LOGITS = torch.tensor([[2.0, -1.0], [0.1, 0.3], [-3.0, 4.0]])
LABEL = torch.tensor([0, 1, 1])
WEIGHT = torch.tensor([1.0, 2.0, 0.5])


def test_cross_entropy_weighs_frauds_and_rows() -> None:
    each = F.cross_entropy(LOGITS, LABEL, reduction="none")
    expected = (each[0] + 2 * 3 * each[1] + 0.5 * 3 * each[2]) / 3
    assert torch.isclose(CrossEntropy(fraud_weight=3.0)(LOGITS, LABEL, WEIGHT), expected)


def test_focal_is_equation_4_of_the_paper() -> None:
    p = torch.softmax(LOGITS, dim=1)[torch.arange(3), LABEL]
    expected = (WEIGHT * (1 - p) ** 2 * -p.log()).mean()
    assert torch.isclose(Focal(focusing=2.0)(LOGITS, LABEL, WEIGHT), expected)
    assert torch.isclose(Focal(focusing=0.0)(LOGITS, LABEL, WEIGHT), CrossEntropy()(LOGITS, LABEL, WEIGHT))


def test_a_row_that_is_surely_right_leaves_a_gradient() -> None:
    logits = torch.tensor([[60.0, -60.0], [0.0, 1.0]], requires_grad=True)
    Focal(focusing=0.5)(logits, torch.tensor([0, 0]), torch.ones(2)).backward()
    assert logits.grad is not None
    assert torch.allclose(logits.grad[0], torch.zeros(2), atol=1e-6)
    assert logits.grad[1].isfinite().all()
