"""Ghost batch norm in one go equals torch.nn.BatchNorm1d applied to one chunk after the other."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

from fraudlab.models.tabnet.ghost_batch_norm import GhostBatchNorm, ghost_batch_rows


def loop(norm: nn.BatchNorm1d, x: torch.Tensor, virtual_batch_size: int) -> torch.Tensor:
    chunks = x.chunk(int(np.ceil(len(x) / virtual_batch_size)))
    return torch.cat([norm(chunk) for chunk in chunks])


def chunk_sizes(rows: int, virtual_batch_size: int) -> list[int]:
    return [len(chunk) for chunk in torch.zeros(rows).chunk(int(np.ceil(rows / virtual_batch_size)))]


def twins(width: int, virtual_batch_size: int, momentum: float) -> tuple[GhostBatchNorm, nn.BatchNorm1d]:
    ours = GhostBatchNorm(width, virtual_batch_size, momentum).double()
    theirs = nn.BatchNorm1d(width, momentum=momentum).double()
    with torch.no_grad():
        for parameter in ("weight", "bias"):
            value = torch.randn(width, generator=torch.Generator().manual_seed(width), dtype=torch.float64)
            getattr(ours, parameter).copy_(value)
            getattr(theirs, parameter).copy_(value)
    return ours, theirs


def assert_close(ours: torch.Tensor | None, theirs: torch.Tensor | None) -> None:
    torch.testing.assert_close(ours, theirs, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("momentum", [0.02, 0.4, 1.0])
@pytest.mark.parametrize(
    ("rows", "virtual_batch_size"), [(64, 16), (64, 64), (50, 128), (70, 16), (66, 32), (9, 4), (2, 2), (11, 4)]
)
def test_equals_a_loop_over_chunks(rows: int, virtual_batch_size: int, momentum: float) -> None:
    ours, theirs = twins(5, virtual_batch_size, momentum)
    generator = torch.Generator().manual_seed(rows)
    for _ in range(4):
        x = 3 * torch.randn(rows, 5, generator=generator, dtype=torch.float64) + 1
        inputs = x.clone().requires_grad_(), x.clone().requires_grad_()
        outputs = ours(inputs[0]), loop(theirs, inputs[1], virtual_batch_size)
        assert_close(*outputs)
        weights = torch.randn(rows, 5, generator=generator, dtype=torch.float64)
        for output in outputs:
            (output * weights).sum().backward()
        assert_close(inputs[0].grad, inputs[1].grad)
        assert_close(ours.weight.grad, theirs.weight.grad)
        assert_close(ours.bias.grad, theirs.bias.grad)
        assert_close(ours.running_mean, theirs.running_mean)
        assert_close(ours.running_var, theirs.running_var)
    assert_close(ours.eval()(x), theirs.eval()(x))


@settings(max_examples=100, deadline=None)
@given(rows=st.integers(2, 90), virtual_batch_size=st.integers(2, 100), momentum=st.floats(0.001, 1))
def test_equals_a_loop_over_chunks_of_any_size(rows: int, virtual_batch_size: int, momentum: float) -> None:
    sizes = chunk_sizes(rows, virtual_batch_size)
    assume(min(sizes) > 1)
    ours, theirs = twins(3, virtual_batch_size, momentum)
    x = torch.randn(rows, 3, generator=torch.Generator().manual_seed(rows), dtype=torch.float64)
    assert_close(ours(x), loop(theirs, x, virtual_batch_size))
    assert_close(ours.running_mean, theirs.running_mean)
    assert_close(ours.running_var, theirs.running_var)


@given(rows=st.integers(1, 300), virtual_batch_size=st.integers(2, 130))
def test_ghost_batches_are_the_chunks(rows: int, virtual_batch_size: int) -> None:
    sizes = chunk_sizes(rows, virtual_batch_size)
    if 1 in sizes:
        with pytest.raises(ValueError, match=f"a batch of {rows} rows .* single row"):
            ghost_batch_rows(rows, virtual_batch_size)
    else:
        assert ghost_batch_rows(rows, virtual_batch_size) == sizes[0]


@pytest.mark.parametrize(("rows", "virtual_batch_size"), [(1, 128), (3, 2), (7, 3), (5, 2)])
def test_a_ghost_batch_of_one_row_cannot_train(rows: int, virtual_batch_size: int) -> None:
    assert chunk_sizes(rows, virtual_batch_size)[-1] == 1
    norm = GhostBatchNorm(4, virtual_batch_size, 0.1)
    with pytest.raises(ValueError, match="single row"):
        norm(torch.randn(rows, 4))
    assert torch.equal(norm.running_mean, torch.zeros(4))


def test_one_row_is_evaluated_with_the_running_statistics() -> None:
    norm = GhostBatchNorm(2, 8, 0.1).eval()
    norm.running_mean.copy_(torch.tensor([1.0, -2.0]))
    norm.running_var.copy_(torch.tensor([4.0, 9.0]))
    before = norm.running_mean.clone()
    torch.testing.assert_close(norm(torch.tensor([[3.0, 4.0]])), torch.tensor([[1.0, 2.0]]), atol=1e-4, rtol=0)
    assert torch.equal(norm.running_mean, before)


def test_a_constant_column_becomes_its_bias() -> None:
    norm = GhostBatchNorm(1, 4, 0.5)
    with torch.no_grad():
        norm.bias.fill_(0.25)
    assert torch.equal(norm(torch.full((8, 1), 3.0)), torch.full((8, 1), 0.25))
    assert norm.running_var.item() == 0.25  # 1, halved twice
