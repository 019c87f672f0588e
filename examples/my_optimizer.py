"""An optimizer of one's own: steps along the gradient's sign, ``optimizer=my_optimizer``."""

from collections.abc import Iterable
from typing import Any

import torch


class SignDescent(torch.optim.Optimizer):
    """Moves every weight by ``lr`` against its gradient's sign."""

    def __init__(self, params: Iterable[torch.nn.Parameter], lr: float = 0.001) -> None:
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One step."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    weight.sub_(weight.grad.sign(), alpha=group["lr"])
        return loss
