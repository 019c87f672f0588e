"""TabNet, the same function as pytorch-tabnet's, many times faster."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fraudlab.models.contract import NetworkOutput
from fraudlab.models.tabnet.blocks import Embedding, plain_linear
from fraudlab.models.tabnet.encoder import Encoder
from fraudlab.models.tabnet.grouping import Grouping
from fraudlab.models.tabnet.native.compile import usable
from fraudlab.models.tabnet.native.inputs import normalised_columns


class TabNetNetwork(nn.Module):
    """The network of TabNet by Arik and Pfister (2021, arXiv:1908.07442), as pytorch-tabnet 4.1 computes it.

    Columns are numbered categorical first, then numeric.

    Args:
        cardinalities: number of ids of each categorical column.
        num_numeric: number of numeric columns.
        num_classes: number of logits.
        embedding_dim: width of the categorical columns' embeddings, one for all or one each.
        n_d, n_a: width of the decision and of the attention part.
        n_steps: number of decision steps.
        gamma: relaxation of the mask prior, >= 1; 1 lets a column be used in one step only.
        n_independent, n_shared: gated layers of each step's own, and shared by all steps; not both 0.
        epsilon: added inside the logarithm of the mask entropy.
        virtual_batch_size: most rows of a ghost batch (Hoffer et al. 2017, arXiv:1705.08741).
        momentum: share of the newest ghost batch in the running statistics, in (0, 1].
        mask_type: ``sparsemax`` or ``entmax``.
        feature_groups: groups of columns that share a mask entry; None for none.
        sparsity: weight of the mask-entropy penalty (the paper's lambda_sparse).

    Raises:
        ValueError: a setting is out of its range; the message names it.
    """

    def __init__(
        self,
        cardinalities: Sequence[int],
        num_numeric: int,
        num_classes: int = 2,
        *,
        embedding_dim: int | Sequence[int] = 4,
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
        dims = [embedding_dim] * len(cardinalities) if isinstance(embedding_dim, int) else list(embedding_dim)
        if len(dims) != len(cardinalities):
            raise ValueError(f"embedding_dim has {len(dims)} entries for {len(cardinalities)} categorical columns")
        for name, value in (("n_d", n_d), ("n_a", n_a), ("n_steps", n_steps), ("num_classes", num_classes)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}")
        if min(n_independent, n_shared) < 0 or n_independent + n_shared == 0:
            raise ValueError(f"n_independent={n_independent} and n_shared={n_shared} give no layers")
        if gamma < 1 or not 0 < momentum <= 1 or virtual_batch_size < 2:
            raise ValueError(
                f"gamma={gamma} must be at least 1, momentum={momentum} in (0, 1], "
                f"virtual_batch_size={virtual_batch_size} at least 2"
            )
        if mask_type not in ("sparsemax", "entmax"):
            raise ValueError(f"mask_type must be sparsemax or entmax, not {mask_type!r}")
        if len(cardinalities) + num_numeric == 0:
            raise ValueError("there is no column to learn from")
        self.cardinalities, self.num_numeric, self.sparsity = list(cardinalities), num_numeric, sparsity
        self.embedding_dims, self.feature_groups = dims, [list(group) for group in feature_groups or ()]
        self.embedding = Embedding(cardinalities, dims) if cardinalities else None
        grouping = Grouping([*dims, *[1] * num_numeric], feature_groups)
        self.input_norm = nn.BatchNorm1d(grouping.num_columns, momentum=0.01)
        self.encoder = Encoder(
            grouping,
            n_d=n_d,
            n_a=n_a,
            n_steps=n_steps,
            gamma=gamma,
            n_independent=n_independent,
            n_shared=n_shared,
            epsilon=epsilon,
            virtual_batch_size=virtual_batch_size,
            momentum=momentum,
            mask_type=mask_type,
        )
        self.head = plain_linear(n_d, num_classes)

    def embed(self, categorical: Tensor, numeric: Tensor) -> Tensor:
        """The encoder's columns [B, D], not yet normalised."""
        return numeric if self.embedding is None else torch.cat([self.embedding(categorical), numeric], dim=1)

    def columns(self, categorical: Tensor, numeric: Tensor) -> Tensor:
        """The encoder's columns [B, D], normalised; arguments and errors as :meth:`forward` has them."""
        if categorical.shape[1:] != (len(self.cardinalities),) or numeric.shape[1:] != (self.num_numeric,):
            raise ValueError(
                f"this network takes {len(self.cardinalities)} categorical and {self.num_numeric} numeric columns, "
                f"not arrays of the shapes {tuple(categorical.shape)} and {tuple(numeric.shape)}"
            )
        if len(categorical) != len(numeric) or categorical.dtype != torch.int64:
            raise ValueError(
                f"categorical must be int64 and have numeric's {len(numeric)} rows, "
                f"not {categorical.dtype} and {len(categorical)}"
            )
        ours = numeric.dtype == self.input_norm.weight.dtype and not numeric.requires_grad
        if ours and usable(numeric, self.training):
            return normalised_columns(self.embedding, self.input_norm, categorical, numeric)
        if self.embedding is not None and categorical.device.type == "cpu" and not torch.compiler.is_compiling():
            self.embedding.check(categorical)
        return self.input_norm(self.embed(categorical, numeric))  # type: ignore[no-any-return]

    def forward(self, categorical: Tensor, numeric: Tensor) -> NetworkOutput:
        """Logits [B, num_classes] of rows ``categorical`` int64 [B, C] and ``numeric`` float32 [B, N].

        Raises:
            ValueError: the arrays have other columns than the network, differ in rows, or ``categorical`` is not int64;
                or, in training, a ghost batch has one row only.
            IndexError: an id is outside its column's range (on the CPU, where not compiled; else not checked).
        """
        decisions, entropy = self.encoder(self.columns(categorical, numeric))
        return NetworkOutput(self.head(decisions.sum(dim=0)), self.sparsity * entropy)

    @torch.no_grad()
    def explain(self, categorical: Tensor, numeric: Tensor) -> tuple[Tensor, Tensor]:
        """What each row's score rests on: ``importance`` [B, F] and ``masks`` [S, B, F] over the input columns.

        A step's mask weighs by the sum of its decision vector (section 3 of the paper); importances are not
        normalised. Computed as in evaluation, whatever the mode.
        """
        training = self.training
        self.eval()
        try:
            decisions, masks = self.encoder.steps(self.columns(categorical, numeric))
        finally:
            self.train(training)
        masks = self.encoder.grouping.to_inputs(masks)
        return (masks * decisions.sum(dim=-1, keepdim=True)).sum(dim=0), masks
