"""A TabNet without the columns that no mask looks at."""

from typing import TypeVar, cast

import torch
from torch import Tensor, nn

from fraudlab.models.tabnet.ghost_batch_norm import GhostBatchNorm
from fraudlab.models.tabnet.network import TabNetNetwork

Pruned = TypeVar("Pruned", bound=TabNetNetwork)


@torch.no_grad()
def without(network: Pruned, dropped: Tensor, categorical: Tensor, numeric: Tensor) -> Pruned:
    """``network`` in evaluation without some input columns.

    A masked step does not miss a column that its mask leaves out. The first transformer, whose output alone guides the
    first step's attention, sees all columns: it gets the mean of those that are gone.

    Args:
        network: is left as it is.
        dropped: bool [C + N], whole groups of ``feature_groups``; not all columns.
        categorical: ids of rows that the mean is taken of, int64 [B, C].
        numeric: their numbers, in the network's precision [B, N].
    """
    kept = ~dropped
    dims = [*network.embedding_dims, *[1] * network.num_numeric]
    columns = torch.repeat_interleave(kept, torch.tensor(dims))
    encoder, grouping = network.encoder, network.encoder.grouping
    groups = torch.zeros(grouping.num_groups, dtype=torch.bool)
    groups[grouping.group[columns]] = True
    number = (kept.cumsum(0) - 1).tolist()
    wide = kept[: len(network.cardinalities)].tolist()
    made = type(network)(
        [ids for ids, keep in zip(network.cardinalities, wide, strict=True) if keep],
        int(kept[len(wide) :].sum()),
        network.head.out_features,
        embedding_dim=[dim for dim, keep in zip(network.embedding_dims, wide, strict=True) if keep],
        feature_groups=[[number[i] for i in group] for group in network.feature_groups if kept[group[0]]],
        sparsity=network.sparsity,
        **{name: getattr(encoder, name) for name in _SETTINGS},
    ).to(network.head.weight)
    ids = torch.repeat_interleave(torch.tensor(wide), torch.tensor(network.cardinalities, dtype=torch.int64))
    state = made.state_dict()
    for name, value in network.state_dict().items():
        if name.startswith("embedding."):
            if name in state and value.ndim == 2:
                state[name] = value[ids][:, : state[name].shape[1]]
        elif name.startswith("input_norm.") and value.ndim:
            state[name] = value[columns]
        elif ".attentive_transformers." in f".{name}" and value.ndim:
            state[name] = value[groups]
        else:
            state[name] = value if value.shape == state[name].shape else value[:, columns]
    made.load_state_dict(state)
    first = encoder.shared[0] if len(encoder.shared) else encoder.feature_transformers[0].linears[0]  # type: ignore[index, union-attr]
    mean = network.eval().columns(categorical, numeric)[:, ~columns].mean(dim=0)
    norm = cast(GhostBatchNorm, made.encoder.feature_transformers[0].norms[0])  # type: ignore[index]
    norm.running_mean -= cast(nn.Linear, first).weight[:, ~columns] @ mean
    return made.eval()


_SETTINGS = (
    *("n_d", "n_a", "n_steps", "gamma", "n_independent", "n_shared", "epsilon", "virtual_batch_size", "momentum"),
    "mask_type",
)
