"""A learner and rows small enough for tests of what goes on in a fit."""

from dataclasses import asdict
from typing import Any

import numpy as np

from fraudlab.config import CrossEntropyConfig, MLPConfig, TabMConfig, TabNetConfig
from fraudlab.data.batches import Batch
from fraudlab.models.registry import make_network
from fraudlab.training.learner import FraudLearner
from fraudlab.training.losses.registry import make_loss
from fraudlab.training.optimizers import make_optimizer, make_scheduler

ONE_CYCLE = {
    "_target_": "torch.optim.lr_scheduler.OneCycleLR", "interval": "step", "max_lr": 0.01, "total_steps": "total_steps",
}  # fmt: skip


def rows(count: int, seed: int) -> Batch:
    """Rows whose label follows from two of their columns."""
    draw = np.random.default_rng(seed)
    categorical, numeric = draw.integers(0, 4, (count, 1)), draw.standard_normal((count, 3)).astype(np.float32)
    return Batch.of(categorical, numeric, (numeric[:, 0] + (categorical[:, 0] == 2) > 1).astype(np.int64))


ADAMW = {"_target_": "torch.optim.AdamW", "lr": 0.01}


def learner(
    model: MLPConfig | TabNetConfig | TabMConfig,
    scheduler: dict[str, Any] = ONE_CYCLE,
    optimizer: dict[str, Any] = ADAMW,
) -> FraudLearner:
    rebuild = {"model": asdict(model), "cardinalities": [4], "num_numeric": 3}
    return FraudLearner(
        make_network(rebuild),
        make_loss(CrossEntropyConfig()),
        make_optimizer(optimizer),
        make_scheduler(scheduler),
        rebuild,
    )
