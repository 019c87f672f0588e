"""TabNet for evaluation: every batch norm folded into the linear layer, the table or the columns before it."""

import copy
from typing import cast

import torch
from torch import Tensor, nn

from fraudlab.models.contract import NetworkOutput
from fraudlab.models.tabnet.blocks import AttentiveTransformer, FeatureTransformer
from fraudlab.models.tabnet.encoder import Encoder, mean_entropy
from fraudlab.models.tabnet.ghost_batch_norm import EPS, GhostBatchNorm
from fraudlab.models.tabnet.network import TabNetNetwork


def fold(network: TabNetNetwork) -> "FoldedTabNet":
    """What ``network`` computes in evaluation with its weights and running statistics of now, without batch norms.

    The result shares no memory with ``network`` and has its dtype and device; ``network``'s mode does not matter.
    """
    return FoldedTabNet(network)


class FoldedTabNet(nn.Module):
    """A :class:`fraudlab.models.tabnet.TabNet` in evaluation, and only there: nothing in it can be trained.

    ``torch.export`` takes it with any number of rows.

    Args:
        network: what is folded.
    """

    scale: Tensor
    shift: Tensor

    @torch.no_grad()
    def __init__(self, network: TabNetNetwork) -> None:
        super().__init__()
        # A mask stands between the input norm and the first linear layer, so that norm goes into the columns.
        scale, shift = _affine(network.input_norm)
        embedded = sum(network.embedding_dims)
        self.register_buffer("scale", scale[embedded:].to(network.head.weight))
        self.register_buffer("shift", shift[embedded:].to(network.head.weight))
        self.embedding = copy.deepcopy(network.embedding)
        if self.embedding is not None:
            start = column = 0
            for rows, dim in zip(network.cardinalities, network.embedding_dims, strict=True):
                table = self.embedding.weight[start : start + rows, :dim]
                here = slice(column, column + dim)
                table.copy_(table.double() * scale[here] + shift[here])
                start, column = start + rows, column + dim
        self.encoder = FoldedEncoder(network.encoder)
        self.head = copy.deepcopy(network.head)
        self.sparsity = network.sparsity
        self.requires_grad_(False)
        self.eval()

    def columns(self, categorical: Tensor, numeric: Tensor) -> Tensor:
        """The encoder's columns [B, D], normalised."""
        x = numeric * self.scale + self.shift
        return x if self.embedding is None else torch.cat([self.embedding(categorical), x], dim=1)

    def forward(self, categorical: Tensor, numeric: Tensor) -> NetworkOutput:
        """Logits [B, num_classes] of rows ``categorical`` int64 [B, C] and ``numeric`` float [B, N]."""
        decisions, entropy = self.encoder(self.columns(categorical, numeric))
        return NetworkOutput(self.head(decisions.sum(dim=0)), self.sparsity * entropy)


class FoldedEncoder(Encoder):
    """The steps of ``encoder``, each with its own copy of the shared layers, as each has norms of its own."""

    def __init__(self, encoder: Encoder) -> None:
        nn.Module.__init__(self)  # not the encoder's, which draws weights
        self.n_d, self.gamma, self.epsilon = encoder.n_d, encoder.gamma, encoder.epsilon
        self.grouping = copy.deepcopy(encoder.grouping)
        self.shared = nn.ModuleList()
        self.feature_transformers = nn.ModuleList(
            _fold_features(cast(FeatureTransformer, transform), encoder.shared)
            for transform in encoder.feature_transformers
        )
        self.attentive_transformers = nn.ModuleList(
            _fold_attention(cast(AttentiveTransformer, attend)) for attend in encoder.attentive_transformers
        )

    def forward(self, x: Tensor, prior: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Decisions [S, B, n_d] of ``x`` [B, D] and the masks' mean entropy []; ``prior`` as the encoder has it."""
        decisions, masks = self.steps(x, prior)  # never the compiled encoder, which wants norms
        return decisions, mean_entropy(masks, self.epsilon)


def _fold_features(transform: FeatureTransformer, shared: nn.ModuleList) -> FeatureTransformer:
    folded = copy.deepcopy(transform)
    layers = zip([*shared, *transform.linears], transform.norms, strict=True)
    folded.linears = nn.ModuleList(_fold(linear, norm) for linear, norm in layers)  # type: ignore[arg-type]
    folded.norms = nn.ModuleList(nn.Identity() for _ in transform.norms)
    return folded


def _fold_attention(attend: AttentiveTransformer) -> AttentiveTransformer:
    folded = copy.deepcopy(attend)
    folded.linear, folded.norm = _fold(attend.linear, attend.norm), nn.Identity()  # type: ignore[assignment]
    return folded


def _fold(linear: nn.Linear, norm: GhostBatchNorm) -> nn.Linear:
    """One layer with a bias that computes ``norm(linear(x))`` in evaluation."""
    scale, shift = _affine(norm)
    folded = nn.utils.skip_init(nn.Linear, linear.in_features, linear.out_features).to(linear.weight)
    folded.weight.copy_(linear.weight.double() * scale[:, None])
    folded.bias.copy_(shift)
    return folded


def _affine(norm: nn.BatchNorm1d | GhostBatchNorm) -> tuple[Tensor, Tensor]:
    """The norm at its running statistics as a scale and a shift [width], in float64 to round once only."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    eps = norm.eps if isinstance(norm, nn.BatchNorm1d) else EPS
    scale = norm.weight.double() * torch.rsqrt(norm.running_var.double() + eps)
    return scale, norm.bias.double() - norm.running_mean.double() * scale
