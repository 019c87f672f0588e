"""Weights from and to pytorch-tabnet: its networks, and the files of its ``TabNetClassifier``."""

import io
import json
import pickle
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from pytorch_tabnet import tab_network  # not tab_model, nor utils: both import pandas
from torch import Tensor, nn

from fraudlab.errors import UserError
from fraudlab.files import replacing
from fraudlab.models.tabnet.grouping import Grouping, group_matrix
from fraudlab.models.tabnet.network import TabNetNetwork

# The init_params of a file that shape its network, by the name that tab_network.TabNet has for them too.
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
    _refuse_tasks(reference.tabnet.output_dim)
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
    with torch.no_grad():
        if network.embedding is not None:
            network.embedding.weight.zero_()  # what is never read is the same each time
        for ours, theirs in pairs(network, reference):
            ours.copy_(theirs)
    return network.train(reference.training)


def to_reference(network: TabNetNetwork) -> tab_network.TabNet:
    """The same network as pytorch-tabnet has it: categorical columns first, in the mode, dtype and device of ours.

    Its trainer subtracts the weighted negative entropy; the weight, ``network.sparsity``, is no part of its network.
    """
    encoder = network.encoder
    categorical = len(network.cardinalities)
    weight = network.head.weight
    with torch.random.fork_rng(devices=[]):  # to write a file while training does not change the training
        reference = tab_network.TabNet(
            categorical + network.num_numeric,
            len(weight),
            virtual_batch_size=encoder.virtual_batch_size,
            cat_idxs=list(range(categorical)),
            cat_dims=network.cardinalities,
            cat_emb_dim=network.embedding_dims,
            group_attention_matrix=group_matrix(categorical + network.num_numeric, network.feature_groups),
            **{name: getattr(encoder, name) for name in SETTINGS},
        ).to(weight)
    # The reference keeps its group matrix as a plain attribute, which `to` does not move.
    matrix = reference.embedder.embedding_group_matrix.to(weight)
    reference.embedder.embedding_group_matrix = reference.tabnet.encoder.group_attention_matrix = matrix
    with torch.no_grad():
        # With columns and groups in our order already, `theirs` are views into the reference.
        for ours, theirs in pairs(network, reference):
            theirs.copy_(ours)
    return reference.train(network.training)


def load_pytorch_tabnet(path: str | Path, make: type[TabNetNetwork]) -> TabNetNetwork:
    """The network of a file that ``TabNetClassifier.save_model`` wrote, in evaluation mode, on the CPU.

    Its columns are those of :func:`from_reference`, its logits in the order of the classifier's classes. The file does
    not say the ``virtual_batch_size``; 128 is the one with which ``load_model`` goes on. No code in the file is run.

    Args:
        path: with or without its ``.zip``.

    Args:
        path: of the file.
        make: class of the network.

    Raises:
        UserError: there is no such file, it is damaged or holds something else, or its network has several tasks.
    """
    path = _zip(path, found=True)
    settings, state = _parts(path)
    try:
        init = settings["init_params"]
        inputs, outputs, cardinalities = init["input_dim"], init["output_dim"], init.get("cat_dims", [])
        _refuse_tasks(outputs)
        dims = init.get("cat_emb_dim", 1)
        reference = tab_network.TabNet(
            inputs,
            outputs,
            # Of categorical columns out of order the file has the columns' order, but cardinalities and widths sorted.
            cat_idxs=sorted(init.get("cat_idxs", [])),
            cat_dims=cardinalities,
            cat_emb_dim=[dims] * len(cardinalities) if isinstance(dims, int) else dims,
            group_attention_matrix=group_matrix(inputs, init.get("grouped_features", [])),
            **{name: init[name] for name in SETTINGS if name in init},
        )
        sparsity = float(init.get("lambda_sparse", 1e-3))
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    # What a parameter of a wrong type or size does in the reference is its own affair.
    except Exception as error:
        raise UserError(
            f"{path}: its model_params.json does not describe a TabNet of pytorch-tabnet 4.1 "
            f"({type(error).__name__}: {error})"
        ) from error
    try:
        reference.load_state_dict(state)
    except (RuntimeError, TypeError) as error:
        raise UserError(
            f"{path}: its network.pt does not fit its model_params.json; it may be of another version of "
            f"pytorch-tabnet than 4.1 ({error})"
        ) from error
    try:
        return from_reference(reference.eval(), sparsity, make=make)
    except ValueError as error:
        raise UserError(f"{path}: {error}") from error


