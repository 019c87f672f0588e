"""Pretraining computes what pytorch-tabnet's does, and only the encoder and what feeds it learns."""

from collections.abc import Iterable, Iterator

import pytest
import torch
from pytorch_tabnet import tab_network
from pytorch_tabnet.metrics import UnsupervisedLoss
from torch import Tensor, nn

from fraudlab.models.reconstruction import Reconstruction, reconstruction_loss
from fraudlab.models.tabnet import TabNet
from fraudlab.models.tabnet.pretraining import TabNetPretraining
from fraudlab.training.pretraining import SplitLoss

NUMERIC, ROWS = 5, 50
SHAPES = {
    "plain": {},
    "no columns of ids": {"cardinalities": []},
    "groups": {"feature_groups": [[1, 3, 4, 6], [0, 2]]},
    "entmax, deeper decoder": {"mask_type": "entmax", "decoder": (2, 3)},
    "nothing shared": {"n_shared": 0, "n_independent": 1, "decoder": (0, 2)},
    "no gated layer in the decoder": {"n_steps": 1, "decoder": (0, 0)},
}


def pair(
    dtype: torch.dtype,
    *,
    cardinalities: tuple[int, ...] = (4, 7),
    feature_groups: list[list[int]] | None = None,
    decoder: tuple[int, int] = (1, 1),
    **settings: object,
) -> tuple[TabNetPretraining, tab_network.TabNetPretraining, int]:
    """Ours and the reference with the same weights, whose columns and groups stand in the same order."""
    torch.manual_seed(0)
    settings = {"n_d": 6, "n_a": 4, "virtual_batch_size": 32, **settings}
    network = TabNet(cardinalities, NUMERIC, embedding_dim=2, feature_groups=feature_groups, **settings)
    ours = TabNetPretraining(network, n_shared_decoder=decoder[0], n_independent_decoder=decoder[1]).to(dtype)
    inputs = len(cardinalities) + NUMERIC
    grouped = {column for group in feature_groups or () for column in group}
    groups = [*(feature_groups or []), *([column] for column in range(inputs) if column not in grouped)]
    matrix = torch.zeros(len(groups), inputs)
    for number, group in enumerate(groups):
        matrix[number, group] = 1 / len(group)
    theirs = tab_network.TabNetPretraining(
        inputs,
        cat_idxs=list(range(len(cardinalities))),
        cat_dims=list(cardinalities),
        cat_emb_dim=[2] * len(cardinalities),
        n_shared_decoder=decoder[0],
        n_indep_decoder=decoder[1],
        group_attention_matrix=matrix,
        **settings,
    ).to(dtype)
    theirs.encoder.group_attention_matrix = theirs.encoder.group_attention_matrix.to(dtype)
    theirs.masker.group_matrix = theirs.masker.group_matrix.to(dtype)
    with torch.no_grad():
        for mine, other in weights(ours, theirs):
            mine.copy_(other)
    return ours, theirs, len(groups)


def weights(ours: TabNetPretraining, theirs: tab_network.TabNetPretraining) -> Iterator[tuple[Tensor, Tensor]]:
    """Each parameter and running statistic of ours beside the reference's."""
    network, encoder = ours.network, theirs.encoder
    if network.embedding is not None:
        for start, embedding in zip(network.embedding.offset.tolist(), theirs.embedder.embeddings, strict=True):
            yield network.embedding.weight[start : start + embedding.num_embeddings], embedding.weight
    yield from norms(network.input_norm, encoder.initial_bn)
    splitters = [encoder.initial_splitter, *encoder.feat_transformers]
    yield from transformers(network.encoder.shared, network.encoder.feature_transformers, splitters)
    for attend, attention in zip(network.encoder.attentive_transformers, encoder.att_transformers, strict=True):
        yield attend.linear.weight, attention.fc.weight
        yield from norms(attend.norm, attention.bn.bn)
    yield from transformers(ours.decoder.shared, ours.decoder.feature_transformers, theirs.decoder.feat_transformers)
    yield ours.decoder.linear.weight, theirs.decoder.reconstruction_layer.weight


def transformers(shared: nn.ModuleList, ours: nn.ModuleList, theirs: Iterable[nn.Module]) -> Iterator:
    for mine, other in zip(ours, theirs, strict=True):
        # The reference's shared layers are the same linear ones in every step, with norms of its own.
        layers = [*getattr(other.shared, "glu_layers", []), *getattr(other.specifics, "glu_layers", [])]
        for linear, norm, layer in zip([*shared, *mine.linears], mine.norms, layers, strict=True):
            yield linear.weight, layer.fc.weight
            yield from norms(norm, layer.bn.bn)


def norms(ours: nn.Module, theirs: nn.Module) -> Iterator[tuple[Tensor, Tensor]]:
    for name in ("weight", "bias", "running_mean", "running_var"):
        yield getattr(ours, name), getattr(theirs, name)


def rows(dtype: torch.dtype, cardinalities: tuple[int, ...] = (4, 7)) -> tuple[Tensor, Tensor, Tensor]:
    """Ids, numbers, and the reference's one table of both; the numbers are exact in float32, as it makes them."""
    draw = torch.Generator().manual_seed(1)
    ids = [torch.randint(0, c, (ROWS, 1), generator=draw) for c in cardinalities]
    categorical = torch.cat([torch.zeros(ROWS, 0, dtype=torch.int64), *ids], dim=1)
    numeric = torch.randn(ROWS, NUMERIC, generator=draw)
    numeric[:, 2] *= 30
    numeric[:, 3] = 0.25  # constant
    numeric[:, 4] = 0
    numeric = numeric.to(dtype)
    return categorical, numeric, torch.cat([categorical.to(dtype), numeric], dim=1)


