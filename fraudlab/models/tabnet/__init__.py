"""TabNet (Arik and Pfister 2021, arXiv:1908.07442)."""

from typing import TYPE_CHECKING, Any

from fraudlab.models.contract import ModelPart

if TYPE_CHECKING:
    from torch import nn

    from fraudlab.models.tabnet.model import TabNet

__all__ = ["PART", "TabNet", "make_network"]


def make_network(cardinalities: list[int], num_numeric: int, *, backend: str = "fast", **settings: Any) -> "nn.Module":
    """The network of ``model=tabnet``: ours, or pytorch-tabnet's own with ``backend="reference"``."""
    if backend == "reference":
        from fraudlab.models.tabnet.reference import ReferenceTabNet

        return ReferenceTabNet(cardinalities, num_numeric, **settings)
    from fraudlab.models.tabnet.model import TabNet

    made = TabNet(cardinalities, num_numeric, **settings)
    if made.embedding is not None:
        # Smaller than pytorch-tabnet's, so that an id that training has none of, or few, adds next to nothing.
        made.embedding.weight.data.mul_(0.01)
    return made


PART = ModelPart(
    "network",
    make_network,
    not_the_network=("compile", "pretrained"),
    weights_follow=("n_d", "n_a", "n_steps", "n_independent", "n_shared", "embedding_dim", "feature_groups"),
    pretraining={"backend": "fast", "pretrained": None},
    single_precision="TabNet's masks and statistics",
    optimizer={"lr": 0.02, "weight_decay": 0.3, "decay": "all"},
    auto={"virtual_batch_size": lambda facts: facts.batch_size},
)


def __getattr__(name: str) -> Any:
    if name == "TabNet":  # only now, since whoever reads PART needs no torch
        from fraudlab.models.tabnet.model import TabNet

        return TabNet
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
