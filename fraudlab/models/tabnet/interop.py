"""Weights from and to pytorch-tabnet's network."""

from collections.abc import Iterator

import torch
from pytorch_tabnet import tab_network  # not tab_model, which imports pandas
from torch import Tensor, nn

from fraudlab.models.tabnet.network import TabNet


def from_reference(reference: tab_network.TabNet) -> TabNet:
    """The same network as ``reference``, whose categorical columns may stand anywhere among its inputs.

    The new network takes them in order of their position, and the other columns as ``numeric`` in theirs.
    """
    encoder = reference.tabnet.encoder
    embeddings = _embeddings(reference)
    network = TabNet(
        [embedding.num_embeddings for embedding in embeddings],
        reference.input_dim - len(embeddings),
        reference.tabnet.output_dim,
        embedding_dim=[embedding.embedding_dim for embedding in embeddings],
        n_d=encoder.n_d,
        n_a=encoder.n_a,
        n_steps=encoder.n_steps,
        gamma=encoder.gamma,
        n_independent=encoder.n_independent,
        n_shared=encoder.n_shared,
        epsilon=encoder.epsilon,
        virtual_batch_size=encoder.virtual_batch_size,
        momentum=encoder.att_transformers[0].bn.bn.momentum,
        mask_type=encoder.mask_type,
        feature_groups=[sorted(group) for group in _Layout(reference).groups if len(group) > 1],
    ).to(encoder.initial_bn.weight.dtype)
    with torch.no_grad():
        for ours, theirs in pairs(network, reference):
            ours.copy_(theirs)
    return network.train(reference.training)


def pairs(network: TabNet, reference: tab_network.TabNet) -> Iterator[tuple[Tensor, Tensor]]:
    """Each parameter and running statistic of ours beside the reference's, in our order of columns and groups."""
    layout = _Layout(reference)
    columns, groups = layout.encoded_columns, layout.group_order(network)
    encoder, theirs = network.encoder, reference.tabnet.encoder
    for column, embedding in enumerate(_embeddings(reference)):
        assert network.embedding is not None
        start = int(network.embedding.offset[column])
        rows = network.embedding.weight[start : start + embedding.num_embeddings, : embedding.embedding_dim]
        yield rows, embedding.weight
    yield from _norms(network.input_norm, theirs.initial_bn, columns)
    yield from zip(
        (linear.weight for linear in encoder.shared),
        (_in(fc, columns if layer == 0 else None) for layer, fc in enumerate(_shared(theirs))),
        strict=True,
    )
    transformers = [theirs.initial_splitter, *theirs.feat_transformers]
    for ours, block in zip(encoder.feature_transformers, transformers, strict=True):
        shared = list(block.shared.glu_layers) if encoder.n_shared else []
        own = list(block.specifics.glu_layers) if encoder.n_independent else []
        for number, (linear, layer) in enumerate(zip(ours.linears, own, strict=True)):
            yield linear.weight, _in(layer.fc, columns if not shared and number == 0 else None)
        for norm, layer in zip(ours.norms, [*shared, *own], strict=True):
            yield from _norms(norm, layer.bn.bn)
    for attend, attention in zip(encoder.attentive_transformers, theirs.att_transformers, strict=True):
        yield attend.linear.weight, attention.fc.weight[groups]
        yield from _norms(attend.norm, attention.bn.bn, groups)
    yield network.head.weight, reference.tabnet.final_mapping.weight


def _in(linear, order):
    return linear.weight if order is None else linear.weight[:, order]


def _shared(encoder):
    return [layer.fc for layer in encoder.initial_splitter.shared.glu_layers] if encoder.n_shared else []


def _norms(ours, theirs, order=slice(None)):
    for name in ("weight", "bias", "running_mean", "running_var"):
        yield getattr(ours, name), getattr(theirs, name)[order]


class _Layout:
    """How the reference's inputs, embedded columns and groups stand to ours."""

    def __init__(self, reference):
        embeddings = _embeddings(reference)
        categorical = [int(column) for column in reference.cat_idxs]
        self.inputs = [*categorical, *(c for c in range(reference.input_dim) if c not in categorical)]
        widths = [1] * reference.input_dim
        for column, embedding in zip(categorical, embeddings, strict=True):
            widths[column] = embedding.embedding_dim
        starts = [sum(widths[:column]) for column in range(reference.input_dim)]
        self.encoded_columns = [starts[c] + k for c in self.inputs for k in range(widths[c])]
        matrix = reference.embedder.embedding_group_matrix
        self.groups = [
            frozenset(ours for ours, c in enumerate(self.inputs) if row[starts[c]] > 0) for row in matrix.tolist()
        ]

    def group_order(self, network):
        grouping = network.encoder.grouping
        ours = [set() for _ in range(grouping.num_groups)]
        for column, group in zip(grouping.column.tolist(), grouping.group.tolist(), strict=True):
            ours[group].add(column)
        return [self.groups.index(frozenset(group)) for group in ours]


def _embeddings(reference: tab_network.TabNet) -> list[nn.Embedding]:
    return [] if reference.embedder.skip_embedding else list(reference.embedder.embeddings)
