"""The perceptron keeps the contract."""

import torch

from fraudlab.models.mlp import Network


def test_equals_a_product_by_hand() -> None:
    network = Network([3], 2, embedding_dim=4, hidden=[6], dropout=0.5).eval()
    categorical, numeric = torch.tensor([[0], [2]]), torch.tensor([[1.0, -2.0], [0.5, 3.0]])
    first, last = network.layers[0], network.layers[-1]
    joined = torch.cat([network.embeddings[0].weight[[0, 2]], numeric], dim=1)
    expected = torch.relu(joined @ first.weight.T + first.bias) @ last.weight.T + last.bias
    output = network(categorical, numeric)
    assert torch.allclose(output.logits, expected, atol=1e-6)
    assert output.penalty == 0


def test_any_batch_size_and_any_column_kinds() -> None:
    for cardinalities, numeric in (([], 3), ([5, 6], 0), ([2], 1)):
        network = Network(cardinalities, numeric)
        for rows in (0, 1, 7):
            given = torch.zeros(rows, len(cardinalities), dtype=torch.int64), torch.zeros(rows, numeric)
            assert network(*given).logits.shape == (rows, 2)
