"""Losses against their definitions."""

import torch
import torch.nn.functional as F

from fraudlab.metrics.cost import cost_of_error
from fraudlab.training.losses.weighted import CrossEntropy, ExpectedCost, Focal

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


def test_expected_cost_is_that_of_flagging_by_chance_less_what_nobody_can_save() -> None:
    """Against the cost matrix of each row, flagged with its probability of fraud; for one network and for members."""
    amount, alert, share = torch.tensor([30.0, 80.0, 2.0]), 2.5, 0.8
    logits = torch.stack([LOGITS, LOGITS.flip(0)], dim=1).requires_grad_()
    p = torch.softmax(logits, dim=-1)[..., 1]
    missed = (share * amount * LABEL)[:, None]
    cost = p * alert + (1 - p) * missed
    right = torch.where(LABEL > 0, alert, 0.0)[:, None]  # a fraud flagged, a genuine row let through
    weight = torch.from_numpy(cost_of_error(LABEL.numpy(), amount.numpy(), alert, share)).float()
    loss = ExpectedCost()(logits, LABEL, weight)
    assert torch.isclose(loss, (cost - right).mean(), atol=1e-5)
    assert torch.isclose(ExpectedCost()(logits[:, 0], LABEL, weight), (cost - right)[:, 0].mean(), atol=1e-5)
    (found,) = torch.autograd.grad(loss, logits, retain_graph=True)
    assert torch.allclose(found, torch.autograd.grad(cost.mean(), logits)[0], atol=1e-6)
    assert found[2, 0, 1] > 0  # a fraud of 2 is not worth an alert of 2.5
