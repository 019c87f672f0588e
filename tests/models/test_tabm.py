"""TabM is the function of its authors' package, keeps the contract and can lose members."""

import numpy as np
import pytest
import rtdl_num_embeddings
import tabm
import torch
from torch import nn

from fraudlab.models.registry import make_network
from fraudlab.models.tabm.layers import Dropout
from fraudlab.models.tabm.network import TabM
from fraudlab.training.losses.weighted import CrossEntropy
from fraudlab.training.scoring import fraud_probability

ARCHITECTURES = {"mini": "tabm-mini", "full": "tabm"}
K, HIDDEN = 5, 12


def reference(variant: str, columns: int, embedding: nn.Module | None = None) -> nn.Module:
    made = tabm.TabM(
        n_num_features=columns,
        d_out=2,
        num_embeddings=embedding,
        n_blocks=3,
        d_block=HIDDEN,
        dropout=0.0,
        k=K,
        arch_type=ARCHITECTURES[variant],
        start_scaling_init="normal",
    )
    return made.double()


def pairs(ours: TabM, theirs: nn.Module) -> list[tuple[nn.Parameter, nn.Parameter, bool]]:
    """Parameters of ours and of the package's that are one, and whether the package's is the other way round."""
    found = [(ours.head.weight, theirs.output.weight, True), (ours.head.bias, theirs.output.bias, False)]
    for number, block in enumerate(theirs.backbone.blocks):
        layer, linear = ours.layers[number], block[0]
        found += [(layer.weight, linear.weight, False), (layer.bias, linear.bias, False)]
        if hasattr(linear, "r"):
            found += [(layer.scale_in, linear.r, False), (layer.scale_out, linear.s, False)]
    if hasattr(theirs.backbone, "affine"):
        found.append((ours.layers[0].scale_in, theirs.backbone.affine.weight, False))
    return found


def of_embeddings(ours: nn.Module, theirs: nn.Module) -> list[tuple[nn.Parameter, nn.Parameter, bool]]:
    if isinstance(theirs, rtdl_num_embeddings.PeriodicEmbeddings):
        own = (theirs.periodic.weight, theirs.linear.weight, theirs.linear.bias)
        return list(zip((ours.frequencies, ours.weight, ours.bias), own, (False,) * 3, strict=True))
    own = (theirs.linear0.weight, theirs.linear0.bias, theirs.linear.weight)
    return list(zip((ours.linear, ours.bias, ours.weight), own, (False,) * 3, strict=True))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("variant", ["mini", "full"])
@pytest.mark.parametrize("embedding", ["none", "piecewise_linear", "periodic"])
def test_logits_and_gradients_equal_the_package(variant: str, embedding: str, seed: int) -> None:
    torch.manual_seed(seed)
    columns, numeric, label = 6, torch.randn(40, 6).double(), torch.randint(0, 2, (40,))
    categorical = torch.zeros(40, 0, dtype=torch.int64)
    settings = {"embedding": embedding, "numeric_dim": 3, "bins": 7, "frequencies": 4}
    ours = TabM([], columns, variant=variant, k=K, hidden=[HIDDEN] * 3, dropout=0.0, **settings).double()
    ours.prepare(categorical, numeric)
    embedded = {
        "none": lambda: None,
        "periodic": lambda: rtdl_num_embeddings.PeriodicEmbeddings(6, 3, n_frequencies=4, lite=False),
        "piecewise_linear": lambda: rtdl_num_embeddings.PiecewiseLinearEmbeddings(
            rtdl_num_embeddings.compute_bins(numeric, 7), 3, activation=False, version="B"
        ),
    }[embedding]()
    theirs = reference(variant, columns, embedded)
    if embedding == "piecewise_linear":  # built in single precision; its edges shall have the digits of ours
        theirs.num_module.impl.weight.copy_(ours.numeric_embedding.slope)
        theirs.num_module.impl.bias.copy_(ours.numeric_embedding.offset)
    same = pairs(ours, theirs)
    if embedded is not None:
        same += of_embeddings(ours.numeric_embedding, theirs.num_module)
    assert len({id(own) for own, _, _ in same}) == len(list(ours.parameters())) == len(list(theirs.parameters()))
    with torch.no_grad():
        for own, other, turned in same:
            other.normal_(0, 0.5)
            own.copy_(other.transpose(1, 2) if turned else other)
    logits, expected = ours(categorical, numeric).logits, theirs(numeric)
    assert logits.shape == (40, K, 2)
    assert (logits - expected).abs().max() <= 1e-10
    CrossEntropy(3.0)(logits, label, torch.ones(40)).backward()
    flat = nn.functional.cross_entropy(expected.flatten(0, 1), label.repeat_interleave(K), reduction="none")
    (flat * torch.where(label > 0, 3.0, 1.0).repeat_interleave(K)).mean().backward()
    for own, other, turned in same:
        assert (own.grad - (other.grad.transpose(1, 2) if turned else other.grad)).abs().max() <= 1e-10


