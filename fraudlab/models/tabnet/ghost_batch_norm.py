"""Ghost batch norm (Hoffer et al. 2017, arXiv:1705.08741): batch norm over small pieces of a batch, in one go."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

EPS = 1e-5  # inside the square root, as torch.nn.BatchNorm1d has it


class GhostBatchNorm(nn.Module):
    """Batch norm whose statistics are those of each ghost batch; its running statistics serve evaluation.

    Args:
        width: number of columns.
        virtual_batch_size: most rows of a ghost batch.
        momentum: share of the newest ghost batch in the running statistics, in (0, 1].
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, width: int, virtual_batch_size: int, momentum: float) -> None:
        super().__init__()
        self.virtual_batch_size = virtual_batch_size
        self.momentum = momentum
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.register_buffer("running_mean", torch.zeros(width))
        self.register_buffer("running_var", torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``x`` float [B, width]; what is narrower than float32 is computed, and returned, in float32.

        Raises:
            ValueError: in training, a ghost batch has one row only.
        """
        if x.dtype in (torch.float16, torch.bfloat16):
            x = x.float()
        if not self.training:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=EPS)
        size = ghost_batch_rows(len(x), self.virtual_batch_size)
        whole = len(x) // size
        ghosts = x[: whole * size].view(whole, size, -1)
        y, mean, var = _normalise(ghosts)
        y = y.flatten(0, 1)
        if whole * size < len(x):
            rest, rest_mean, rest_var = _normalise(x[whole * size :].unsqueeze(0))
            y = torch.cat([y, rest.squeeze(0)])
            mean, var = torch.cat([mean, rest_mean]), torch.cat([var, rest_var])
        with torch.no_grad():
            _follow(self.running_mean, mean, self.momentum)
            _follow(self.running_var, var, self.momentum)
        return y * self.weight + self.bias


def ghost_batch_rows(rows: int, virtual_batch_size: int) -> int:
    """Rows of each ghost batch but the last, which has what is left: the sizes that ``torch.chunk`` gives.

    Raises:
        ValueError: a ghost batch would have one row, which has no variance.
    """
    size = math.ceil(rows / math.ceil(rows / virtual_batch_size))
    if size == 1 or rows % size == 1:
        raise ValueError(
            f"a batch of {rows} rows in ghost batches of {size} leaves one with a single row, which batch norm cannot "
            "train on; use another batch_size or virtual_batch_size"
        )
    return size


def _normalise(ghosts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Ghost batches [K, R, width] normalised, their means and unbiased variances [K, width]."""
    var, mean = torch.var_mean(ghosts, dim=1, correction=0, keepdim=True)
    rows = ghosts.shape[1]
    unbiased = var.detach().squeeze(1) * (rows / (rows - 1))
    return (ghosts - mean) * torch.rsqrt(var + EPS), mean.detach().squeeze(1), unbiased


def _follow(running: Tensor, statistics: Tensor, momentum: float) -> None:
    """Let ``running`` [width] follow K statistics [K, width] as K updates r <- (1 - m) r + m s in turn would.

    In closed form: r <- (1 - m)^K r + sum_i m (1 - m)^(K - 1 - i) s_i.
    """
    ghosts = len(statistics)
    ages = torch.arange(ghosts - 1, -1, -1, dtype=statistics.dtype, device=statistics.device)
    shares = momentum * torch.pow(1 - momentum, ages)
    running.mul_((1 - momentum) ** ghosts).add_(shares @ statistics)
