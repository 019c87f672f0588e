"""Embeddings of numeric columns are those of their authors' package; their pieces come from training rows."""

import numpy as np
import pytest
import torch
from rtdl_num_embeddings import PeriodicEmbeddings, PiecewiseLinearEmbeddings, compute_bins

from fraudlab.models.numbers import PiecewiseLinear, numeric_embedding
from fraudlab.models.registry import make_network


def table(rows: int) -> torch.Tensor:
    """Columns of many values, of a few, of two, and one with a mass at zero, in double precision."""
    draw = np.random.default_rng(0)
    columns = [draw.normal(size=rows), draw.integers(0, 3, rows), draw.integers(0, 2, rows)]
    return torch.tensor(np.stack([*columns, np.maximum(draw.normal(size=rows), 0)], axis=1))


def test_pieces_and_vectors_equal_the_package() -> None:
    train, rows = table(500), table(40) * 1.7  # some beyond what training has seen
    ours = PiecewiseLinear(4, 3, bins=6).double()
    ours.prepare(train)
    bins = compute_bins(train, 6)
    theirs = PiecewiseLinearEmbeddings(bins, 3, activation=False, version="B").double()
    with torch.no_grad():
        theirs.linear.weight.normal_()
        ours.linear.copy_(theirs.linear0.weight)
        ours.bias.copy_(theirs.linear0.bias)
        for column, edges in enumerate(bins):
            pieces = len(edges) - 1  # the package puts a column's last piece last of all
            places = [*range(pieces - 1), -1]
            ours.weight[column, :pieces] = theirs.linear.weight[column, places]
            # Its edges are rounded to single precision before .double().
            width = edges.diff()
            theirs.impl.weight[column, places] = 1 / width
            theirs.impl.bias[column, places] = -edges[:-1] / width
    assert sorted({len(edges) - 1 for edges in bins})[0] == 1  # the column of two values
    assert torch.allclose(ours(rows), theirs(rows).flatten(1), rtol=0, atol=1e-10)


def test_waves_equal_the_package() -> None:
    ours = numeric_embedding("periodic", 4, numeric_dim=5, frequencies=6, frequency_scale=0.3).double()
    theirs = PeriodicEmbeddings(4, 5, n_frequencies=6, lite=False).double()
    with torch.no_grad():
        theirs.periodic.weight.copy_(ours.frequencies)
        theirs.linear.weight.copy_(ours.weight)
        theirs.linear.bias.copy_(ours.bias)
    assert torch.allclose(ours(table(30)), theirs(table(30)).flatten(1), rtol=0, atol=1e-10)
    assert ours.frequencies.abs().max() <= 0.9


def test_a_column_of_one_value_has_no_piece() -> None:
    rows = torch.stack([torch.ones(20), torch.arange(20.0)], dim=1)
    embedding = PiecewiseLinear(2, 3, bins=4)
    embedding.prepare(rows)
    torch.nn.init.normal_(embedding.weight)
    assert embedding(rows).isfinite().all()
    piecewise = embedding(rows) - (rows[:, :, None] * embedding.linear + embedding.bias).flatten(1)
    assert piecewise[:, :3].abs().max() <= 1e-6
    assert piecewise[:, 3:].std(dim=0).min() > 0.1


@pytest.mark.parametrize("members", [1, 2])
def test_a_network_takes_its_pieces_from_training_rows_and_keeps_them(members: int) -> None:
    settings = {"name": "mlp", "hidden": [4], "embedding": "piecewise_linear", "bins": 3, "members": members}
    rebuild = {"model": settings, "cardinalities": [3], "num_numeric": 4}
    network, train = make_network(rebuild), table(200).float()
    given = torch.zeros(200, 1, dtype=torch.int64), train
    assert not network.eval()(*given).logits.isfinite().any()  # a missing prepare shows
    network.prepare(*given)
    before = network(*given).logits
    assert before.isfinite().all()
    again = make_network(rebuild).eval()
    again.load_state_dict(network.state_dict())
    assert again(*given).logits.equal(before)