def test_categories_come_first_and_members_begin_apart_by_columns() -> None:
    torch.manual_seed(0)
    network = TabM([4, 9], 2, variant="full", k=6, hidden=[8, 8], embedding_dim=3)
    scale = network.layers[0].scale_in
    assert scale.shape == (6, 3 + 3 + 2)
    assert set(scale.unique().tolist()) == {-1.0, 1.0}
    assert (scale[:, 0:3] == scale[:, :1]).all()
    assert (scale[:, 3:6] == scale[:, 3:4]).all()
    assert len(scale[:, [0, 3, 6, 7]].unique(dim=0)) > 1
    row = network.row(torch.tensor([[3, 8]]), torch.tensor([[0.5, -2.0]]))[0]
    assert row[:3].equal(network.embeddings[0].weight[3])
    assert row[6:].tolist() == [0.5, -2.0]


@pytest.mark.parametrize("variant", ["mini", "full"])
def test_members_that_are_kept_say_what_they_said(variant: str) -> None:
    torch.manual_seed(0)
    network = TabM([5], 3, variant=variant, k=7, hidden=[8, 6]).eval()
    for parameter in network.parameters():
        nn.init.normal_(parameter)
    categorical, numeric = torch.randint(0, 5, (9, 1)), torch.randn(9, 3)
    whole = network(categorical, numeric).logits
    kept = network.kept([1, 4, 6])
    assert torch.allclose(kept(categorical, numeric).logits, whole[:, [1, 4, 6]], atol=1e-5)
    assert network(categorical, numeric).logits.equal(whole)  # itself it is left as it was
    assert kept.kept([2]).exported()(categorical, numeric).logits.shape == (9, 1, 2)
    probability = np.mean([torch.softmax(whole[:, m], -1)[:, 1].detach().numpy() for m in range(7)], axis=0)
    assert np.allclose(fraud_probability(whole).detach(), probability, atol=1e-6)


def test_dropout_leaves_out_its_share_and_keeps_the_expectation() -> None:
    torch.manual_seed(0)
    dropout = Dropout(0.25).train()
    x = torch.rand(1000, 999) + 0.1
    made = dropout(x.clone().requires_grad_() * 1.0)
    assert abs((made == 0).double().mean() - 0.25) < 0.002
    assert (made == 0).double().mean(0).std() < 0.03  # no column is left out more often than others
    assert dropout.factor == pytest.approx(1 / 0.75)
    assert made[made > 0].equal(x[made > 0])
    assert not dropout(x.clone()).equal(made)
    dropout.eval()
    assert dropout(x.clone()).equal(x)
    assert dropout.factor == 1.0


def test_a_gradient_passes_where_a_unit_was_above_zero_and_stayed() -> None:
    torch.manual_seed(0)
    given = torch.randn(50, 40, requires_grad=True)
    made = Dropout(0.5).train()(given * 1.0)
    weight = torch.randn(50, 40)
    (made * weight).sum().backward()
    assert given.grad.equal(torch.where(made > 0, weight, 0.0))
    assert 0.15 < (made > 0).double().mean() < 0.35


def test_any_batch_size_and_any_column_kinds() -> None:
    for cardinalities, numeric in (([], 3), ([5, 6], 0), ([2], 1)):
        for embedding in ("none", "piecewise_linear", "periodic"):
            settings = {"name": "tabm", "k": 3, "hidden": [4], "embedding": embedding, "bins": 2}
            network = make_network({"model": settings, "cardinalities": cardinalities, "num_numeric": numeric})
            network.prepare(torch.zeros(9, len(cardinalities), dtype=torch.int64), torch.rand(9, numeric))
            for rows in (0, 1, 7):
                given = torch.zeros(rows, len(cardinalities), dtype=torch.int64), torch.zeros(rows, numeric)
                logits = network(*given).logits
                assert logits.shape == (rows, 3, 2)
                assert logits.isfinite().all()
