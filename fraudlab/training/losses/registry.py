"""Losses by name."""

from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from fraudlab.config.registry import Registry
from fraudlab.training.losses.contract import LossPart

if TYPE_CHECKING:  # heavy
    from torch import nn

LOSSES: Registry[LossPart] = Registry(
    "loss",
    {
        "cross_entropy": "fraudlab.training.losses.weighted:CROSS_ENTROPY",
        "expected_cost": "fraudlab.training.losses.weighted:EXPECTED_COST",
        "focal": "fraudlab.training.losses.weighted:FOCAL",
    },
)


def register_loss(name: str, make: "Callable[..., nn.Module]", settings: type, **declared: Any) -> None:
    """Add a loss of a plugin as ``loss=<name>``.

    Args:
        name: as in ``loss=<name>``.
        make: ``(**settings) -> Loss``, see :class:`fraudlab.training.losses.contract.Loss`.
        settings: dataclass of the keys of ``loss``, with ``name: str = <name>``.
        declared: further attributes of :class:`fraudlab.training.losses.contract.LossPart`.

    Raises:
        UserError: fraudlab has a loss of that name, or ``settings`` is not such a dataclass.
    """
    LOSSES.add(name, LossPart(make, **declared), settings)


def make_loss(config: Any) -> "nn.Module":
    """The loss that the typed settings of ``loss=<name>`` stand for."""
    settings = asdict(config)
    made: nn.Module = LOSSES[settings.pop("name")].make(**settings)
    return made
