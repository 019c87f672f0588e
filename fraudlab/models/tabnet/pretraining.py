"""TabNet's self-supervised pretraining: hide columns of a row, learn to tell them from the others (section 3.4)."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from fraudlab.models.tabnet.blocks import FeatureTransformer, gated_linear, plain_linear
from fraudlab.models.tabnet.network import TabNet


class Reconstruction(NamedTuple):
    """What the loss needs, each [B, D] over the embedded columns and of the network's dtype.

    ``reconstruction``: the decoder's columns. ``embedded``: the true ones, not normalised. ``obfuscated``: 1 where a
    column was hidden and counts, else 0.
    """

    reconstruction: Tensor
    embedded: Tensor
    obfuscated: Tensor


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
        network: TabNet,
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


def reconstruction_loss(reconstruction: Tensor, embedded: Tensor, obfuscated: Tensor) -> Tensor:
    """Mean over rows of the mean squared error of a row's obfuscated columns, each in units of its variance.

    pytorch-tabnet's ``UnsupervisedLoss``: the paper's loss, made independent of the numbers of rows and of columns.
    Predicting every column's mean gives 1. A row in which nothing is obfuscated counts as 0. It differs from
    pytorch-tabnet in one degenerate case, which :func:`column_scale` describes.

    Args:
        reconstruction: the decoder's columns, [B, D], B at least 2.
        embedded: the true columns, [B, D].
        obfuscated: 1 where a column was hidden and counts, else 0, [B, D].

    Returns:
        The loss [], at least 0.
    """
    variance, mean = torch.var_mean(embedded, dim=0)
    errors = ((reconstruction - embedded) * obfuscated) ** 2 / column_scale(mean, variance)
    # pytorch-tabnet's 1e-9 keeps rows without an obfuscated column from dividing by zero.
    return (errors.sum(dim=1) / (obfuscated.sum(dim=1) + 1e-9)).mean()


def column_scale(mean: Tensor, variance: Tensor) -> Tensor:
    """What a column's squared error is divided by: its variance, or for a constant column its mean's size, or 1.

    pytorch-tabnet divides by the mean itself. Where that is negative, as for a rare flag after scaling in a batch that
    has none, its loss rewards errors without bound; here the size counts.

    Args:
        mean: of each column, [D].
        variance: of each column, [D].
    """
    return torch.where(variance == 0, torch.where(mean == 0, 1.0, mean.abs()), variance)
