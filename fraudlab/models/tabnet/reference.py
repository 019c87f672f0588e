"""pytorch-tabnet's own network behind the network contract, to compare with (``model.backend=reference``)."""

from collections.abc import Sequence
from typing import Any

import torch
from pytorch_tabnet import tab_network  # not tab_model, which imports pandas
from torch import Tensor, nn

from fraudlab.models.contract import NetworkOutput
from fraudlab.models.tabnet.grouping import group_matrix


class ReferenceTabNet(nn.Module):
    """TabNet as pytorch-tabnet 4.1 computes it; arguments as :class:`fraudlab.models.tabnet.TabNet` has them.

    ``settings`` go to pytorch-tabnet, which has the same names and defaults.
    """

    def __init__(
        self,
        cardinalities: Sequence[int],
        num_numeric: int,
        num_classes: int = 2,
        *,
        embedding_dim: int = 4,
        feature_groups: Sequence[Sequence[int]] | None = None,
        sparsity: float = 1e-3,
        **settings: Any,
    ) -> None:
        super().__init__()
        self.sparsity = sparsity
        num_columns = len(cardinalities) + num_numeric
        self.reference = tab_network.TabNet(
            num_columns,
            num_classes,
            cat_idxs=list(range(len(cardinalities))),
            cat_dims=list(cardinalities),
            cat_emb_dim=[embedding_dim] * len(cardinalities),
            group_attention_matrix=group_matrix(num_columns, feature_groups),
            **settings,
        )
        # The reference never uses these (its encoder has its own); distributed training refuses idle parameters.
        self.reference.tabnet.initial_bn.requires_grad_(False)

    def forward(self, categorical: Tensor, numeric: Tensor) -> NetworkOutput:
        """Logits [B, num_classes] of rows ``categorical`` int64 [B, C] and ``numeric`` float32 [B, N].

        The reference takes one float table; its float32 is exact for category ids below 2**24.
        """
        table = torch.cat([categorical.to(numeric.dtype), numeric], dim=1)
        logits, negative_entropy = self.reference(table)
        # pytorch-tabnet gives sum(mask * log(mask)), the entropy's negative, and subtracts it from the loss.
        return NetworkOutput(logits, -self.sparsity * negative_entropy)

    def exported(self) -> nn.Module:
        """As the same function of ours is: :meth:`fraudlab.models.tabnet.TabNet.exported`."""
        from fraudlab.models.tabnet.export import ExportedTabNet
        from fraudlab.models.tabnet.interop import from_reference

        return ExportedTabNet(from_reference(self.reference, self.sparsity))

    def _apply(self, fn, recurse=True):  # type: ignore[no-untyped-def]
        """Move the group matrices too: the reference keeps them as plain attributes, not as buffers."""
        super()._apply(fn, recurse)
        for module in (self.reference.embedder, self.reference.tabnet.encoder):
            name = "embedding_group_matrix" if module is self.reference.embedder else "group_attention_matrix"
            setattr(module, name, fn(getattr(module, name)))
        return self
