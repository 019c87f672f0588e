"""Sparsemax and 1.5-entmax in operators that ONNX has, exact, and fast for one row as for many.

Both are ``max(z - tau, 0)^q`` (see :mod:`fraudlab.models.tabnet.masks`). Of few entries, once sorted, tau is in closed
form. To sort hundreds costs more than all the rest of a step. There a first bound, the tau of some large entries alone,
is never above the row's own and leaves few entries to sort; and where a row of the batch keeps more entries than are
sorted, Newton's steps go on from there in a loop, until none rises.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch._higher_order_ops.while_loop import while_loop

_LARGEST = 32  # most entries that are sorted
_CHUNK, _HEADS = 16, 8  # entries of which the largest alone counts in the bound; and how many of those
_STILL = 64  # times the precision: a smaller rise is rounding

OfSorted = Callable[[Tensor], Tensor]  # from falling entries [B, k] to tau [B, 1]
Step = Callable[[Tensor, Tensor], Tensor]  # Newton's, from entries [B, G] and tau [B, 1] to a better tau


def sparsemax(z: Tensor) -> Tensor:
    """Sparsemax of ``z`` float [B, G]."""
    return torch.relu(z - threshold_for_budget(z, _sparsemax_of_sorted, _sparsemax_step))


def entmax15(z: Tensor) -> Tensor:
    """1.5-entmax of ``z`` float [B, G]."""
    z = z * 0.5
    root = torch.relu(z - threshold_for_budget(z, _entmax_of_sorted, _entmax_step))
    return root * root


MASKS = {"sparsemax": sparsemax, "entmax": entmax15}


def threshold_for_budget(z: Tensor, of_sorted: OfSorted, step: Step) -> Tensor:
    """Tau [B, 1] of the rows of ``z``."""
    groups = z.shape[-1]
    if groups <= _LARGEST:
        return of_sorted(torch.topk(z, groups).values)
    chunks = groups // _CHUNK
    heads = z[:, : chunks * _CHUNK].reshape(-1, _CHUNK, chunks).amax(dim=1)
    floor = of_sorted(torch.topk(heads, min(chunks, _HEADS)).values)
    # What lies at or below the floor is below tau, and many equal entries are sorted faster.
    ordered = torch.topk(torch.maximum(z, floor), _LARGEST).values
    return _settled(z, of_sorted(ordered), ordered, step)


def _settled(z: Tensor, tau: Tensor, ordered: Tensor, step: Step) -> Tensor:
    """``tau`` [B, 1] after as many of Newton's steps as raise it in a row; none where rows keep fewer than ``ordered``.

    The largest entries alone give a tau that is too low, and from there each step rises to the root or short of it.
    """
    eps = torch.finfo(z.dtype).eps * (1 + ordered[:, :1].abs())

    def body(tau: Tensor, rises: Tensor) -> tuple[Tensor, Tensor]:
        new = step(z, tau)
        return torch.maximum(new, tau), (new - tau > _STILL * eps).any()

    settled, _ = while_loop(lambda tau, rises: rises.clone(), body, (tau, (ordered[:, -1:] > tau).any()))
    return settled  # type: ignore[no-any-return]


def _sparsemax_of_sorted(ordered: Tensor) -> Tensor:
    top = ordered[:, :1]
    z = ordered - top  # sums of small numbers keep their last digits
    return top + ((z.cumsum(dim=-1) - 1) / _rank(z)).amax(dim=-1, keepdim=True)


def _sparsemax_step(z: Tensor, tau: Tensor) -> Tensor:
    inside = (z > tau).to(z.dtype).sum(dim=-1, keepdim=True)
    return tau + (torch.relu(z - tau).sum(dim=-1, keepdim=True) - 1) / inside


def _entmax_of_sorted(ordered: Tensor) -> Tensor:
    top = ordered[:, :1]
    z = ordered - top
    rank = _rank(z)
    mean = z.cumsum(dim=-1) / rank
    spread = (z * z).cumsum(dim=-1) - rank * mean * mean
    taus = mean - (torch.relu(1 - spread) / rank).sqrt()
    # It rises as long as what it is taken from is kept.
    return top + torch.where(taus <= z, taus, -1.0).amax(dim=-1, keepdim=True)


def _entmax_step(z: Tensor, tau: Tensor) -> Tensor:
    above = torch.relu(z - tau)
    return tau + ((above * above).sum(dim=-1, keepdim=True) - 1) / (2 * above.sum(dim=-1, keepdim=True))


def _rank(z: Tensor) -> Tensor:
    return torch.arange(1, z.shape[-1] + 1, dtype=z.dtype)
