"""pytorch-tabnet's own network behind the network contract, to compare with (``model.backend=reference``)."""

from collections.abc import Sequence

import torch
from pytorch_tabnet import tab_network  # not tab_model, which imports pandas
from torch import Tensor, nn

from fraudlab.models.contract import NetworkOutput
from fraudlab.models.tabnet.grouping import Grouping


class ReferenceTabNet(nn.Module):
    """TabNet as pytorch-tabnet 4.1 computes it; arguments as :class:`fraudlab.models.tabnet.TabNet` has them."""

    def __init__(
        self,
        cardinalities: Sequence[int],
        num_numeric: int,
        num_classes: int = 2,
        *,
        embedding_dim: int = 4,
        n_d: int = 8,
        n_a: int = 8,
        n_steps: int = 3,
        gamma: float = 1.3,
        n_independent: int = 2,
        n_shared: int = 2,
        epsilon: float = 1e-15,
        virtual_batch_size: int = 128,
        momentum: float = 0.02,
        mask_type: str = "sparsemax",
        feature_groups: Sequence[Sequence[int]] | None = None,
        sparsity: float = 1e-3,
    ) -> None:
        super().__init__()
        self.sparsity = sparsity
        num_columns = len(cardinalities) + num_numeric
        matrix = Grouping([1] * num_columns, feature_groups).matrix
        self.reference = tab_network.TabNet(
            input_dim=num_columns,
            output_dim=num_classes,
            n_d=n_d,
            n_a=n_a,
            n_steps=n_steps,
            gamma=gamma,
            cat_idxs=list(range(len(cardinalities))),
            cat_dims=list(cardinalities),
            cat_emb_dim=[embedding_dim] * len(cardinalities),
            n_independent=n_independent,
            n_shared=n_shared,
            epsilon=epsilon,
            virtual_batch_size=virtual_batch_size,
            momentum=momentum,
            mask_type=mask_type,
            group_attention_matrix=torch.eye(num_columns) if matrix is None else matrix,
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

    def _apply(self, fn, recurse=True):  # type: ignore[no-untyped-def]
        """Move the group matrices too: the reference keeps them as plain attributes, not as buffers."""
        super()._apply(fn, recurse)
        for module in (self.reference.embedder, self.reference.tabnet.encoder):
            name = "embedding_group_matrix" if module is self.reference.embedder else "group_attention_matrix"
            setattr(module, name, fn(getattr(module, name)))
        return self
