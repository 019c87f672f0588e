"""The exported model is the network: scores, and what they rest on, whatever the network and however far out a row."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pytorch_tabnet.utils import create_explain_matrix
from torch import nn

from fraudlab.bundle.ort import onnxruntime
from fraudlab.data.batches import Batch
from fraudlab.exporter.onnx_model import store_fp16, write_onnx
from fraudlab.models.ensemble import Ensemble
from fraudlab.models.mlp.network import MLP
from fraudlab.models.tabm.network import TabM
from fraudlab.models.tabnet import TabNet
from fraudlab.models.tabnet.export_masks import MASKS
from fraudlab.models.tabnet.interop import to_reference
from fraudlab.models.tabnet.masks import entmax15_by_sort, sparsemax_by_sort
from fraudlab.training.scoring import score

CARDINALITIES = [3, 40, 7]
WIDE, NARROW = 150, 6  # more groups than are sorted at once, and fewer

SMALL: dict[str, Any] = {"n_steps": 2, "n_shared": 1, "n_independent": 1}  # an export takes seconds a step and layer

NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "sparsemax": lambda: TabNet(CARDINALITIES, WIDE),
    "entmax": lambda: TabNet(CARDINALITIES, WIDE, mask_type="entmax", **SMALL),
    "numeric only": lambda: TabNet([], WIDE, **SMALL),
    "categorical only": lambda: TabNet(CARDINALITIES, 0, **SMALL),
    "groups": lambda: TabNet(CARDINALITIES, NARROW, feature_groups=[[0, 4], [1, 2]], **SMALL),
    "uneven embeddings": lambda: TabNet(CARDINALITIES, NARROW, embedding_dim=[1, 5, 3], **SMALL),
    "ensemble": lambda: Ensemble(lambda: TabNet(CARDINALITIES, NARROW, **SMALL), 2),
    "mlp": lambda: MLP(CARDINALITIES, WIDE, hidden=(32, 16), batch_norm=True),
    "tabm": lambda: TabM(CARDINALITIES, WIDE, k=4, hidden=(16, 8)),
    "full tabm, periodic": lambda: TabM(CARDINALITIES, NARROW, variant="full", k=2, hidden=(64,), embedding="periodic"),
    "mlp, piecewise linear": lambda: MLP(CARDINALITIES, NARROW, hidden=(16,), embedding="piecewise_linear"),
    "ensemble of mlp": lambda: Ensemble(lambda: MLP(CARDINALITIES, NARROW, hidden=(16,)), 3),
}


def rows(network: nn.Module, number: int, seed: int) -> Batch:
    """Rows that a network takes, some of their numbers thousands of deviations out."""
    draw = np.random.default_rng(seed)
    first = network.members[0] if isinstance(network, Ensemble) else network
    ids, width = _widths(first)
    numeric = draw.standard_normal((number, width)).astype(np.float32)
    numeric[draw.random(numeric.shape) < 0.01] *= 3000
    categorical = np.stack([draw.integers(0, n, number) for n in ids], axis=1) if ids else np.empty((number, 0), int)
    return Batch.of(categorical.astype(np.int64), numeric, draw.integers(0, 2, number))


def _widths(network: nn.Module) -> tuple[list[int], int]:
    if isinstance(network, TabNet):
        return network.cardinalities, network.num_numeric
    ids = [each.num_embeddings for each in network.embeddings]
    width = network.layers[0].weight.shape[1] - sum(each.embedding_dim for each in network.embeddings)
    return ids, width // network.numeric_embedding.width


def trained(make: Callable[[], nn.Module]) -> nn.Module:
    """A network whose batch norms have seen rows, its weights moved a few steps."""
    torch.manual_seed(0)
    network = make().train()
    if hasattr(network, "prepare"):
        first = rows(network, 500, 7)
        network.prepare(first.categorical, first.numeric)
    optimizer = torch.optim.Adam(network.parameters(), 0.02)
    for step in range(6):
        batch = rows(network, 256, step)
        logits = network(batch.categorical, batch.numeric).logits
        label = batch.label if logits.ndim == 2 else batch.label[:, None].expand(-1, logits.shape[1])
        loss = nn.functional.cross_entropy(logits.reshape(-1, 2), label.reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network.eval()


Run = Callable[[str, Batch], np.ndarray]


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[nn.Module, Run]]:
    """A network by name, in double precision, and its exported model; each made once."""

    @cache
    def made(name: str) -> tuple[nn.Module, Run]:
        network = trained(NETWORKS[name])
        weights = {key: value.clone() for key, value in network.state_dict().items()}
        run = exported(network, tmp_path_factory.mktemp("model"))
        assert all(torch.equal(value, weights[key]) for key, value in network.state_dict().items())  # left as it was
        return network.double(), run

    return made


def exported(network: nn.Module, folder: Path) -> Run:
    ids, width = _widths(network.members[0] if isinstance(network, Ensemble) else network)
    write_onnx(network, len(ids), width, folder / "model.onnx")
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    names = [given.name for given in session.get_inputs()]
    return lambda output, batch: session.run([output], {name: getattr(batch, name).numpy() for name in names})[0]


@pytest.mark.parametrize("name", NETWORKS)
def test_scores_are_the_networks(name: str, export: Callable[[str], tuple[nn.Module, Run]]) -> None:
    network, run = export(name)
    batch = rows(network, 300, 100)
    expected = score(network, batch, 128)
    assert expected.std() > 0.01
    assert np.abs(run("score", batch) - expected).max() < 1e-6
    members = network.members if isinstance(network, Ensemble) else [network]
    each = [torch.softmax(m(batch.categorical, batch.numeric.double()).logits, -1)[..., 1].detach() for m in members]
    several = torch.stack(each, dim=1).flatten(1).numpy()  # of an ensemble, or of one network's own members
    if several.shape[1] > 1:
        assert np.abs(run("members", batch) - several).max() < 1e-6
    alone = [run("score", Batch(*(part[i : i + 1] for part in batch))) for i in range(20)]
    assert np.abs(np.concatenate(alone) - expected[:20]).max() < 1e-6


@pytest.mark.parametrize("name", ["sparsemax", "entmax", "numeric only"])
def test_importance_is_that_of_pytorch_tabnet(name: str, export: Callable[[str], tuple[nn.Module, Run]]) -> None:
    network, run = export(name)
    batch = rows(network, 100, 100)
    reference = to_reference(network)
    table = torch.cat([batch.categorical.double(), batch.numeric.double()], dim=1)
    embedded, _ = reference.forward_masks(table)
    dims, categorical = network.embedding_dims, len(network.cardinalities)
    reducing = create_explain_matrix(table.shape[1], dims or 0, list(range(categorical)), reference.post_embed_dim)
    expected = embedded.detach().numpy() @ reducing.toarray()
    found = run("importance", batch)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < 1e-5 * expected.max()


def test_importance_of_an_ensemble_is_its_members_mean(export: Callable[[str], tuple[nn.Module, Run]]) -> None:
    network, run = export("ensemble")
    batch = rows(network, 50, 100)
    members = [member.explain(batch.categorical, batch.numeric.double())[0] for member in network.members]
    expected = torch.stack(members).mean(dim=0).numpy()
    assert np.abs(run("importance", batch) - expected).max() < 1e-5 * expected.max()


@pytest.mark.parametrize("groups", [1, 2, 63, 64, 65, 200])
@pytest.mark.parametrize("spread", [0.0, 0.01, 1.0, 100.0])
def test_masks_are_those_of_a_sort(groups: int, spread: float) -> None:
    draw = np.random.default_rng(groups)
    # From masks of one entry to masks of all, and rows of equal entries.
    z = torch.from_numpy(draw.standard_normal((50, groups)) * spread + draw.standard_normal((50, 1)) * 100)
    for name, reference in (("sparsemax", sparsemax_by_sort), ("entmax", entmax15_by_sort)):
        assert torch.allclose(MASKS[name](z), reference(z), rtol=0, atol=1e-12), name


def test_half_precision_is_for_weights_alone(tmp_path: Path) -> None:
    """Quantiles of a heavy tail are beyond what half precision holds."""
    torch.manual_seed(0)
    draw = np.random.default_rng(0)
    numeric = (draw.standard_normal((500, 2)) * [1, 1e5]).astype(np.float32)
    numeric[:, 1] **= 3
    network = MLP([40], 2, hidden=(16,), embedding="piecewise_linear").eval()
    batch = Batch.of(draw.integers(0, 40, (500, 1)), numeric, np.zeros(500, np.int64))
    network.prepare(batch.categorical, batch.numeric)
    with torch.no_grad():
        network.numeric_embedding.linear.zero_()
        network.numeric_embedding.weight.normal_()
    inside = Batch(*(part[np.abs(numeric[:, 1]) < np.quantile(np.abs(numeric[:, 1]), 0.8)] for part in batch))
    write_onnx(network, 1, 2, tmp_path / "model.onnx", dtype=torch.float32)
    size = (tmp_path / "model.onnx").stat().st_size
    store_fp16(tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    found = session.run(["score"], {name: getattr(inside, name).numpy() for name in ("categorical", "numeric")})[0]
    assert np.abs(found - score(network.double(), inside, 128)).max() < 5e-3
    assert (tmp_path / "model.onnx").stat().st_size < size  # embeddings, pieces' weights and layers are halved


@pytest.mark.parametrize("name", ["mlp", "tabnet"])
def test_a_model_tells_no_paths_of_the_code(name: str, tmp_path: Path) -> None:
    network = MLP([4], 3, hidden=[8]) if name == "mlp" else TabNet([4], 3)
    write_onnx(network.eval(), 1, 3, tmp_path / "model.onnx")
    assert b".py" not in (tmp_path / "model.onnx").read_bytes()
