"""The perceptron keeps the contract."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from fraudlab.bundle.ort import onnxruntime
from fraudlab.exporter.onnx_model import write_onnx
from fraudlab.models.mlp.network import MLP as Network


def test_equals_a_product_by_hand() -> None:
    network = Network([3], 2, embedding_dim=4, hidden=[6], dropout=0.5).eval()
    categorical, numeric = torch.tensor([[0], [2]]), torch.tensor([[1.0, -2.0], [0.5, 3.0]])
    first, last = network.layers[0], network.layers[-1]
    joined = torch.cat([network.embeddings[0].weight[[0, 2]], numeric], dim=1)
    expected = torch.relu(joined @ first.weight.T + first.bias) @ last.weight.T + last.bias
    output = network(categorical, numeric)
    assert torch.allclose(output.logits, expected, atol=1e-6)
    assert output.penalty == 0


def test_batch_norm_is_that_of_the_batch_in_training() -> None:
    network = Network([], 2, hidden=[3], dropout=0.0, batch_norm=True)
    numeric = torch.randn(50, 2)
    hidden = network.layers[0](numeric)
    normal = (hidden - hidden.mean(0)) / torch.sqrt(hidden.var(0, unbiased=False) + 1e-5)
    expected = network.layers[-1](torch.relu(normal))
    assert torch.allclose(network(torch.zeros(50, 0).long(), numeric).logits, expected, atol=1e-5)


def test_any_batch_size_and_any_column_kinds() -> None:
    for cardinalities, numeric in (([], 3), ([5, 6], 0), ([2], 1)):
        network = Network(cardinalities, numeric)
        for rows in (0, 1, 7):
            given = torch.zeros(rows, len(cardinalities), dtype=torch.int64), torch.zeros(rows, numeric)
            assert network(*given).logits.shape == (rows, 2)


@pytest.mark.parametrize(("name", "activation"), [("selu", torch.selu), ("mish", torch.nn.functional.mish)])
def test_the_parts_of_realmlp_by_hand(name: str, activation: Callable[[Tensor], Tensor], tmp_path: Path) -> None:
    """Each with weights as if learnt, and the same function when exported."""
    settings = {"activation": name, "learnt_activation": True, "input_scale": True}
    network = Network([], 3, hidden=[4], dropout=0.0, **settings).eval().double()
    numeric = torch.randn(20, 3)
    none = torch.zeros(20, 0, dtype=torch.int64)
    scale, first, learnt, _, last = network.layers
    assert torch.allclose(scale(numeric.double()), numeric.double())
    assert torch.allclose(learnt(torch.ones(4).double()), activation(torch.ones(4).double()))
    with torch.no_grad():
        scale.scale.copy_(torch.tensor([0.5, -1.0, 2.0]) / 6)
        learnt.share.copy_(torch.tensor([0.0, 1.0, 0.5, 2.0]))
    hidden = first(numeric.double() * torch.tensor([0.5, -1.0, 2.0]).double())
    share = torch.tensor([0.0, 1.0, 0.5, 2.0]).double()
    expected = last((1 - share) * hidden + share * activation(hidden))
    assert torch.allclose(network(none, numeric.double()).logits, expected)
    write_onnx(network, 0, 3, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    score = session.run(["score"], {"numeric": numeric.numpy()})[0]
    assert score == pytest.approx(torch.softmax(expected, dim=1)[:, 1].detach().numpy(), abs=1e-6)
