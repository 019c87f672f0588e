"""Embeddings of categories."""

import torch
from torch.nn import functional

from fraudlab.models.categories import CategoryEmbeddings


def test_one_look_up_in_training_is_that_of_each_column() -> None:
    categorical = torch.tensor([[0, 4, 1], [2, 0, 1], [2, 4, 0], [1, 4, 1]])
    embeddings, wanted = CategoryEmbeddings([3, 5, 2], 4).train(), torch.randn(4, 12)
    tables = [table.weight.detach().clone().requires_grad_() for table in embeddings]
    expected = torch.cat([functional.embedding(categorical[:, i], table) for i, table in enumerate(tables)], dim=1)
    made = embeddings(categorical)
    assert torch.equal(made, expected)
    assert torch.equal(embeddings.eval()(categorical), expected)
    (made * wanted).sum().backward()
    (expected * wanted).sum().backward()
    assert all(torch.equal(ours.weight.grad, table.grad) for ours, table in zip(embeddings, tables, strict=True))
    assert set(embeddings.state_dict()) == {"0.weight", "1.weight", "2.weight"}
