"""A folded TabNet arranged for ONNX Runtime: the same function, with fewer passes over its wide arrays."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fraudlab.models.tabnet.blocks import ROOT_HALF
from fraudlab.models.tabnet.export_masks import MASKS
from fraudlab.models.tabnet.folding import FoldedTabNet, fold
from fraudlab.models.tabnet.network import TabNetNetwork


class ExportedTabNet(nn.Module):
    """``network`` in evaluation, with the importance of its inputs beside its logits.

    A mask's entry stands for a numeric column itself, but for all of an embedding's columns. Where embeddings are
    equally wide, both are multiplied without spreading the mask: numeric columns by the mask as it is, with zeros in
    the categorical ones' places, and the embeddings, their columns ordered by dimension, by its categorical part.

    Args:
        network: what is exported; is left as it is.
    """

    gives_importance = True
    to_inputs: Tensor | None

    @torch.no_grad()
    def __init__(self, network: TabNetNetwork) -> None:
        super().__init__()
        self.folded: FoldedTabNet = fold(network)
        encoder = self.folded.encoder
        self.n_d, self.gamma = encoder.n_d, encoder.gamma
        self.grouping = encoder.grouping
        self.even = self.grouping.matrix is None and self.grouping.wide > 0
        self.transformers = nn.ModuleList(_Transformer(each.linears) for each in encoder.feature_transformers)  # type: ignore[arg-type]
        self.attention = nn.ModuleList(each.linear for each in encoder.attentive_transformers)  # type: ignore[misc]
        self.masks = [MASKS[each.mask_type] for each in encoder.attentive_transformers]  # type: ignore[index]
        if self.even:
            self._split_first_layers()
        matrix = self.grouping.to_inputs(torch.eye(self.grouping.num_groups, dtype=self.folded.head.weight.dtype))
        is_plain = torch.equal(matrix, torch.eye(self.grouping.num_inputs, dtype=matrix.dtype))
        self.register_buffer("to_inputs", None if is_plain else matrix)

    def forward(self, categorical: Tensor, numeric: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [B, K] and importance [B, F], as :meth:`fraudlab.models.tabnet.TabNet.explain` has it."""
        numeric = numeric.to(self.folded.scale.dtype)
        inputs = self._columns(categorical, numeric)
        first, *transformers = self.transformers
        attention = first(*inputs)[:, self.n_d :]
        decision = importance = prior = None
        for attend, mask_of, transform in zip(self.attention, self.masks, transformers, strict=True):
            z = attend(attention)
            mask = mask_of(z if prior is None else z * prior)
            prior = self.gamma - mask if prior is None else (self.gamma - mask) * prior
            out = transform(*self._masked(inputs, mask))
            step = torch.relu(out[:, : self.n_d])
            attention = out[:, self.n_d :]
            weighted = mask * step.sum(dim=-1, keepdim=True)
            decision = step if decision is None else decision + step
            importance = weighted if importance is None else importance + weighted
        assert importance is not None
        return self.folded.head(decision), importance if self.to_inputs is None else importance @ self.to_inputs

    def _columns(self, categorical: Tensor, numeric: Tensor) -> list[Tensor]:
        """What :meth:`_masked` multiplies: all columns, or the numeric ones and the embeddings [B, dim, C]."""
        if not self.even:
            return [self.folded.columns(categorical, numeric)]
        embedding = self.folded.embedding
        assert embedding is not None
        embedded = F.embedding(categorical + embedding.offset, embedding.weight).transpose(1, 2)
        x = F.pad(numeric * self.folded.scale + self.folded.shift, (self.grouping.wide, 0))
        return [x, embedded]

    def _masked(self, inputs: list[Tensor], mask: Tensor) -> list[Tensor]:
        if not self.even:
            return [inputs[0] * self.grouping.to_columns(mask)]
        return [inputs[0] * mask, inputs[1] * mask[:, None, : self.grouping.wide]]

    def _split_first_layers(self) -> None:
        wide, dim = self.grouping.wide, self.grouping.dim
        part = self.grouping.part  # of a mask's entry that each column of an embedding gets
        for number, transform in enumerate(self.transformers):
            weight: Tensor = transform.first.weight  # type: ignore[union-attr, assignment]
            ours = weight[:, : wide * dim].unflatten(1, (wide, dim)).transpose(1, 2).flatten(1)
            transform.embedded = nn.Parameter((ours * part if number else ours).contiguous(), requires_grad=False)
            transform.first.weight = nn.Parameter(F.pad(weight[:, wide * dim :], (wide, 0)), requires_grad=False)  # type: ignore[union-attr]


class _Transformer(nn.Module):
    """Gated layers of folded linear layers, the first of which may take the embeddings apart."""

    embedded: Tensor | None

    def __init__(self, linears: nn.ModuleList) -> None:
        super().__init__()
        self.first = linears[0]
        self.rest = linears[1:]
        self.register_parameter("embedded", None)

    def forward(self, x: Tensor, embedded: Tensor | None = None) -> Tensor:
        outputs = self.first(x)
        if embedded is not None:
            assert self.embedded is not None
            outputs = torch.addmm(outputs, embedded.flatten(1), self.embedded.t())
        x = F.glu(outputs, dim=-1)
        for linear in self.rest:
            x = (x + F.glu(linear(x), dim=-1)) * ROOT_HALF
        return x
