"""An ensemble is its members: their losses, their mean probability."""

import torch

from fraudlab.models.registry import make_network
from fraudlab.training.losses.weighted import CrossEntropy, Focal
from fraudlab.training.scoring import fraud_probability

REBUILD = {"model": {"name": "tabnet", "members": 3, "virtual_batch_size": 8}, "cardinalities": [], "num_numeric": 4}


def test_members_differ_and_average() -> None:
    ensemble = make_network(REBUILD).eval()
    categorical, numeric = torch.zeros(10, 0, dtype=torch.int64), torch.randn(10, 4)
    output = ensemble(categorical, numeric)
    alone = [member(categorical, numeric) for member in ensemble.members]
    assert output.logits.shape == (10, 3, 2)
    assert not torch.allclose(alone[0].logits, alone[1].logits)
    probability = torch.stack([fraud_probability(one.logits) for one in alone]).mean(dim=0)
    assert torch.allclose(fraud_probability(output.logits), probability)
    label, weight = torch.randint(0, 2, (10,)), torch.rand(10)
    for loss in (CrossEntropy(fraud_weight=2.0), Focal()):
        mean = torch.stack([loss(one.logits, label, weight) for one in alone]).mean()
        assert torch.isclose(loss(output.logits, label, weight), mean)