def save_pytorch_tabnet(network: TabNetNetwork, path: str | Path) -> Path:
    """Write ``network`` in one step to a file that ``TabNetClassifier().load_model`` reads, and return its path.

    Its columns are the categorical ones, then the numeric; its classes 0, 1, ... The ``virtual_batch_size`` is not in
    the file, and pytorch-tabnet reads its weights as float32.

    Args:
        network: its mode does not matter.
        path: ``.zip`` is appended where it is lacking, as ``save_model`` does.
    """
    path = _zip(path)
    categorical = len(network.cardinalities)
    encoder, classes = network.encoder, len(network.head.weight)
    parameters = {
        "init_params": {
            **{name: getattr(encoder, name) for name in SETTINGS},
            "input_dim": categorical + network.num_numeric,
            "output_dim": classes,
            "cat_idxs": list(range(categorical)),
            "cat_dims": network.cardinalities,
            "cat_emb_dim": network.embedding_dims,
            "grouped_features": network.feature_groups,
            "lambda_sparse": network.sparsity,
        },
        "class_attrs": {"preds_mapper": {str(label): label for label in range(classes)}},
    }
    state = io.BytesIO()
    torch.save(to_reference(network).state_dict(), state)
    with replacing(path) as aside, zipfile.ZipFile(aside, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("model_params.json", json.dumps(parameters))
        file.writestr("network.pt", state.getvalue())
    return path


def pairs(network: TabNetNetwork, reference: tab_network.TabNet) -> Iterator[tuple[Tensor, Tensor]]:
    """Each parameter and running statistic of ours beside the reference's, in our order of columns and groups.

    The reference shares one linear layer between its transformers, which comes once, as does ours. Of its two
    ``initial_bn`` only the encoder's is used and comes. Ours are views into ``network``; the reference's are views
    where its order is ours, else copies.
    """
    layout = _Layout(reference)
    columns, groups = _index(layout.encoded_columns), _index(layout.group_order(network.encoder.grouping))
    encoder: Any = network.encoder  # mypy does not know what its lists of modules hold
    theirs = reference.tabnet.encoder
    for column, embedding in enumerate(layout.embeddings):
        assert network.embedding is not None
        start = int(network.embedding.offset[column])
        rows = network.embedding.weight[start : start + embedding.num_embeddings, : embedding.embedding_dim]
        yield rows, embedding.weight
    yield from _norms(network.input_norm, theirs.initial_bn, columns)
    transformers = [theirs.initial_splitter, *theirs.feat_transformers]
    for number, (ours, block) in enumerate(zip(encoder.feature_transformers, transformers, strict=True)):
        shared = list(block.shared.glu_layers) if encoder.n_shared else []
        own = list(block.specifics.glu_layers) if encoder.n_independent else []
        for layer, (linear, gated) in enumerate(zip([*encoder.shared, *ours.linears], [*shared, *own], strict=True)):
            if number == 0 or layer >= len(shared):
                yield linear.weight, gated.fc.weight[:, columns if layer == 0 else slice(None)]
        for norm, gated in zip(ours.norms, [*shared, *own], strict=True):
            yield from _norms(norm, gated.bn.bn)
    for attend, attention in zip(encoder.attentive_transformers, theirs.att_transformers, strict=True):
        yield attend.linear.weight, attention.fc.weight[groups]
        yield from _norms(attend.norm, attention.bn.bn, groups)
    yield network.head.weight, reference.tabnet.final_mapping.weight


Index = list[int] | slice


def _index(order: list[int]) -> Index:
    """``order`` to index with; a slice, which gives views, where it leaves all in place."""
    return slice(None) if order == list(range(len(order))) else order


def _norms(ours: nn.Module, theirs: nn.Module, order: Index = slice(None)) -> Iterator[tuple[Tensor, Tensor]]:
    for name in ("weight", "bias", "running_mean", "running_var"):
        yield getattr(ours, name), getattr(theirs, name)[order]


class _Layout:
    """How the reference's inputs, embedded columns and groups stand to ours."""

    def __init__(self, reference: tab_network.TabNet) -> None:
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


def _refuse_tasks(outputs: int | list[int]) -> None:
    if isinstance(outputs, list):
        raise UserError(f"a network of {len(outputs)} tasks cannot become a TabNet, which has one")


def _zip(path: str | Path, found: bool = False) -> Path:
    """``path`` with ``.zip``; where it is to be ``found``, as it stands if it is there."""
    path = Path(path)
    if path.suffix == ".zip" or (found and path.is_file()):
        return path
    return path.with_name(f"{path.name}.zip")


def _parts(path: Path) -> tuple[Any, Any]:
    """A file's model_params.json and network.pt."""
    try:
        with zipfile.ZipFile(path) as file:
            settings = json.loads(file.read("model_params.json"))
            state = file.read("network.pt")
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    except KeyError as error:
        raise UserError(f"{path} is no model of pytorch-tabnet: {error.args[0]}") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise UserError(f"{path} is damaged, or no zip file ({error})") from error
    except ValueError as error:
        raise UserError(f"{path}: its model_params.json is not JSON ({error})") from error
    try:
        return settings, torch.load(io.BytesIO(state), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(f"{path}: its network.pt holds other things than tensors, which are not loaded") from error
    # Damaged bytes make the unpickler raise nearly anything.
    except Exception as error:
        raise UserError(f"{path}: its network.pt is damaged ({error})") from error
