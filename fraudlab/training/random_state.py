"""The state of every random generator of this process, as plain data that a checkpoint may hold."""

import random
from typing import Any

import numpy as np
import torch


def random_state(device: torch.device) -> dict[str, Any]:
    """State of Python's, NumPy's and torch's generators, and of the accelerator's where ``device`` is one."""
    version, words, gauss = random.getstate()
    algorithm, keys, *rest = np.random.get_state()  # noqa: NPY002
    # Words as tensors: lists of a thousand numbers take most of a save's time.
    state = {
        "python": [version, torch.tensor(words), gauss],
        "numpy": [algorithm, torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest],
        "torch": torch.get_rng_state(),
    }
    if device.type != "cpu":
        state["accelerator"] = torch.get_device_module(device.type).get_rng_state()
    return state


def set_random_state(state: dict[str, Any], device: torch.device) -> None:
    """Let the generators go on as they stood when :func:`random_state` gave ``state``."""
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words.tolist()), gauss))
    algorithm, keys, *rest = state["numpy"]
    np.random.set_state((algorithm, keys.numpy(), *rest))  # noqa: NPY002
    torch.set_rng_state(state["torch"])
    if "accelerator" in state and device.type != "cpu":
        torch.get_device_module(device.type).set_rng_state(state["accelerator"])
