"""What every loss takes and gives."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:  # heavy
    from torch import Tensor


class Loss(Protocol):
    """A ``torch.nn.Module`` over logits. Of an ensemble's M members each learns from its own; their mean comes back."""

    def __call__(self, logits: "Tensor", label: "Tensor", weight: "Tensor") -> "Tensor":
        """Loss [].

        Args:
            logits: float [B, K], or [B, M, K] of an ensemble.
            label: int64 [B], 0 or 1 (fraud).
            weight: float32 [B], of each row; their mean over the training rows is 1.
        """
        ...


@dataclass(frozen=True)
class LossPart:
    """What ``loss=<name>`` stands for.

    Attributes:
        make: gives the loss of its settings, all of ``loss`` but ``name``.
        for_estimators: whether it is log loss with the weight ``fraud_weight`` of a fraud and nothing else, by which
            models of other libraries learn too.
        weighs_costs: whether the weight of a row is what a wrong decision on it costs more than the right one, see
            :func:`fraudlab.metrics.cost.cost_of_error`, times the row's own; else it is the row's own alone.
    """

    make: Callable[..., Any]
    for_estimators: bool = False
    weighs_costs: bool = False
