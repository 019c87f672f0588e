"""TabNet behind the contract computes what pytorch-tabnet computes, penalty included."""

import pytest
import torch
from pytorch_tabnet import tab_network

from fraudlab.models.tabnet.reference import ReferenceTabNet

CARDINALITIES = [4, 7]


def inputs(rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    categorical = torch.stack([torch.randint(0, c, (rows,), generator=generator) for c in CARDINALITIES], dim=1)
    return categorical, torch.randn(rows, 5, generator=generator)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("mask_type", ["sparsemax", "entmax"])
def test_equals_the_reference(training: bool, mask_type: str) -> None:
    network = ReferenceTabNet(CARDINALITIES, 5, sparsity=0.25, mask_type=mask_type, virtual_batch_size=16).train(
        training
    )
    reference = tab_network.TabNet(
        7, 2, cat_idxs=[0, 1], cat_dims=CARDINALITIES, cat_emb_dim=[4, 4], mask_type=mask_type,
        virtual_batch_size=16, group_attention_matrix=torch.eye(7),
    ).train(training)  # fmt: skip
    reference.load_state_dict(network.reference.state_dict())
    categorical, numeric = inputs(50)
    output = network(categorical, numeric)
    logits, negative_entropy = reference(torch.cat([categorical.float(), numeric], dim=1))
    assert torch.equal(output.logits, logits)
    assert torch.equal(output.penalty, -0.25 * negative_entropy)
    assert output.penalty >= 0  # an entropy: pytorch-tabnet's trainer subtracts its negative


def test_a_single_row_is_scored() -> None:
    network = ReferenceTabNet([], 5).eval()
    assert network(torch.zeros(1, 0, dtype=torch.int64), torch.zeros(1, 5)).logits.shape == (1, 2)


def test_group_matrices_move_with_the_network() -> None:
    network = ReferenceTabNet(CARDINALITIES, 5).to(torch.float64)
    assert network.reference.tabnet.encoder.group_attention_matrix.dtype == torch.float64
    categorical, numeric = inputs(8)
    assert network.eval()(categorical, numeric.double()).logits.dtype == torch.float64
