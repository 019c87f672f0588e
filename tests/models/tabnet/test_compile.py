"""What ``torch.compile`` makes of TabNet: one graph, the same function; and half precision where it is asked for."""

import copy

import pytest
import torch
from torch import nn

from fraudlab.models.tabnet import TabNet

pytestmark = pytest.mark.long

CARDINALITIES = [5, 9]


def batch(rows: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(rows)
    ids = torch.stack([torch.randint(0, c, (rows,), generator=generator) for c in CARDINALITIES], dim=1)
    return ids, torch.randn(rows, 6, generator=generator), torch.randint(0, 2, (rows,), generator=generator)


def gradients(network: nn.Module, rows: int) -> list[torch.Tensor]:
    ids, numeric, label = batch(rows)
    network.zero_grad()
    output = network(ids, numeric.to(next(network.parameters()).dtype))
    (nn.functional.cross_entropy(output.logits, label) + output.penalty).backward()
    return [output.logits.detach(), *(p.grad.clone() for p in network.parameters())]


@pytest.mark.parametrize("mask_type", ["sparsemax", pytest.param("entmax", marks=pytest.mark.slow)])
def test_no_graph_break_and_the_same_function(mask_type: str) -> None:
    torch.manual_seed(0)
    torch.compiler.reset()
    plain = TabNet(CARDINALITIES, 6, n_steps=2, mask_type=mask_type, virtual_batch_size=32).double()
    compiled = copy.deepcopy(plain)
    compiled.compile(fullgraph=True, backend="aot_eager")
    for rows in (96, 80):  # whole ghost batches, and a shorter last one
        ours = [each.double() for each in gradients(plain, rows) if each.numel()]
        theirs = [each.double() for each in gradients(compiled, rows) if each.numel()]
        for one, other in zip(ours, theirs, strict=True):
            assert torch.allclose(one, other, rtol=1e-9, atol=1e-11)
    for one, other in zip(plain.buffers(), compiled.buffers(), strict=True):
        assert torch.allclose(one.double(), other.double())


def test_half_precision_keeps_masks_and_statistics_single() -> None:
    torch.manual_seed(0)
    network = TabNet(CARDINALITIES, 6, virtual_batch_size=64)
    ids, numeric, _ = batch(512)
    exact = copy.deepcopy(network)(ids, numeric).logits
    with torch.autocast("cpu", torch.bfloat16):
        output = network(ids, numeric)
        _, masks = network.explain(ids, numeric)
    assert output.penalty.dtype == torch.float32
    assert masks.dtype == torch.float32
    assert torch.allclose(masks.sum(dim=-1), torch.ones(()), atol=1e-5)
    assert all(buffer.dtype != torch.bfloat16 for buffer in network.buffers())
    assert nn.functional.cosine_similarity(output.logits.float(), exact).median() > 0.99
