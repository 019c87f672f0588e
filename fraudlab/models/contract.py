"""What every network takes and gives."""

from typing import NamedTuple, Protocol

from torch import Tensor


class NetworkOutput(NamedTuple):
    """What a network says of a batch.

    ``logits``: float [B, K], or [B, M, K] of an ensemble's M members: each member learns from its own loss, and the
    probability is the mean of the members' probabilities. ``penalty``: float [], what the network itself adds to the
    loss (0 if nothing).
    """

    logits: Tensor
    penalty: Tensor


class Network(Protocol):
    """A network is built from ``(cardinalities, num_numeric, num_classes, **settings)`` and called with two tensors.

    ``categorical``: int64 [B, C], ids in ``[0, cardinalities[c])``. ``numeric``: float32 [B, N], no NaN.
    """

    def __call__(self, categorical: Tensor, numeric: Tensor) -> NetworkOutput: ...
