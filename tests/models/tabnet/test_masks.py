"""Sparsemax and entmax without a sort equal pytorch-tabnet's, and the sorting references, in values and gradients."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pytorch_tabnet import sparsemax as theirs

from fraudlab.models.tabnet.masks import entmax15, entmax15_by_sort, sparsemax, sparsemax_by_sort

pytestmark = pytest.mark.long

Mask = Callable[[torch.Tensor], torch.Tensor]
REFERENCES: list[tuple[Mask, Mask]] = [
    # It subtracts the maximum from its input in place, and squeezes away dimensions of size 1 in its gradient.
    (sparsemax, lambda z: theirs.sparsemax(z.clone().reshape(-1, z.shape[-1]), -1).view_as(z)),
    (sparsemax, sparsemax_by_sort),
    (entmax15, lambda z: theirs.entmax15(z.clone(), -1)),
    (entmax15, entmax15_by_sort),
]
NAMES = ["sparsemax, pytorch-tabnet", "sparsemax, sort", "entmax, pytorch-tabnet", "entmax, sort"]
each_reference = pytest.mark.parametrize(("mask", "reference"), REFERENCES, ids=NAMES)
each_mask = pytest.mark.parametrize("mask", [sparsemax, entmax15])
each_dtype = pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])


def with_gradient(mask: Mask, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    z = z.clone().requires_grad_()
    p = mask(z)
    # Weights that differ within a row: equal ones would give a gradient of 0.
    weights = torch.linspace(-1, 1, z.shape[-1], dtype=z.dtype) ** 3
    (gradient,) = torch.autograd.grad((p * weights).sum(), z)
    return p.detach(), gradient


def off_the_edge(mask: Mask, z: torch.Tensor, distance: float) -> torch.Tensor:
    """Rows of ``z`` without an entry so near the threshold that rounding decides whether it is kept.

    There the derivative jumps, and two right answers differ.
    """
    z = z.double()
    p = mask(z)
    above = p if mask is sparsemax else 2 * p.sqrt()
    threshold = torch.where(p > 0, z - above, torch.inf).amin(dim=-1, keepdim=True)
    return ((z - threshold).abs() > distance).all(dim=-1)


def assert_equal(mask: Mask, reference: Mask, z: torch.Tensor, tolerance: float) -> None:
    (p, gradient), (expected, expected_gradient) = with_gradient(mask, z), with_gradient(reference, z)
    torch.testing.assert_close(p, expected, atol=tolerance, rtol=0)
    smooth = off_the_edge(mask, z, 1e3 * tolerance)
    torch.testing.assert_close(gradient[smooth], expected_gradient[smooth], atol=tolerance, rtol=0)


@each_dtype
@each_reference
@pytest.mark.parametrize("scale", [0.01, 0.3, 1, 10])
@pytest.mark.parametrize("shape", [(400, 30), (50, 1), (50, 2), (20, 700), (3, 40, 9), (7,)])
def test_equals_the_reference(
    mask: Mask, reference: Mask, shape: tuple[int, ...], scale: float, dtype: torch.dtype, tolerance: float
) -> None:
    z = scale * torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert_equal(mask, reference, z.to(dtype), tolerance)


SHAPES = array_shapes(min_dims=1, max_dims=3, max_side=12)


# In units of 1/16, whose ties and sums are exact and which lie off the edge or on it.
@each_dtype
@each_reference
@settings(max_examples=60, deadline=None)
@given(z=arrays(np.float64, SHAPES, elements=st.integers(-64, 64).map(lambda sixteenths: sixteenths / 16)))
def test_equals_the_reference_with_ties(
    mask: Mask, reference: Mask, dtype: torch.dtype, tolerance: float, z: np.ndarray
) -> None:
    assert_equal(mask, reference, torch.from_numpy(z).to(dtype), tolerance)


@each_mask
@each_dtype
@settings(max_examples=100, deadline=None)
@given(z=arrays(np.float32, SHAPES, elements=st.floats(-(2.0**100), 2.0**100, width=32)))
def test_any_row_gives_a_point_of_the_simplex(mask: Mask, dtype: torch.dtype, tolerance: float, z: np.ndarray) -> None:
    p, gradient = with_gradient(mask, torch.from_numpy(z).to(dtype))
    assert ((p >= 0) & (p <= 1 + tolerance)).all()
    torch.testing.assert_close(p.sum(dim=-1), torch.ones(p.shape[:-1], dtype=dtype), atol=10 * tolerance, rtol=0)
    assert gradient.isfinite().all()
    # Adding a constant to a row changes nothing, so its gradient sums to 0.
    torch.testing.assert_close(gradient.sum(dim=-1), torch.zeros_like(p[..., 0]), atol=10 * tolerance, rtol=0)


@each_mask
@each_dtype
@pytest.mark.parametrize("width", [1, 2, 3, 64, 1000])
@pytest.mark.parametrize("value", [0.0, -7.5, 1e30])
def test_equal_entries_share_evenly(mask: Mask, dtype: torch.dtype, tolerance: float, width: int, value: float) -> None:
    p, gradient = with_gradient(mask, torch.full((2, width), value, dtype=dtype))
    torch.testing.assert_close(p, torch.full_like(p, 1 / width), atol=tolerance, rtol=0)
    assert gradient.isfinite().all()


@each_mask
def test_one_huge_entry_takes_all(mask: Mask) -> None:
    for z in ([1e30, 0.0, -1e30], [3e38, -3e38, 0.0], [5.0, 0.0, 0.0]):
        p, gradient = with_gradient(mask, torch.tensor([z]))
        assert p.tolist() == [[1, 0, 0]]
        assert gradient.tolist() == [[0, 0, 0]]
        by_sort = sparsemax_by_sort if mask is sparsemax else entmax15_by_sort
        assert torch.equal(by_sort(torch.tensor([z])), p)


@each_mask
def test_a_group_that_must_not_be_looked_at_may_still_win(mask: Mask) -> None:
    """Scores times a prior of zeros are a row of zeros, whatever the scores were."""
    p, _ = with_gradient(mask, torch.zeros(1, 4))
    assert p.tolist() == [[0.25] * 4]


@each_mask
def test_leaves_its_input_as_it_was(mask: Mask) -> None:
    z = torch.randn(5, 6)
    before = z.clone()
    mask(z)
    assert torch.equal(z, before)


@each_mask
def test_no_rows(mask: Mask) -> None:
    assert with_gradient(mask, torch.zeros(0, 4))[0].shape == (0, 4)


@each_mask
def test_gradient_is_that_of_finite_differences(mask: Mask) -> None:
    # Drawn rows lie farther from the support's edge than the differences' step of 1e-6.
    z = torch.randn(6, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    z = z[off_the_edge(mask, z, 1e-4)].requires_grad_()
    assert len(z) >= 4
    assert torch.autograd.gradcheck(mask, (z,))


@each_mask
@each_dtype
@pytest.mark.parametrize("width", [1, 7, 300])
def test_a_fixed_number_of_rounds_is_enough(
    mask: Mask, width: int, dtype: torch.dtype, tolerance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under torch.compile and torch.export there is no early end."""
    z = torch.randn(200, width, generator=torch.Generator().manual_seed(2), dtype=dtype)
    expected = mask(z)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    torch.testing.assert_close(mask(z), expected, atol=tolerance, rtol=0)
