"""TabNet is pytorch-tabnet's function: outputs, gradients and running statistics, compiled and in plain PyTorch."""

import copy
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_tabnet import tab_network
from torch import Tensor, nn

from fraudlab.models.tabnet import TabNet
from fraudlab.models.tabnet.interop import from_reference
from fraudlab.models.tabnet.native import compile as native
from fraudlab.models.tabnet.network import TabNetNetwork

pytestmark = pytest.mark.long


@dataclass
class Case:
    """A network, its columns and its batches."""

    columns: int = 7
    categorical: dict[int, tuple[int, int]] = field(default_factory=lambda: {1: (3, 4), 4: (5, 4)})  # ids, embedding
    groups: list[list[int]] = field(default_factory=list)
    settings: dict[str, object] = field(default_factory=dict)
    rows: int = 70
    seed: int = 0


@st.composite
def cases(draw: st.DrawFn) -> Case:
    columns = draw(st.integers(1, 40))
    where = draw(st.sets(st.integers(0, columns - 1), max_size=5))
    categorical = {column: (draw(st.integers(2, 9)), draw(st.integers(1, 5))) for column in sorted(where)}
    order = draw(st.permutations(range(columns)))
    size = draw(st.integers(0, columns // 2))
    groups = [list(order[:size]), list(order[size : 2 * size])] if size else []
    n_shared, n_independent = draw(st.sampled_from([(2, 2), (0, 2), (2, 0), (1, 1), (0, 1)]))
    return Case(
        columns,
        categorical,
        groups,
        {
            "n_d": draw(st.integers(1, 20)),
            "n_a": draw(st.integers(1, 20)),
            "n_steps": draw(st.integers(1, 4)),
            "gamma": draw(st.sampled_from([1.0, 1.3, 2.0])),
            "n_shared": n_shared,
            "n_independent": n_independent,
            "virtual_batch_size": draw(st.sampled_from([8, 16, 64, 1024])),
            "momentum": draw(st.sampled_from([0.02, 0.5, 1.0])),
            "mask_type": draw(st.sampled_from(["sparsemax", "entmax"])),
        },
        draw(st.sampled_from([48, 63, 64, 71, 150])),
        draw(st.integers(0, 2**16)),
    )


def reference_of(case: Case, dtype: torch.dtype) -> tab_network.TabNet:
    torch.manual_seed(case.seed)
    named = {column for group in case.groups for column in group}
    groups = [*case.groups, *([column] for column in range(case.columns) if column not in named)]
    matrix = torch.zeros(len(groups), case.columns)
    for row, group in zip(matrix, groups, strict=True):
        row[group] = 1 / len(group)
    reference = tab_network.TabNet(
        case.columns,
        2,
        cat_idxs=list(case.categorical),
        cat_dims=[ids for ids, _ in case.categorical.values()],
        cat_emb_dim=[width for _, width in case.categorical.values()],
        group_attention_matrix=matrix,
        **case.settings,
    ).to(dtype)
    for module in reference.modules():
        if isinstance(module, nn.BatchNorm1d):  # not the weights 1 and 0 of a fresh network, which hide mistakes
            nn.init.normal_(module.weight, 1, 0.2)
            nn.init.normal_(module.bias, 0, 0.2)
    encoder = reference.tabnet.encoder
    encoder.group_attention_matrix = encoder.group_attention_matrix.to(dtype)
    return reference


def batch(case: Case, rows: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Rows for ours (ids, numbers) and for the reference (one table), labels; one column has missing values only."""
    table = torch.randn(rows, case.columns)
    for column, (ids, _) in case.categorical.items():
        table[:, column] = torch.randint(0, ids, (rows,)).float()
    numeric = [column for column in range(case.columns) if column not in case.categorical]
    if len(numeric) > 2:
        table[:, numeric[0]] = 0
    ids, numbers = table[:, list(case.categorical)].long(), table[:, numeric].to(dtype)
    return ids, numbers, table.to(dtype), torch.randint(0, 2, (rows,))


def train_step(module: nn.Module, inputs: list[Tensor], label: Tensor) -> list[Tensor]:
    """Logits, penalty, and by our names all gradients and running statistics of one training step on ``inputs``."""
    module.train()
    module.zero_grad()
    if isinstance(module, TabNetNetwork):
        logits, penalty = module(*inputs)
    else:
        logits, negative_entropy = module(*inputs)
        penalty = -0.3 * negative_entropy
    (nn.functional.cross_entropy(logits, label) + penalty).backward()
    held = copy.deepcopy(module)  # its parameters become the gradients
    with torch.no_grad():
        for parameter, one in zip(held.parameters(), module.parameters(), strict=True):
            parameter.copy_(torch.zeros_like(one) if one.grad is None else one.grad)
    state = (held if isinstance(held, TabNetNetwork) else from_reference(held)).state_dict()
    return [logits.detach(), penalty.detach(), *(state[name] for name in sorted(state) if "tracked" not in name)]


def distances(ones: list[Tensor], others: list[Tensor]) -> list[float]:
    """Largest difference of each pair of tensors, relative to the largest value."""
    return [
        float((one.double() - other).abs().max() / other.abs().max().clamp_min(1e-3))
        for one, other in zip(ones, (other.double() for other in others), strict=True)
        if other.numel()
    ]


@pytest.fixture(scope="module", params=["compiled", "plain"])
def backend(request: pytest.FixtureRequest) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "plain":
            patch.setattr(native, "operations", lambda real: None)  # as where no C compiler is found
        elif native.operations("float") is None:
            pytest.skip("no C compiler")
        yield request.param


@settings(max_examples=40, deadline=None)
@given(case=cases())
def test_float64(backend: str, case: Case) -> None:
    """Three training steps, each from the reference's weights, then one row in evaluation."""
    reference = reference_of(case, torch.float64)
    network = from_reference(reference)
    network.sparsity = 0.3
    optimizer = torch.optim.SGD(reference.parameters(), lr=0.05)
    for _ in range(3):
        ids, numbers, table, label = batch(case, case.rows, torch.float64)
        nudged = copy.deepcopy(reference)
        theirs = train_step(reference, [table], label)
        found = distances(train_step(network, [ids, numbers], label), theirs)
        # A constant column in a ghost batch magnifies the last digit by 1 / sqrt(1e-5), layer after layer.
        with torch.no_grad():
            for parameter in nudged.parameters():
                parameter.mul_(1 + 1e-15 * torch.randn_like(parameter))
        unsteady = distances(train_step(nudged, [table], label), theirs)
        assert max(found) < max(1e-10, 1000 * max(unsteady))
        optimizer.step()
        network.load_state_dict(from_reference(reference).state_dict())
    check_evaluation(case, network.eval(), reference.eval(), torch.float64, 1e-8)


def check_evaluation(
    case: Case, network: TabNetNetwork, reference: tab_network.TabNet, dtype: torch.dtype, tolerance: float
) -> None:
    ids, numbers, table, _ = batch(case, 1, dtype)
    with torch.no_grad():
        output, (logits, negative_entropy) = network(ids, numbers), reference(table)
        importance, masks = network.explain(ids, numbers)
        their_importance, their_masks = reference.forward_masks(table)
    widths = [case.categorical.get(column, (0, 1))[1] for column in range(case.columns)]
    numeric = [column for column in range(case.columns) if column not in case.categorical]

    def over_inputs(columns: Tensor) -> Tensor:
        parts = [part.sum(dim=1) for part in columns.split(widths, dim=1)]
        return torch.stack([parts[column] for column in (*case.categorical, *numeric)], dim=1)

    pairs = [(output.logits, logits), (output.penalty, -0.3 * negative_entropy)]
    pairs += [(mask, over_inputs(their_masks[step])) for step, mask in enumerate(masks)]
    assert max(distances(*map(list, zip(*pairs, strict=True)))) < tolerance
    # The reference adds importances up in single precision, whatever its weights have.
    assert max(distances([importance], [over_inputs(their_importance)])) < max(tolerance, 1e-6)


@pytest.mark.parametrize("mask_type", ["sparsemax", "entmax"])
def test_float32(backend: str, mask_type: str) -> None:
    """As near to the exact gradients as the reference is, or nearer; outputs within 1e-5.

    Rounding decides on which side of 0 a decision lies now and then, on either side, which moves a whole gradient: so
    the medians are compared, over tensors and then over seeds.
    """
    ours_off, theirs_off = [], []
    for seed in range(7):
        case = Case(60, {3: (50, 4), 17: (7, 4)}, [], {"mask_type": mask_type}, 1000, seed)
        reference = reference_of(case, torch.float32)
        network = from_reference(reference)
        network.sparsity = 0.3
        exact = copy.deepcopy(network).double()
        ids, numbers, table, label = batch(case, case.rows, torch.float32)
        ours, theirs = train_step(network, [ids, numbers], label), train_step(reference, [table], label)
        truth = train_step(exact, [ids, numbers.double()], label)
        assert max(distances(ours[:2], truth[:2])) < max(1e-5, 5 * max(distances(theirs[:2], truth[:2])))
        ours_off.append(statistics.median(distances(ours, truth)))
        theirs_off.append(statistics.median(distances(theirs, truth)))
        check_evaluation(case, network.eval(), reference.eval(), torch.float32, 1e-5)
    assert statistics.median(ours_off) < max(1e-5, 2 * statistics.median(theirs_off))


def test_one_ghost_batch_over_several_threads(backend: str) -> None:
    """With fewer ghost batches than threads, the threads share each."""
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        case = Case(settings={"virtual_batch_size": 1024}, rows=211)
        reference = reference_of(case, torch.float64)
        network = from_reference(reference)
        network.sparsity = 0.3
        ids, numbers, table, label = batch(case, case.rows, torch.float64)
        found = distances(train_step(network, [ids, numbers], label), train_step(reference, [table], label))
        assert max(found) < 1e-10
    finally:
        torch.set_num_threads(threads)


def test_supports_larger_than_the_room_for_them(backend: str) -> None:
    """Masks that keep more columns than expected: entmax over equal scores keeps all of 90."""
    case = Case(90, {}, settings={"mask_type": "entmax", "virtual_batch_size": 16}, rows=40)
    reference = reference_of(case, torch.float64)
    for attention in reference.tabnet.encoder.att_transformers:
        nn.init.normal_(attention.bn.bn.weight, 0, 1e-3)
        nn.init.zeros_(attention.bn.bn.bias)
    network = from_reference(reference)
    network.sparsity = 0.3
    ids, numbers, table, label = batch(case, case.rows, torch.float64)
    found = distances(train_step(network, [ids, numbers], label), train_step(reference, [table], label))
    assert max(found) < 1e-10


def test_two_forward_passes_before_their_backward_passes(backend: str) -> None:
    case = Case(settings={"virtual_batch_size": 16})
    network = from_reference(reference_of(case, torch.float64))
    twin = copy.deepcopy(network)
    first, second = (batch(case, case.rows, torch.float64) for _ in range(2))
    outputs = [network(ids, numbers) for ids, numbers, _, _ in (first, second)]
    for output, (*_, label) in zip(outputs, (first, second), strict=True):
        nn.functional.cross_entropy(output.logits, label).backward()
    for ids, numbers, _, label in (first, second):
        nn.functional.cross_entropy(twin(ids, numbers).logits, label).backward()
    for one, other in zip(network.parameters(), twin.parameters(), strict=True):
        assert torch.allclose(one.grad, other.grad, rtol=1e-12, atol=1e-14)


def test_weights_put_in_the_place_of_others_are_seen(backend: str) -> None:
    case = Case(settings={"virtual_batch_size": 16})
    network, other = (from_reference(reference_of(Case(settings=case.settings, seed=s), torch.float64)) for s in (0, 1))
    ids, numbers, _, _ = batch(case, case.rows, torch.float64)
    before = network(ids, numbers).logits
    network.load_state_dict(other.state_dict(), assign=True)
    assert not torch.allclose(network(ids, numbers).logits, before)
    copied = copy.deepcopy(network).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        assert copied(ids, numbers).logits.abs().max() > 0
        assert torch.allclose(network.eval()(ids, numbers).logits, torch.zeros((), dtype=torch.float64))


def test_nan_is_not_hidden(backend: str) -> None:
    network = TabNet([], 5).eval()
    numeric = torch.randn(4, 5)
    numeric[2, 3] = torch.nan
    with torch.no_grad():
        logits = network(torch.zeros(4, 0, dtype=torch.int64), numeric).logits
    assert logits[2].isnan().all()
    assert logits[[0, 1, 3]].isfinite().all()


@pytest.mark.parametrize("mask_type", ["sparsemax", "entmax"])
def test_an_extreme_number_is_scored(backend: str, mask_type: str) -> None:
    """So large that one less is the same number in single precision."""
    case = Case(columns=5, categorical={}, settings={"mask_type": mask_type})
    reference = reference_of(case, torch.float32).eval()
    _, numbers, table, _ = batch(case, 4, torch.float32)
    numbers[1, 2] = table[1, 2] = 1e9
    with torch.no_grad():
        logits = from_reference(reference).eval()(torch.zeros(4, 0, dtype=torch.int64), numbers).logits
        expected = reference(table)[0]
    assert logits.isfinite().all()
    assert torch.allclose(logits, expected, rtol=1e-3, atol=1e-3)


def test_an_id_out_of_range_is_refused(backend: str) -> None:
    network = TabNet([3, 4], 1)
    with pytest.raises(IndexError):
        network(torch.tensor([[0, 0], [2, 4]]), torch.zeros(2, 1))
    with pytest.raises(IndexError):
        network(torch.tensor([[0, 0], [-1, 0]]), torch.zeros(2, 1))
    with pytest.raises(IndexError):  # in the table of all columns it would be the second column's first
        network.eval()(torch.tensor([[0, 0], [3, 0]]), torch.zeros(2, 1))


@pytest.mark.parametrize(
    ("ids", "numeric"),
    [
        (torch.zeros(4, 1, dtype=torch.int64), torch.zeros(4, 1)),
        (torch.zeros(4, 2, dtype=torch.int64), torch.zeros(4, 2)),
        (torch.zeros(4, 2, dtype=torch.int64), torch.zeros(5, 1)),
        (torch.zeros(4, 2), torch.zeros(4, 1)),
    ],
)
def test_arrays_of_another_shape_or_type_are_refused(backend: str, ids: Tensor, numeric: Tensor) -> None:
    with pytest.raises(ValueError, match="columns|int64"):
        TabNet([3, 4], 1)(ids, numeric)


@pytest.mark.parametrize("rows", [1, 257])
def test_a_single_row_is_not_trained_on(backend: str, rows: int) -> None:
    network = TabNet([], 3, virtual_batch_size=256 if rows == 257 else 128)
    if rows == 257:
        network.encoder.virtual_batch_size = 2  # 129 ghost batches of two, the last of one
        for module in network.modules():
            if hasattr(module, "virtual_batch_size"):
                module.virtual_batch_size = 2
    with pytest.raises(ValueError, match="batch|more than 1 value"):
        network(torch.zeros(rows, 0, dtype=torch.int64), torch.randn(rows, 3))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"n_d": 0}, "n_d must be at least 1"),
        ({"n_independent": 0, "n_shared": 0}, "give no layer"),
        ({"gamma": 0.5}, "gamma=0.5"),
        ({"momentum": 0.0}, "momentum=0.0"),
        ({"mask_type": "softmax"}, "mask_type must be"),
        ({"embedding_dim": [4]}, "1 entries for 2"),
        ({"feature_groups": [[0, 9]]}, "outside 0 to 4"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        TabNet([3, 4], 3, **settings)
