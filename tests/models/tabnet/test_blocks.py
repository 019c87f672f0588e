"""The embedding equals a table a column, the grouping pytorch-tabnet's matrices."""

from typing import Any

import pytest
import torch
from pytorch_tabnet import tab_network
from torch import nn

from fraudlab.models.tabnet.blocks import Embedding
from fraudlab.models.tabnet.grouping import Grouping

CARDINALITIES = [4, 1, 7]


@pytest.mark.parametrize("dims", [[3, 3, 3], [2, 5, 1], [1, 1, 1], [1, 4, 4]])
def test_embedding_equals_one_table_a_column(dims: list[int]) -> None:
    ours = Embedding(CARDINALITIES, dims)
    theirs = [nn.Embedding(rows, dim) for rows, dim in zip(CARDINALITIES, dims, strict=True)]
    start = 0
    with torch.no_grad():
        for table in theirs:
            ours.weight[start : start + table.num_embeddings, : table.embedding_dim] = table.weight
            start += table.num_embeddings
    generator = torch.Generator().manual_seed(0)
    ids = torch.stack([torch.randint(0, rows, (50,), generator=generator) for rows in CARDINALITIES], dim=1)
    expected = torch.cat([table(ids[:, column]) for column, table in enumerate(theirs)], dim=1)
    output = ours(ids)
    assert output.shape == (50, sum(dims))
    assert torch.equal(output, expected)
    weights = torch.randn(output.shape, generator=generator)
    (output * weights).sum().backward()
    (expected * weights).sum().backward()
    assert ours.weight.grad is not None
    start = 0
    for table in theirs:
        rows = slice(start, start + table.num_embeddings)
        torch.testing.assert_close(ours.weight.grad[rows, : table.embedding_dim], table.weight.grad)
        assert not ours.weight.grad[rows, table.embedding_dim :].any()
        start = rows.stop


def test_embedding_of_no_rows() -> None:
    assert Embedding(CARDINALITIES, [2, 5, 1])(torch.zeros(0, 3, dtype=torch.int64)).shape == (0, 8)


# Widths of the leading categorical columns, of which there are 5 with the numeric ones, and groups.
GROUPINGS: list[tuple[list[int], list[list[int]] | None]] = [
    ([], None),
    ([4, 4], None),
    ([1, 1], None),
    ([4, 2], None),
    ([1, 3], None),
    ([3, 1], None),
    ([4, 4], [[3, 0]]),
    ([4, 1], [[1, 0], [4, 2]]),
    ([], [[0, 1, 2, 3, 4]]),
    ([], [[4], [2]]),
    ([2] * 5, [[0]]),
    ([2] * 5, None),
]


def network(dims: list[int], groups: list[list[int]] | None) -> tuple[Grouping, Any]:
    """Our grouping, and a network of pytorch-tabnet with the same columns and groups."""
    rest = [[column] for column in range(5) if not any(column in group for group in groups or ())]
    matrix = torch.zeros(len(groups or ()) + len(rest), 5)
    for number, group in enumerate([*(groups or ()), *rest]):
        matrix[number, group] = 1 / len(group)
    reference = tab_network.TabNet(
        5, 2, cat_idxs=list(range(len(dims))), cat_dims=[6] * len(dims), cat_emb_dim=dims, group_attention_matrix=matrix
    )
    return Grouping([*dims, *[1] * (5 - len(dims))], groups), reference


@pytest.mark.parametrize(("dims", "groups"), GROUPINGS)
def test_to_columns_equals_the_group_matrix(dims: list[int], groups: list[list[int]] | None) -> None:
    ours, theirs = network(dims, groups)
    matrix = theirs.embedder.embedding_group_matrix
    assert (ours.num_groups, ours.num_columns) == matrix.shape
    mask = torch.rand(20, len(matrix), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(ours.to_columns(mask), mask @ matrix, atol=1e-7, rtol=1e-6)
    assert torch.equal(ours.to_columns(torch.eye(len(matrix))), matrix)
    double = ours.double().to_columns(mask.double())
    torch.testing.assert_close(double, mask.double() @ matrix.double(), atol=1e-7, rtol=1e-6)


@pytest.mark.parametrize(("dims", "groups"), GROUPINGS)
def test_to_inputs_equals_the_explain_matrix(dims: list[int], groups: list[list[int]] | None) -> None:
    pytest.importorskip("pandas", reason="pytorch-tabnet's utils import pandas, which it does not require")
    from pytorch_tabnet.utils import create_explain_matrix

    ours, theirs = network(dims, groups)
    reducing = create_explain_matrix(5, dims, list(range(len(dims))), theirs.post_embed_dim)
    mask = torch.rand(3, 20, ours.num_groups, generator=torch.Generator().manual_seed(0))
    over_columns = mask @ theirs.embedder.embedding_group_matrix
    expected = over_columns @ torch.from_numpy(reducing.toarray()).float()
    torch.testing.assert_close(ours.to_inputs(mask), expected, atol=1e-6, rtol=0)
    # A mask's rows sum to 1 over the groups, and so they do over the inputs.
    torch.testing.assert_close(ours.to_inputs(mask).sum(dim=-1), mask.sum(dim=-1))


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ([[0], []], "empty"),
        ([[0, 1], [1, 2]], "twice"),
        ([[0, 0]], "twice"),
        ([[0, 3]], "outside 0 to 2"),
        ([[-1, 0]], "outside 0 to 2"),
    ],
)
def test_groups_that_cannot_be(groups: list[list[int]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Grouping([4, 1, 1], groups)
