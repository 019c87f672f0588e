"""Settings of models of other libraries."""

from dataclasses import dataclass

UNUSED = ("optimizer", "scheduler", "trainer", "callbacks", "batch_size", "eval_batch_size", "keep_on_device")
"""Settings of a training that do nothing to a baseline."""


@dataclass
class EstimatorConfig:
    """A model of another library, fitted on the same encoded arrays; a fraud weighs ``loss.fraud_weight``."""

    name: str = ""