# In single precision where no batch norm of a nearly constant column magnifies what is rounded away.
CASES = [(shape, torch.float64, 1e-10) for shape in SHAPES]
CASES += [(shape, torch.float32, 1e-5) for shape in ("plain", "nothing shared", "no gated layer in the decoder")]


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize(("shape", "dtype", "tolerance"), CASES)
def test_equals_the_reference(
    shape: str, dtype: torch.dtype, tolerance: float, training: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs, groups = pair(dtype, **SHAPES[shape])
    ours.train(training)
    theirs.train(training)
    categorical, numeric, table = rows(dtype, SHAPES[shape].get("cardinalities", (4, 7)))
    hidden = torch.bernoulli(torch.full((ROWS, groups), 0.3), generator=torch.Generator().manual_seed(2)).to(dtype)
    hidden[0] = 0  # a row in which nothing counts
    output = ours(categorical, numeric, hidden if training else None)
    with monkeypatch.context() as patch:
        patch.setattr(torch, "bernoulli", lambda probabilities: hidden)
        expected = theirs(table)
    for mine, other in zip(output, expected, strict=True):
        assert mine.dtype == dtype
        close(mine, other, tolerance)
    reconstruction, embedded, counted = expected
    loss = reconstruction_loss(*output)
    wanted = UnsupervisedLoss(reconstruction, embedded, counted.to(dtype))  # in evaluation they come in float32
    close(loss, wanted, tolerance)
    loss.backward()
    wanted.backward()
    assert [name for name, p in ours.named_parameters() if p.grad is None] == ["network.head.weight"]
    # In the parameters' place their gradients, beside each other as the parameters were.
    with torch.no_grad():
        for parameter in [*ours.parameters(), *theirs.parameters()]:
            parameter.copy_(torch.zeros(()) if parameter.grad is None else parameter.grad)
    for mine, other in weights(ours, theirs):
        close(mine, other, 10 * tolerance)


def close(mine: Tensor, other: Tensor, tolerance: float) -> None:
    """Equal to ``tolerance`` of the largest entry."""
    assert mine.shape == other.shape
    assert (mine - other).abs().max() <= tolerance * max(float(other.detach().abs().max()), 1e-3)


def test_training_draws_what_it_hides() -> None:
    ours, _, groups = pair(torch.float32, feature_groups=[[0, 3]])
    categorical, numeric, _ = rows(torch.float32)
    _, embedded, obfuscated = ours(categorical.repeat(100, 1), numeric.repeat(100, 1))
    assert obfuscated.shape == embedded.shape == (100 * ROWS, 2 * 2 + NUMERIC)
    assert set(obfuscated.unique().tolist()) == {0.0, 1.0}
    assert obfuscated.mean(dim=0) == pytest.approx(0.2, abs=0.02)
    assert torch.equal(obfuscated[:, 0], obfuscated[:, 1])  # one column of ids
    assert torch.equal(obfuscated[:, 0], obfuscated[:, 5])  # its group
    assert not torch.equal(obfuscated[:, 0], obfuscated[:, 2])
    assert groups == 6


def test_the_column_means_lose_1_however_a_split_is_cut() -> None:
    draw = torch.Generator().manual_seed(0)
    embedded = torch.randn(1000, 4, generator=draw) * torch.tensor([1.0, 100.0, 0.01, 1.0]) + 3
    reconstruction, everything = embedded + torch.randn(1000, 4, generator=draw), torch.ones(1000, 4)
    means = embedded.mean(dim=0).expand(1000, 4)
    assert reconstruction_loss(means, embedded, everything) == pytest.approx(0.999, abs=1e-5)
    total = SplitLoss()
    for start, stop in ((0, 1), (1, 400), (400, 1000)):
        total.add(Reconstruction(reconstruction[start:stop], embedded[start:stop], everything[start:stop]))
    assert total.loss == pytest.approx(float(reconstruction_loss(reconstruction, embedded, everything)), rel=1e-5)
    assert total.baseline == pytest.approx(0.999, abs=1e-9)


@pytest.mark.parametrize("value", [-0.3, 0.0, 0.3])
def test_a_constant_column_never_rewards_errors(value: float) -> None:
    """Where pytorch-tabnet's loss falls below 0 for a constant below 0, ours takes the constant's size."""
    embedded, everything = torch.full((7, 3), value), torch.ones(7, 3)
    reconstruction = embedded + 0.5
    loss = reconstruction_loss(reconstruction, embedded, everything)
    assert loss == pytest.approx(0.25 / (abs(value) or 1), rel=1e-5)
    assert abs(UnsupervisedLoss(reconstruction, embedded.clone(), everything)) == pytest.approx(float(loss), rel=1e-5)
    total = SplitLoss()
    for start, stop in ((0, 3), (3, 7)):
        total.add(Reconstruction(reconstruction[start:stop], embedded[start:stop], everything[start:stop]))
    assert total.loss == pytest.approx(float(loss), rel=1e-5)
    assert total.baseline == 0


@pytest.mark.parametrize("settings", [{"pretraining_ratio": 0.0}, {"pretraining_ratio": 1.0}, {"n_shared_decoder": -1}])
def test_a_setting_out_of_range_is_refused(settings: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        TabNetPretraining(TabNet([], 3), **settings)
