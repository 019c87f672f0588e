"""Muon for hidden matrices, AdamW for all other parameters, as one optimizer."""

from collections.abc import Callable, Iterable
from typing import Any

import torch


class Muon(torch.optim.Optimizer):
    """Steps along each hidden matrix's orthogonalised momentum (Jordan et al. 2024; torch.optim.Muon), others by AdamW.

    The step is scaled as Liu et al. have it (2025, arXiv:2502.16982), so that rates and decays of AdamW suit.

    Args:
        params: parameter groups; those with ``hidden: True`` hold matrices for Muon.
        lr: rate of both.
        weight_decay: decoupled decay of both.
        momentum: of Muon.
        betas, eps: of AdamW.

    Raises:
        ValueError: no group is hidden, or an argument is out of its range.
    """

    def __init__(
        self,
        params: Iterable[dict[str, Any]],
        lr: float = 0.02,
        weight_decay: float = 0.01,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "hidden": False})
        groups = self._groups(True), self._groups(False)
        if not groups[0]:
            raise ValueError("no parameter is a hidden matrix; use another optimizer, or optimizer.decay=matrices")
        # Both are built over this optimizer's own groups, into which they write their further settings.
        self._muon = torch.optim.Muon(
            groups[0], lr=lr, weight_decay=weight_decay, momentum=momentum, adjust_lr_fn="match_rms_adamw"
        )
        self._adamw = (
            torch.optim.AdamW(groups[1], lr=lr, weight_decay=weight_decay, betas=(betas[0], betas[1]), eps=eps)
            if groups[1]
            else None
        )

    def _groups(self, hidden: bool) -> list[dict[str, Any]]:
        return [group for group in self.param_groups if group["hidden"] is hidden]

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step of both."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part, hidden in ((self._muon, True), (self._adamw, False)):
            if part is not None:
                # A checkpoint that was loaded has put others in their place.
                part.param_groups, part.state = self._groups(hidden), self.state
                part.step()
        return loss
