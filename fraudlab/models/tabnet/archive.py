"""The files of pytorch-tabnet's ``save_model``: a zip with ``model_params.json`` and ``network.pt``."""

import io
import json
import pickle
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pytorch_tabnet import tab_network

from fraudlab.errors import UserError
from fraudlab.files import replacing
from fraudlab.models.tabnet.grouping import group_matrix
from fraudlab.models.tabnet.interop import SETTINGS, Reference, from_reference, refuse_tasks, to_reference
from fraudlab.models.tabnet.network import TabNetNetwork


class Archive(NamedTuple):
    """What a file holds: the estimator's parameters, what it knows of the labels, and its network, in evaluation."""

    init_params: dict[str, Any]
    class_attrs: dict[str, Any]
    reference: Reference


def load_pytorch_tabnet(path: str | Path, make: type[TabNetNetwork]) -> TabNetNetwork:
    """The network of a file that ``TabNetClassifier.save_model`` wrote, in evaluation mode, on the CPU.

    Its columns are those of :func:`fraudlab.models.tabnet.interop.from_reference`, its logits in the order of the
    classifier's classes. The file does not say the ``virtual_batch_size``; 128 is the one with which ``load_model``
    goes on. No code in the file is run.

    Args:
        path: with or without its ``.zip``.
        make: class of the network.

    Raises:
        UserError: there is no such file, it is damaged or holds something else, or its network has several tasks.
    """
    found = load(path)
    if not isinstance(found.reference, tab_network.TabNet):
        raise UserError(f"{path} holds a pretraining; load it with fraudlab.sklearn.TabNetPretrainer().load_model")
    try:
        return from_reference(found.reference, float(found.init_params.get("lambda_sparse", 1e-3)), make=make)
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
    categorical, classes = len(network.cardinalities), len(network.head.weight)
    parameters = {
        **{name: getattr(network.encoder, name) for name in SETTINGS},
        "input_dim": categorical + network.num_numeric,
        "output_dim": classes,
        "cat_idxs": list(range(categorical)),
        "cat_dims": network.cardinalities,
        "cat_emb_dim": network.embedding_dims,
        "grouped_features": network.feature_groups,
        "lambda_sparse": network.sparsity,
    }
    labels = {"preds_mapper": {str(label): label for label in range(classes)}}
    return save(_zip(path), parameters, labels, to_reference(network))


def save(path: Path, init_params: Mapping[str, Any], class_attrs: Mapping[str, Any], reference: Reference) -> Path:
    """Write a file in one step and return its path."""
    state = io.BytesIO()
    torch.save(reference.state_dict(), state)
    with replacing(path) as aside, zipfile.ZipFile(aside, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("model_params.json", json.dumps({"init_params": init_params, "class_attrs": class_attrs}))
        file.writestr("network.pt", state.getvalue())
    return path


def load(path: str | Path) -> Archive:
    """What a file holds; no code in it is run.

    Raises:
        UserError: there is no such file, it is damaged or holds something else, or its network has several tasks.
    """
    path = _zip(path, found=True)
    settings, state = _parts(path)
    try:
        init = settings["init_params"]
        reference = _network(init, isinstance(state, dict) and any(str(key).startswith("decoder.") for key in state))
        float(init.get("lambda_sparse", 1e-3))
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
    return Archive(init, settings.get("class_attrs") or {}, reference.eval())


def _network(init: Mapping[str, Any], pretraining: bool) -> Reference:
    inputs, cardinalities, dims = init["input_dim"], init.get("cat_dims", []), init.get("cat_emb_dim", 1)
    settings = {
        # Of categorical columns out of order the file has the columns' order, but cardinalities and widths sorted.
        "cat_idxs": sorted(init.get("cat_idxs", [])),
        "cat_dims": cardinalities,
        "cat_emb_dim": [dims] * len(cardinalities) if isinstance(dims, int) else dims,
        "group_attention_matrix": group_matrix(inputs, init.get("grouped_features", [])),
        **{name: init[name] for name in SETTINGS if name in init},
    }
    with torch.random.fork_rng(devices=[]):
        if pretraining:
            decoder = {name: init[name] for name in ("n_shared_decoder", "n_indep_decoder") if name in init}
            return tab_network.TabNetPretraining(inputs, **decoder, **settings)
        refuse_tasks(init["output_dim"])
        return tab_network.TabNet(inputs, init["output_dim"], **settings)


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
        raise UserError(f"{path} is not a model of pytorch-tabnet: {error.args[0]}") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise UserError(f"{path} is damaged or not a zip file ({error})") from error
    except ValueError as error:
        raise UserError(f"{path}: its model_params.json is not JSON ({error})") from error
    try:
        return settings, torch.load(io.BytesIO(state), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(f"{path}: its network.pt holds objects other than tensors, which are not loaded") from error
    # Damaged bytes make the unpickler raise nearly anything.
    except Exception as error:
        raise UserError(f"{path}: its network.pt is damaged ({error})") from error
