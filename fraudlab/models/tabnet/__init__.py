"""TabNet (Arik and Pfister 2021, arXiv:1908.07442)."""

from typing import Any

from torch import nn

from fraudlab.models.tabnet.network import TabNet

__all__ = ["TabNet", "make_network"]


def make_network(cardinalities: list[int], num_numeric: int, *, backend: str = "fast", **settings: Any) -> nn.Module:
    """The network of ``model=tabnet``: ours, or pytorch-tabnet's own with ``backend="reference"``."""
    if backend == "reference":
        from fraudlab.models.tabnet.reference import ReferenceTabNet

        return ReferenceTabNet(cardinalities, num_numeric, **settings)
    return TabNet(cardinalities, num_numeric, **settings)
