"""The perceptron keeps the contract."""

import torch

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
