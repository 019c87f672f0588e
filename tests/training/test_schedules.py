"""Schedules that torch has not, against their formula; and they go on from their state."""

import numpy as np
import pytest
import torch

from fraudlab.training.schedules import CosLog


def test_waves_of_the_logarithm_of_time() -> None:
    def made() -> tuple[torch.optim.Optimizer, CosLog]:
        optimizer = torch.optim.SGD([{"params": torch.zeros(1), "lr": 0.4}, {"params": torch.zeros(1)}], lr=0.1)
        return optimizer, CosLog(optimizer, 60, waves=4)

    optimizer, schedule = made()
    rates, state = [], None
    for step in range(60):
        if step == 25:
            state = schedule.state_dict()
        rates.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        schedule.step()
    share = (np.arange(60) + 0.5) / 60
    wave = (1 - np.cos(2 * np.pi * np.log2(1 + 15 * share))) / 2
    assert np.array(rates) == pytest.approx(np.stack([0.4 * wave, 0.1 * wave], axis=1))
    assert sum((wave[1:-1] > wave[:-2]) & (wave[1:-1] > wave[2:])) == 4

    optimizer, schedule = made()
    schedule.load_state_dict(state)
    optimizer.step()
    schedule.step()
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx(rates[26])
