"""Schedules of the learning rate that torch has not."""

import math
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler


class CosLog(LRScheduler):
    """Cosine waves over the logarithm of time (Holzmueller et al. 2024, arXiv:2407.04491), each longer than the last.

    At the share t of the steps the rate is the optimizer's own times (1 - cos(2 pi log2(1 + (2^waves - 1) t))) / 2.

    Args:
        optimizer: whose groups' rates are the highest.
        total_steps: of the fit.
        waves: how many.
    """

    def __init__(self, optimizer: Optimizer, total_steps: int, waves: int = 4) -> None:
        self.total_steps, self.waves = total_steps, waves
        super().__init__(optimizer)

    def get_lr(self) -> list[Any]:
        share = min((self.last_epoch + 0.5) / self.total_steps, 1.0)  # in the middle of a step: at 0 it would be none
        wave = math.log2(1 + (2**self.waves - 1) * share)
        return [rate * (1 - math.cos(2 * math.pi * wave)) / 2 for rate in self.base_lrs]
