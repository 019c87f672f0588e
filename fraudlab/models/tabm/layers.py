"""Layers of k members that share weights, arranged so that a step is little more than its matrix products.

Between layers stands ``[k, H, B]``: members, hidden units, rows.
"""

from typing import Any

import torch
from torch import Tensor, nn


def uniform(*shape: int, inputs: int) -> nn.Parameter:
    """A parameter drawn from U(-1/sqrt(inputs), 1/sqrt(inputs))."""
    return nn.Parameter(torch.empty(shape).uniform_(-(inputs**-0.5), inputs**-0.5))


class SharedLinear(nn.Module):
    """A linear layer whose weight all k members share.

    Args:
        inputs, outputs: widths D and H.
        members: k.
        scaled_in: scale the inputs, each member by its own.
        own: scale the outputs and add a bias, each member by its own; else the bias is shared.
    """

    def __init__(self, inputs: int, outputs: int, members: int, *, scaled_in: bool, own: bool) -> None:
        super().__init__()
        self.members = members
        self.weight = uniform(outputs, inputs, inputs=inputs)
        self.scale_in = nn.Parameter(torch.ones(members, inputs)) if scaled_in else None
        self.scale_out = nn.Parameter(torch.ones(members, outputs)) if own else None
        self.bias = uniform(outputs, inputs=inputs)
        if own:  # the same at the start
            self.bias = nn.Parameter(self.bias.detach().repeat(members, 1))

    def forward(self, x: Tensor, factor: float = 1.0) -> Tensor:
        """[k, H, B] of ``factor * x`` [k, D, B]; of ``x`` [D, B], which all members see, [k * H, B]."""
        # The scales go into the weights, which are fewer than the numbers that pass through.
        weight = self.weight if factor == 1.0 else self.weight * factor
        weight = weight.expand(self.members, -1, -1)
        if self.scale_in is not None:
            weight = weight * self.scale_in[:, None, :]
        if self.scale_out is not None:
            weight = weight * self.scale_out[:, :, None]
        bias = self.bias.expand(self.members, -1)
        if x.ndim == 3:
            return torch.baddbmm(bias[:, :, None], weight, x)
        return torch.addmm(bias.reshape(-1, 1), weight.flatten(0, 1), x)  # a view of it could not be overwritten

    def row_by_row(self, x: Tensor) -> Tensor:
        """The same function of ``x`` [k, B, D], giving [k, B, H]: faster where there are few rows."""
        if self.scale_in is not None:
            x = x * self.scale_in[:, None, :]
        x = x @ self.weight.T
        if self.scale_out is not None:
            x = x * self.scale_out[:, None, :]
        return x + (self.bias[:, None, :] if self.bias.ndim == 2 else self.bias)

    def keep(self, members: Tensor) -> None:
        """Leave these members alone, by their numbers."""
        self.members = len(members)
        for name in ("scale_in", "scale_out", "bias"):
            own = getattr(self, name)
            if own is not None and own.ndim == 2:
                setattr(self, name, nn.Parameter(own.detach()[members]))


class MemberLinear(nn.Module):
    """k linear layers side by side.

    Args:
        inputs, outputs: widths D and H.
        members: k.
    """

    def __init__(self, inputs: int, outputs: int, members: int) -> None:
        super().__init__()
        self.weight = uniform(members, outputs, inputs, inputs=inputs)
        self.bias = uniform(members, outputs, inputs=inputs)

    def forward(self, x: Tensor, factor: float = 1.0) -> Tensor:
        """[k, H, B] of ``factor * x`` [k, D, B]."""
        weight = self.weight if factor == 1.0 else self.weight * factor
        return torch.baddbmm(self.bias[:, :, None], weight, x)

    def row_by_row(self, x: Tensor) -> Tensor:
        """The same function of ``x`` [k, B, D], giving [k, B, H]."""
        return x @ self.weight.transpose(1, 2) + self.bias[:, None, :]

    def keep(self, members: Tensor) -> None:
        """Leave these members alone, by their numbers."""
        self.weight = nn.Parameter(self.weight.detach()[members])
        self.bias = nn.Parameter(self.bias.detach()[members])


class Dropout(nn.Module):
    """ReLU, then dropout, whose factor the next layer's weight takes: see :attr:`factor`.

    A byte is drawn for each number, a fraction of the time that torch's dropout takes on a CPU.

    Args:
        share: of units dropped in training, rounded to a multiple of 1/256.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.below = round(share * 256)

    @property
    def factor(self) -> float:
        """What the remaining units count times, so that their sum's expectation stays."""
        return 256 / (256 - self.below) if self.training else 1.0

    def forward(self, x: Tensor) -> Tensor:
        """The activations; ``x`` itself is overwritten."""
        below = self.below if self.training else 0
        if torch.compiler.is_compiling():  # what is overwritten would have wrong gradients
            x = torch.relu(x)
            return x.masked_fill(torch.rand_like(x) < below / 256, 0.0) if below else x
        made: Tensor = _ReLUDropout.apply(x, below)  # type: ignore[no-untyped-call]
        return made


class _ReLUDropout(torch.autograd.Function):
    """In place both ways. A gradient may be overwritten because the next product alone made it, for this alone."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, below: int) -> Tensor:
        x.relu_()
        if below:
            words = torch.empty((x.numel() + 7) // 8, dtype=torch.int64, device=x.device).random_(-(2**63), None)
            x.masked_fill_(words.view(torch.uint8)[: x.numel()].view_as(x) < below, 0.0)
        ctx.mark_dirty(x)
        ctx.save_for_backward(x)
        return x

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors  # above 0 where it was, and was not dropped
        return torch.ops.aten.threshold_backward.grad_input(gradient, x, 0, grad_input=gradient), None
