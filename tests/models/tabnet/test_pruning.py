"""A TabNet without columns that no mask looks at is the same network, where those stay at their mean."""

from typing import Any

import pytest
import torch

from fraudlab.models.tabnet import TabNet

CASES: dict[str, tuple[list[int], int, list[int], dict[str, Any]]] = {
    "ids and numbers": ([3, 40, 7], 6, [1, 4, 8], {}),
    "numbers": ([], 6, [0, 5], {}),
    "all ids gone": ([3, 4], 5, [0, 1], {}),
    "all numbers gone": ([3, 40, 7], 2, [3, 4], {}),
    "uneven": ([3, 40, 7], 4, [1], {"embedding_dim": [1, 5, 3]}),
    "groups": ([3, 40, 7], 6, [1, 2, 5], {"feature_groups": [[0, 4], [1, 2]]}),
    "no shared layer": ([5], 5, [2], {"n_shared": 0}),
}


def network_of(cardinalities: list[int], numbers: int, dropped: list[int], settings: dict[str, Any]) -> TabNet:
    """A network whose batch norms have seen rows, and whose masks leave the columns ``dropped`` out."""
    torch.manual_seed(0)
    network = TabNet(cardinalities, numbers, **settings).train()
    for _ in range(5):
        network(*rows(network, 256))
    network = network.double().eval()
    grouping = network.encoder.grouping
    with torch.no_grad():
        for attend in network.encoder.attentive_transformers:
            for column in dropped:
                attend.norm.bias[grouping.group[grouping.column == column].unique()] = -100
    return network


def rows(network: TabNet, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    ids = [torch.randint(0, n, (count,)) for n in network.cardinalities]
    categorical = torch.stack(ids, dim=1) if ids else torch.empty(count, 0, dtype=torch.int64)
    return categorical, torch.randn(count, network.num_numeric, dtype=network.head.weight.dtype)


@pytest.mark.parametrize("case", CASES)
def test_equals_the_network_where_the_columns_stand_still(case: str) -> None:
    network = network_of(*CASES[case])
    cardinalities, numbers, dropped, _ = CASES[case]
    gone = torch.zeros(len(cardinalities) + numbers, dtype=torch.bool)
    gone[dropped] = True
    categorical, numeric = rows(network, 64)
    wide = len(cardinalities)
    categorical[:, gone[:wide]] = categorical[:1, gone[:wide]]
    numeric[:, gone[wide:]] = numeric[:1, gone[wide:]]
    importance, _ = network.explain(categorical, numeric)
    assert not importance[:, gone].any()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    smaller = network.without(gone, categorical, numeric)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    kept = categorical[:, ~gone[:wide]], numeric[:, ~gone[wide:]]
    torch.testing.assert_close(smaller(*kept).logits, network(categorical, numeric).logits, atol=1e-12, rtol=0)
    torch.testing.assert_close(smaller.explain(*kept)[0], importance[:, ~gone], atol=1e-12, rtol=0)
    exported = smaller.exported()
    torch.testing.assert_close(exported(*kept)[0], smaller(*kept).logits, atol=1e-9, rtol=0)
