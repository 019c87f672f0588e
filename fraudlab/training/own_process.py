"""A training inside a program's own process, which it leaves as it was."""

import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from fraudlab.config import TrainConfig
from fraudlab.config.overrides import to_type
from fraudlab.errors import UserError
from fraudlab.training.random_state import random_state, set_random_state


def refuse_several(config: TrainConfig, overrides: Sequence[str]) -> None:
    """Refuse settings that ask for several processes, which only the command can start.

    Raises:
        UserError: they do; the message says what to type.
    """
    trainer = config.trainer
    devices = trainer.get("devices")
    several = len(devices) > 1 if isinstance(devices, (list, tuple)) else str(devices) not in ("1", "None")
    alone = trainer.get("strategy") in ("auto", "single_device", None) and trainer.get("num_nodes") in (1, None)
    if several or not alone or int(os.environ.get("WORLD_SIZE") or 1) > 1:
        raise UserError(
            f"trainer.strategy={trainer.get('strategy')} with trainer.devices={devices} starts processes, which a "
            f"program's own process cannot become; type: {to_type('train', *overrides)}"
        )


@contextmanager
def unchanged() -> Iterator[None]:
    """Put back, when it ends, what a training sets for its whole process."""
    device = torch.device("cuda" if torch.cuda.is_initialized() else "cpu")
    state, threads, environment = random_state(device), torch.get_num_threads(), dict(os.environ)
    deterministic = torch.are_deterministic_algorithms_enabled()
    root = logging.getLogger()
    names = {name for name, log in root.manager.loggerDict.items() if isinstance(log, logging.Logger)}
    loggers = [(log, log.level, list(log.handlers), log.propagate) for log in (root, *map(logging.getLogger, names))]
    try:
        with warnings.catch_warnings():
            yield
    finally:
        for log, level, handlers, propagate in loggers:
            log.setLevel(level)
            log.handlers[:] = handlers
            log.propagate = propagate
        os.environ.clear()
        os.environ.update(environment)
        torch.use_deterministic_algorithms(deterministic)
        torch.set_num_threads(threads)
        set_random_state(state, device)
