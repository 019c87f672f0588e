"""Sparsemax and 1.5-entmax in operators that ONNX has, exact, and fast for one row as for many.

Both are ``max(z - tau, 0)^q`` (see :mod:`fraudlab.models.tabnet.masks`), with a tau that depends on a row's largest
entries alone. TabNet's masks seldom keep more than a few columns, so tau is taken from the 16 largest; where a row of
the batch keeps more, Newton's steps go on from there in a loop, until none rises. A sort of all columns costs several
times as much in bulk, and Newton's steps from the start half as much again for one row.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch._higher_order_ops.while_loop import while_loop

from fraudlab.models.tabnet.blocks import AttentiveTransformer

_LARGEST = 16


class Attention(nn.Module):
    """A folded attentive transformer, its mask made here."""

    def __init__(self, folded: AttentiveTransformer) -> None:
        super().__init__()
        self.linear = folded.linear
        self.mask = MASKS[folded.mask_type]

    def forward(self, attention: Tensor, prior: Tensor) -> Tensor:
        """Mask [B, groups] from ``attention`` [B, n_a] and ``prior`` [B, groups]."""
        return self.mask(self.linear(attention) * prior)


def sparsemax(z: Tensor) -> Tensor:
    """Sparsemax of ``z`` float [B, G]."""
    z = z - z.amax(dim=-1, keepdim=True)
    ordered = _largest(z)
    tau = ((ordered.cumsum(dim=-1) - 1) / _rank(ordered)).amax(dim=-1, keepdim=True)

    def step(tau: Tensor) -> Tensor:
        inside = (z > tau).to(z.dtype)
        return ((inside * z).sum(dim=-1, keepdim=True) - 1) / inside.sum(dim=-1, keepdim=True)

    return (z - _settled(tau, ordered, step)).clamp_min(0)


def entmax15(z: Tensor) -> Tensor:
    """1.5-entmax of ``z`` float [B, G]."""
    z = (z - z.amax(dim=-1, keepdim=True)) / 2
    ordered = _largest(z)
    rank = _rank(ordered)
    mean = ordered.cumsum(dim=-1) / rank
    spread = (ordered * ordered).cumsum(dim=-1) - rank * mean * mean
    taus = mean - ((1 - spread).clamp_min(0) / rank).sqrt()
    # It rises as long as what it is taken from is kept.
    tau = torch.where(taus <= ordered, taus, -1.0).amax(dim=-1, keepdim=True)

    def step(tau: Tensor) -> Tensor:
        above = (z - tau).clamp_min(0)
        rise = ((above * above).sum(dim=-1, keepdim=True) - 1) / (2 * above.sum(dim=-1, keepdim=True))
        return tau + torch.where(rise > torch.finfo(z.dtype).eps, rise, 0.0)

    return (z - _settled(tau, ordered, step)).clamp_min(0) ** 2


MASKS = {"sparsemax": sparsemax, "entmax": entmax15}


def _largest(z: Tensor) -> Tensor:
    return torch.topk(z, min(z.shape[-1], _LARGEST)).values


def _rank(ordered: Tensor) -> Tensor:
    return torch.arange(1, ordered.shape[-1] + 1, dtype=ordered.dtype)


def _settled(tau: Tensor, ordered: Tensor, step: Callable[[Tensor], Tensor]) -> Tensor:
    """``tau`` [B, 1] after as many of Newton's steps as raise it in a row; none where rows keep fewer than ``ordered``.

    The largest entries alone give a tau that is too low, and from there each step rises to the root or short of it.
    """

    def body(tau: Tensor, rises: Tensor) -> tuple[Tensor, Tensor]:
        new = torch.maximum(step(tau), tau)
        return new, (new > tau).any()

    settled, _ = while_loop(lambda tau, rises: rises.clone(), body, (tau, (ordered[:, -1:] > tau).any()))
    return settled  # type: ignore[no-any-return]
