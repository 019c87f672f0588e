"""A folded network computes what the network computes in evaluation, without batch norms, and can be exported."""

import copy
from typing import Any

import pytest
import torch
from torch import nn

from fraudlab.models.tabnet import TabNet
from fraudlab.models.tabnet.folding import fold
from fraudlab.models.tabnet.ghost_batch_norm import GhostBatchNorm

pytestmark = pytest.mark.long

CASES: list[dict[str, Any]] = [
    {},
    {"mask_type": "entmax", "feature_groups": [[0, 3], [4, 1]]},
    {"embedding_dim": [2, 5], "n_shared": 0},
    {"n_independent": 0, "n_steps": 1, "num_classes": 3},
    {"cardinalities": []},
    {"num_numeric": 0},
]


def inputs(network: TabNet, rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(rows)
    columns = [torch.randint(0, c, (rows,), generator=generator) for c in network.cardinalities]
    categorical = torch.stack(columns, dim=1) if columns else torch.zeros(rows, 0, dtype=torch.int64)
    numeric = 3 * torch.randn(rows, network.num_numeric, generator=generator) + 1
    return categorical, numeric.to(network.head.weight)


def trained(cardinalities: list[int] | None = None, num_numeric: int = 5, **settings: Any) -> TabNet:
    """A network whose norms all have statistics, scales and shifts of their own."""
    torch.manual_seed(0)
    network = TabNet([4, 7] if cardinalities is None else cardinalities, num_numeric, virtual_batch_size=32, **settings)
    for module in network.modules():
        if isinstance(module, GhostBatchNorm | nn.BatchNorm1d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.3)
    for step in range(100):
        network(*inputs(network, 60 + step))
    return network


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
@pytest.mark.parametrize("settings", CASES)
def test_equals_the_network_in_evaluation(settings: dict[str, Any], dtype: torch.dtype, tolerance: float) -> None:
    network = trained(**settings).to(dtype)
    before = copy.deepcopy(network.state_dict())
    folded = fold(network)
    assert network.training
    assert not any(isinstance(module, GhostBatchNorm | nn.BatchNorm1d) for module in folded.modules())
    for rows in (1, 50):
        categorical, numeric = inputs(network, rows)
        # With gradients on, evaluation takes the PyTorch encoder, not the compiled one.
        output, expected = folded(categorical, numeric), network.eval()(categorical, numeric)
        assert output.logits.dtype == dtype
        torch.testing.assert_close(output.logits, expected.logits, atol=tolerance, rtol=tolerance)
        torch.testing.assert_close(output.penalty, expected.penalty, atol=tolerance, rtol=0)
    assert all(map(torch.equal, network.state_dict().values(), before.values()))


def test_has_nothing_to_train_and_no_mode() -> None:
    network = trained()
    folded = fold(network)
    categorical, numeric = inputs(network, 1)
    assert not any(parameter.requires_grad for parameter in folded.parameters())
    assert torch.equal(folded.train()(categorical, numeric).logits, folded.eval()(categorical, numeric).logits)


def test_draws_no_random_number() -> None:
    network = trained()
    state = torch.get_rng_state()
    fold(network)
    assert torch.equal(torch.get_rng_state(), state)


def test_shares_no_memory() -> None:
    network = trained()
    folded = fold(network)
    categorical, numeric = inputs(network, 20)
    before = folded(categorical, numeric).logits
    with torch.no_grad():
        for tensor in [*network.parameters(), *network.buffers()]:
            tensor.zero_()
    assert torch.equal(folded(categorical, numeric).logits, before)


@pytest.mark.parametrize("settings", CASES[:5])
def test_exports_with_any_number_of_rows(settings: dict[str, Any]) -> None:
    network = trained(**settings)
    folded = fold(network)
    rows = torch.export.Dim("rows", max=100_000)
    program = torch.export.export(folded, inputs(network, 16), dynamic_shapes=({0: rows}, {0: rows}))
    for number in (2, 16, 77):
        exported, expected = program.module()(*inputs(network, number)), folded(*inputs(network, number))
        torch.testing.assert_close(exported[0], expected.logits, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(exported[1], expected.penalty, atol=1e-5, rtol=0)
