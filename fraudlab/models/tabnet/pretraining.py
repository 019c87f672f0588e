"""TabNet's self-supervised pretraining: hide columns of a row, learn to tell them from the others (section 3.4)."""

import torch
from torch import Tensor, nn

from fraudlab.models.reconstruction import Reconstruction
from fraudlab.models.tabnet.blocks import FeatureTransformer, gated_linear, plain_linear
from fraudlab.models.tabnet.network import TabNetNetwork


class Decoder(nn.Module):
    """From the steps' decisions back to the embedded columns (figure 4b of the paper).

    Args:
        width: columns of a decision, n_d.
        columns: embedded columns to reconstruct.
        n_steps: number of decisions.
        n_shared, n_independent: gated layers shared by all steps, and of each step's own; with neither, the decisions
            go straight to the last linear layer.
        virtual_batch_size, momentum: of its ghost batch norms.
    """

    def __init__(
        self,
        width: int,
        columns: int,
        n_steps: int,
        n_shared: int,
        n_independent: int,
        virtual_batch_size: int,
        momentum: float,
    ) -> None:
        super().__init__()
        self.n_independent = n_independent
        self.shared = nn.ModuleList(gated_linear(width, width) for _ in range(n_shared))
        self.feature_transformers = nn.ModuleList(
            FeatureTransformer(width, width, n_shared, n_independent, virtual_batch_size, momentum)
            for _ in range(n_steps)
        )
        self.linear = plain_linear(width, columns)

    def forward(self, decisions: Tensor) -> Tensor:
        """Columns [B, D] of ``decisions`` [S, B, n_d]."""
        steps = zip(self.feature_transformers, decisions, strict=True)
        return self.linear(torch.stack([transform(step, self.shared) for transform, step in steps]).sum(dim=0))


class TabNetPretraining(nn.Module):
    """A TabNet and the decoder that pretrains it, as pytorch-tabnet 4.1 computes them.

    Args:
        network: what is pretrained: its embedding, input norm and encoder. Its head has no part and gets no gradient.
        pretraining_ratio: probability, in (0, 1), that a group of columns is hidden.
        n_shared_decoder, n_independent_decoder: gated layers of the decoder, shared by all steps and each step's own.

    Raises:
        ValueError: a setting is out of its range.
    """

    def __init__(
        self,
        network: TabNetNetwork,
        *,
        pretraining_ratio: float = 0.2,
        n_shared_decoder: int = 1,
        n_independent_decoder: int = 1,
    ) -> None:
        super().__init__()
        if not 0 < pretraining_ratio < 1:
            raise ValueError(f"pretraining_ratio={pretraining_ratio} must lie between 0 and 1")
        if min(n_shared_decoder, n_independent_decoder) < 0:
            raise ValueError(f"{n_shared_decoder=} and {n_independent_decoder=} must not be negative")
        self.network, self.pretraining_ratio = network, pretraining_ratio
        network.head.requires_grad_(False)  # distributed training refuses parameters that idle
        encoder = network.encoder
        self.decoder = Decoder(
            encoder.n_d,
            encoder.grouping.num_columns,
            encoder.n_steps,
            n_shared_decoder,
            n_independent_decoder,
            encoder.virtual_batch_size,
            encoder.momentum,
        )

    def forward(self, categorical: Tensor, numeric: Tensor, obfuscated_groups: Tensor | None = None) -> Reconstruction:
        """Hide columns of rows ``categorical`` int64 [B, C] and ``numeric`` float [B, N], and reconstruct them.

        Args:
            categorical: ids of the categorical columns.
            numeric: the numeric columns.
            obfuscated_groups: 1 where a group of columns is hidden, else 0, [B, G] of ``numeric``'s dtype. None to
                draw it anew in training, and in evaluation to hide nothing and to count every column.

        Raises:
            ValueError: in training, a ghost batch has one row only.
        """
        embedded = self.network.embed(categorical, numeric)
        grouping = self.network.encoder.grouping
        if obfuscated_groups is None and self.training:
            obfuscated_groups = torch.bernoulli(
                embedded.new_full((len(embedded), grouping.num_groups), self.pretraining_ratio)
            )
        if obfuscated_groups is None:
            seen, prior, obfuscated = embedded, None, torch.ones_like(embedded)
        else:
            obfuscated = obfuscated_groups[:, grouping.group]
            seen, prior = (1 - obfuscated) * embedded, 1 - obfuscated_groups
        decisions, _ = self.network.encoder(self.network.input_norm(seen), prior)
        return Reconstruction(self.decoder(decisions), embedded, obfuscated)
