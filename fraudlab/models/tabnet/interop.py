"""Weights from and to the networks of pytorch-tabnet."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeAlias

import torch
from pytorch_tabnet import tab_network  # not tab_model, nor utils: both import pandas
from torch import Tensor, nn

from fraudlab.errors import UserError
from fraudlab.models.tabnet.grouping import Grouping, group_matrix
from fraudlab.models.tabnet.network import TabNetNetwork
from fraudlab.models.tabnet.pretraining import TabNetPretraining

Reference: TypeAlias = tab_network.TabNet | tab_network.TabNetPretraining
Ours: TypeAlias = TabNetNetwork | TabNetPretraining
# What shapes a network of either, by the name that both have for it.
SETTINGS = ("n_d", "n_a", "n_steps", "gamma", "n_independent", "n_shared", "epsilon", "momentum", "mask_type")


def from_reference(
    reference: tab_network.TabNet, sparsity: float = 1e-3, *, make: type[TabNetNetwork] = TabNetNetwork
) -> TabNetNetwork:
    """The same network as ``reference``, whose categorical columns may stand anywhere among its inputs.

    The new network takes them in order of their position, and the other columns as ``numeric`` in theirs. It has the
    reference's mode, dtype and device.

    Args:
        reference: a network of pytorch-tabnet 4.1.
        sparsity: weight of the mask-entropy penalty, which pytorch-tabnet's trainer has, not its network.
        make: class of the new network.

    Raises:
        ValueError: ``reference`` has several tasks, or groups that overlap or share out a mask's entry unevenly.
    """
    refuse_tasks(reference.tabnet.output_dim)
    layout = _Layout(reference)
    encoder = reference.tabnet.encoder
    network = make(
        [embedding.num_embeddings for embedding in layout.embeddings],
        reference.input_dim - len(layout.embeddings),
        reference.tabnet.output_dim,
        embedding_dim=[embedding.embedding_dim for embedding in layout.embeddings],
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
        feature_groups=[sorted(group) for group in layout.groups if len(group) > 1],
        sparsity=sparsity,
    )
    network.to(encoder.initial_bn.weight)
    copy_from_reference(network, reference)
    return network.train(reference.training)


def to_reference(network: Ours, positions: Sequence[int] | None = None) -> Reference:
    """The same network as pytorch-tabnet has it, in the mode, dtype and device of ours.

    Its trainer subtracts the weighted negative entropy; the weight, ``network.sparsity``, is no part of its network.

    Args:
        network: ours; of a pretraining the decoder comes too.
        positions: where the categorical columns stand among its inputs, ascending; None for the first ones.
    """
    with torch.random.fork_rng(devices=[]):  # to write a file while training does not change the training
        reference = drawn_reference(network, positions)
    weight = _tabnet(network).head.weight
    reference.to(weight)
    # The reference keeps its group matrix as a plain attribute, which `to` does not move.
    matrix = reference.embedder.embedding_group_matrix.to(weight)
    reference.embedder.embedding_group_matrix = _encoder(reference).group_attention_matrix = matrix
    with torch.no_grad():
        for ours, theirs, at in _pairs(network, reference):
            theirs[at] = ours
    return reference.train(network.training)


def drawn_reference(network: Ours, positions: Sequence[int] | None = None) -> Reference:
    """A network of pytorch-tabnet with the columns and settings of ours, whose weights it draws; float32, on the CPU.

    Arguments are those of :func:`to_reference`.
    """
    tabnet = _tabnet(network)
    positions = range(len(tabnet.cardinalities)) if positions is None else positions
    inputs = len(tabnet.cardinalities) + tabnet.num_numeric
    order = [*positions, *(column for column in range(inputs) if column not in set(positions))]
    settings = {name: getattr(tabnet.encoder, name) for name in SETTINGS} | {
        "virtual_batch_size": tabnet.encoder.virtual_batch_size,
        "cat_idxs": list(positions),
        "cat_dims": tabnet.cardinalities,
        "cat_emb_dim": tabnet.embedding_dims,
        "group_attention_matrix": group_matrix(inputs, [[order[c] for c in group] for group in tabnet.feature_groups]),
    }
    if not isinstance(network, TabNetPretraining):
        return tab_network.TabNet(inputs, len(tabnet.head.weight), **settings)
    return tab_network.TabNetPretraining(
        inputs,
        pretraining_ratio=network.pretraining_ratio,
        n_shared_decoder=len(network.decoder.shared),
        n_indep_decoder=network.decoder.n_independent,
        **settings,
    )


@torch.no_grad()
def copy_from_reference(network: Ours, reference: Reference) -> None:
    """Give ``network`` the weights and running statistics of ``reference``, which has the same columns and settings.

    Raises:
        ValueError: ``reference`` has groups that overlap or share out a mask's entry unevenly.
    """
    if (embedding := _tabnet(network).embedding) is not None:
        embedding.weight.zero_()  # what is never read is the same each time
    for ours, theirs, at in _pairs(network, reference):
        ours.copy_(theirs[at])


Index = list[int] | slice | tuple[list[int] | slice, ...]
Pair = tuple[Tensor, Tensor, Index]


def _tabnet(network: Ours) -> TabNetNetwork:
    return network.network if isinstance(network, TabNetPretraining) else network


def _encoder(reference: Reference) -> Any:
    return reference.tabnet.encoder if isinstance(reference, tab_network.TabNet) else reference.encoder


def _pairs(network: Ours, reference: Reference) -> Iterator[Pair]:
    """Each parameter and running statistic of ours, the reference's, and where in that ours stands.

    The reference shares one linear layer between its transformers, which comes once, as does ours. Of its two
    ``initial_bn`` only the encoder's is used and comes. Ours are views into ``network``, in our order of columns and
    groups; of a pretraining, the head is left out.
    """
    tabnet = _tabnet(network)
    layout, theirs = _Layout(reference), _encoder(reference)
    columns, groups = _index(layout.encoded_columns), _index(layout.group_order(tabnet.encoder.grouping))
    for column, embedding in enumerate(layout.embeddings):
        assert tabnet.embedding is not None
        start = int(tabnet.embedding.offset[column])
        rows = tabnet.embedding.weight[start : start + embedding.num_embeddings, : embedding.embedding_dim]
        yield rows, embedding.weight, slice(None)
    yield from _norms(tabnet.input_norm, theirs.initial_bn, columns)
    transformers = [theirs.initial_splitter, *theirs.feat_transformers]
    yield from _transformers(tabnet.encoder, transformers, columns)
    for attend, attention in zip(tabnet.encoder.attentive_transformers, theirs.att_transformers, strict=True):
        yield attend.linear.weight, attention.fc.weight, groups  # type: ignore[misc, union-attr]
        yield from _norms(attend.norm, attention.bn.bn, groups)  # type: ignore[arg-type]
    if isinstance(network, TabNetPretraining):
        decoder = reference.decoder
        yield from _transformers(network.decoder, decoder.feat_transformers)
        yield network.decoder.linear.weight, decoder.reconstruction_layer.weight, columns
    else:
        yield tabnet.head.weight, reference.tabnet.final_mapping.weight, slice(None)


def _transformers(ours: Any, theirs: Iterable[Any], columns: Index = slice(None)) -> Iterator[Pair]:
    """Those of an encoder or a decoder; ``columns`` are the inputs of their first linear layer."""
    for number, (transformer, block) in enumerate(zip(ours.feature_transformers, theirs, strict=True)):
        # Where there is no layer of a kind, the reference has an identity.
        shared, own = (list(getattr(part, "glu_layers", [])) for part in (block.shared, block.specifics))
        linears = [*ours.shared, *transformer.linears]
        for layer, (linear, gated) in enumerate(zip(linears, [*shared, *own], strict=True)):
            if number == 0 or layer >= len(shared):
                yield linear.weight, gated.fc.weight, (slice(None), columns) if layer == 0 else slice(None)  # type: ignore[misc]
        for norm, gated in zip(transformer.norms, [*shared, *own], strict=True):
            yield from _norms(norm, gated.bn.bn)


def _index(order: list[int]) -> Index:
    """``order`` to index with; a slice where it leaves all in place."""
    return slice(None) if order == list(range(len(order))) else order


def _norms(ours: nn.Module, theirs: nn.Module, order: Index = slice(None)) -> Iterator[Pair]:
    for name in ("weight", "bias", "running_mean", "running_var"):
        yield getattr(ours, name), getattr(theirs, name), order


class _Layout:
    """How the reference's inputs, embedded columns and groups stand to ours."""

    def __init__(self, reference: Reference) -> None:
        embedder = reference.embedder
        self.embeddings: list[nn.Embedding] = [] if embedder.skip_embedding else list(embedder.embeddings)
        # The embeddings follow the columns' positions, whatever the order of cat_idxs.
        numeric = [True] * reference.input_dim if embedder.skip_embedding else embedder.continuous_idx.tolist()
        inputs = sorted(range(reference.input_dim), key=numeric.__getitem__)
        widths = [1] * reference.input_dim
        for column, embedding in zip(inputs, self.embeddings, strict=False):
            widths[column] = embedding.embedding_dim
        starts = [sum(widths[:column]) for column in range(reference.input_dim)]
        self.encoded_columns = [starts[column] + k for column in inputs for k in range(widths[column])]
        self.matrix: Tensor = embedder.embedding_group_matrix
        self.groups = [
            frozenset(ours for ours, column in enumerate(inputs) if row[starts[column]] > 0)
            for row in self.matrix.tolist()
        ]

    def group_order(self, grouping: Grouping) -> list[int]:
        """The reference's number of each of our groups.

        Raises:
            ValueError: the reference has others, as a group matrix made by hand may.
        """
        ours: list[set[int]] = [set() for _ in range(grouping.num_groups)]
        for column, group in zip(grouping.column.tolist(), grouping.group.tolist(), strict=True):
            ours[group].add(column)
        order = [number for group in ours for number, theirs in enumerate(self.groups) if theirs == group]
        theirs = self.matrix[:, self.encoded_columns][order]
        if not len(order) == len(ours) == len(self.groups) or not torch.allclose(
            theirs[grouping.group, torch.arange(grouping.num_columns)], grouping.share.to(theirs)
        ):
            raise ValueError("the network's groups of columns overlap or share out a mask's entry unevenly")
        return order


def refuse_tasks(outputs: int | list[int]) -> None:
    """Refuse a network of several tasks.

    Raises:
        UserError: it has several.
    """
    if isinstance(outputs, list):
        raise UserError(f"a network of {len(outputs)} tasks cannot become a TabNet, which has one task")
