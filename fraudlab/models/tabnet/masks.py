"""Sparsemax and 1.5-entmax over the last dimension, exact and without a sort.

Both are ``p = max(z - tau, 0)^q`` with the tau at which p sums to 1 (q = 1: Martins and Astudillo 2016,
arXiv:1602.02068; q = 2 on z / 2: Peters, Niculae and Martins 2019, arXiv:1905.05702). As a function of tau the sum is
convex and falling, so Newton's steps from the left never pass the root, and each leaves out elements for good. Once
none leaves, a last step gives the root in closed form.
"""

from typing import Any

import torch
from torch import Tensor

# Newton's rounds under torch.compile, where the number is fixed. Of standard normal draws the most seen was 9 (10,000
# columns); each round at least leaves out all elements below the mean of those left.
COMPILED_ROUNDS = 12


def sparsemax(z: Tensor) -> Tensor:
    """Sparsemax of ``z`` float [..., G]: the nearest point of the simplex; entries in [0, 1] that sum to 1."""
    return _Sparsemax.apply(z)  # type: ignore[no-any-return, no-untyped-call]


def entmax15(z: Tensor) -> Tensor:
    """1.5-entmax of ``z`` float [..., G], between softmax and sparsemax; entries in [0, 1] that sum to 1."""
    return _Entmax15.apply(z)  # type: ignore[no-any-return, no-untyped-call]


MASKS = {"sparsemax": sparsemax, "entmax": entmax15}


def sparsemax_by_sort(z: Tensor) -> Tensor:
    """Sparsemax as its paper's Algorithm 1 has it: the plain reference for :func:`sparsemax`."""
    z = z - z.amax(dim=-1, keepdim=True)
    ordered = z.sort(dim=-1, descending=True).values
    rank = torch.arange(1, z.shape[-1] + 1, dtype=z.dtype, device=z.device)
    excess = ordered.cumsum(dim=-1) - 1
    size = (rank * ordered > excess).sum(dim=-1, keepdim=True)
    return (z - excess.gather(-1, size - 1) / size).clamp_min(0)


def entmax15_by_sort(z: Tensor) -> Tensor:
    """1.5-entmax as Algorithm 2 of Peters et al. has it: the plain reference for :func:`entmax15`."""
    z = (z - z.amax(dim=-1, keepdim=True)) / 2
    ordered = z.sort(dim=-1, descending=True).values
    rank = torch.arange(1, z.shape[-1] + 1, dtype=z.dtype, device=z.device)
    mean = ordered.cumsum(dim=-1) / rank
    spread = rank * ((ordered**2).cumsum(dim=-1) / rank - mean**2)
    taus = mean - ((1 - spread) / rank).clamp_min(torch.finfo(z.dtype).tiny).sqrt()
    size = (taus <= ordered).sum(dim=-1, keepdim=True)
    return (z - taus.gather(-1, size - 1)).clamp_min(0) ** 2


def _rounds(z: Tensor) -> range:
    return range(COMPILED_ROUNDS if torch.compiler.is_compiling() else z.shape[-1] + 1)


class _Sparsemax(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:
        z = z - z.amax(dim=-1, keepdim=True)
        tau = torch.full_like(z[..., :1], -1.0)
        for _ in _rounds(z):
            inside = z > tau
            size = inside.sum(dim=-1, keepdim=True)
            sum_ = torch.where(inside, z, 0).sum(dim=-1, keepdim=True)
            new = (sum_ - 1) / size
            if not torch.compiler.is_compiling() and torch.equal(new, tau):
                break
            tau = new
        p = (z - tau).clamp_min(0)
        ctx.save_for_backward(p)
        return p

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        (p,) = ctx.saved_tensors
        inside = p > 0
        gradient = torch.where(inside, gradient, 0)
        mean = gradient.sum(dim=-1, keepdim=True) / inside.sum(dim=-1, keepdim=True)
        return torch.where(inside, gradient - mean, 0)


class _Entmax15(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:
        z = (z - z.amax(dim=-1, keepdim=True)) / 2
        tau = torch.full_like(z[..., :1], -1.0)
        # Elements so near the root count for less than the last digit in the closed form below.
        near = torch.finfo(z.dtype).eps ** 0.5
        for _ in _rounds(z):
            above = (z - tau).clamp_min(0)
            new = tau + ((above * above).sum(dim=-1, keepdim=True) - 1) / (2 * above.sum(dim=-1, keepdim=True))
            if not torch.compiler.is_compiling() and bool((new - tau <= near).all()):
                break
            tau = new
        # The quadratic's root on the elements now known, exact where a Newton step is only near.
        inside = z > tau
        size = inside.sum(dim=-1, keepdim=True)
        mean = torch.where(inside, z, 0).sum(dim=-1, keepdim=True) / size
        spread = torch.where(inside, (z - mean) ** 2, 0).sum(dim=-1, keepdim=True)
        tau = mean - ((1 - spread).clamp_min(0) / size).sqrt()
        root = (z - tau).clamp_min(0)
        ctx.save_for_backward(root)
        return root * root

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        (root,) = ctx.saved_tensors
        weighted = gradient * root
        return weighted - root * (weighted.sum(dim=-1, keepdim=True) / root.sum(dim=-1, keepdim=True))
