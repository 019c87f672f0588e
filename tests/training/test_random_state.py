"""Every generator goes on as it stood, from plain data."""

import io
import random

import numpy as np
import torch

from fraudlab.training.random_state import random_state, set_random_state


def draw() -> list[float]:
    return [random.random(), random.gauss(0, 1), np.random.rand(), np.random.randn(), *torch.randn(3).tolist()]


def test_draws_repeat_from_a_state_that_was_saved() -> None:
    draw()
    saved = io.BytesIO()
    torch.save(random_state(torch.device("cpu")), saved)
    expected = [draw(), draw()]
    saved.seek(0)
    set_random_state(torch.load(saved, weights_only=True), torch.device("cpu"))
    assert [draw(), draw()] == expected
