"""Batches lose no row, give none twice, are the same on any number of ranks, and go on where they stopped."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fraudlab.data.batches import BLOCK, BLOCKS_TOGETHER, Batch, Batches
from fraudlab.data.datamodule import place
from fraudlab.errors import UserError


def rows(count: int) -> Batch:
    categorical = np.arange(count)[:, None]
    return Batch.of(categorical, categorical.astype(np.float32) * 2, np.arange(count) % 2)


def seen(batches: Batches) -> list[list[int]]:
    return [batch.categorical[:, 0].tolist() for batch in batches]


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(4, 300),
    size=st.integers(4, 64),
    ranks=st.integers(1, 4),
    shuffle=st.booleans(),
    blocks=st.booleans(),
)
def test_each_row_goes_to_one_rank_once_an_epoch(
    count: int, size: int, ranks: int, shuffle: bool, blocks: bool
) -> None:
    order = {"shuffle": shuffle, "blocks": blocks, "seed": 3}
    whole = Batches(rows(count), size, **order)
    pieces = [Batches(rows(count), size, **order, rank=r, num_ranks=ranks) for r in range(ranks)]
    for _ in range(2):
        expected = seen(whole)
        by_rank = [seen(piece) for piece in pieces]
        assert {len(steps) for steps in by_rank} == {len(whole)}
        # At each step the ranks' pieces are, together and in order, the batch of a single process.
        assert [sum(step, []) for step in zip(*by_rank, strict=True)] == expected
        assert sorted(sum(expected, [])) == list(range(count))
        assert max(map(len, expected)) <= size
        assert max(map(len, expected)) - min(map(len, expected)) <= 1


def test_blocks_are_shuffled_and_rows_within_some_of_them() -> None:
    """A stretch of the order draws from few blocks, not in their order; every epoch draws anew."""
    count = 3 * BLOCK * BLOCKS_TOGETHER
    batches = Batches(rows(count), BLOCK, shuffle=True, blocks=True, seed=1)
    first, second = (np.concatenate(seen(batches)) for _ in range(2))
    assert not np.array_equal(first, second)
    assert np.array_equal(np.sort(first), np.arange(count))
    stretch = first[: BLOCK * BLOCKS_TOGETHER]
    blocks = np.unique(stretch // BLOCK)
    assert len(blocks) == BLOCKS_TOGETHER
    assert blocks.max() - blocks.min() >= BLOCKS_TOGETHER
    batch = first[:BLOCK]
    assert len(np.unique(batch // BLOCK)) > BLOCKS_TOGETHER // 2


def test_columns_of_a_row_stay_together() -> None:
    for batch in Batches(rows(50), 8, shuffle=True):
        assert torch.equal(batch.numeric[:, 0], batch.categorical[:, 0] * 2.0)
        assert torch.equal(batch.label, batch.categorical[:, 0] % 2)
        assert torch.equal(batch.weight, torch.ones(len(batch.label)))


def test_the_mean_over_ranks_is_the_mean_over_the_batch() -> None:
    value = torch.arange(11.0)
    pieces = [Batches(rows(11), 11, rank=r, num_ranks=2) for r in range(2)]
    means = [(batch.weight * value[batch.categorical[:, 0]]).mean() for piece in pieces for batch in piece]
    assert torch.isclose(torch.stack(means).mean(), value.mean())


def test_orders_differ_by_epoch_and_seed_and_repeat() -> None:
    first, again, other = (Batches(rows(100), 10, shuffle=True, seed=s) for s in (1, 1, 2))
    epochs = [seen(first), seen(first)]
    assert epochs[0] != epochs[1]
    assert [seen(again), seen(again)] == epochs
    assert seen(other) != epochs[0]


@settings(max_examples=30, deadline=None)
@given(stop=st.integers(0, 24))
def test_goes_on_with_the_very_next_batch(stop: int) -> None:
    expected = [step for batches in [Batches(rows(100), 10, shuffle=True)] for _ in range(3) for step in seen(batches)]
    before, after = Batches(rows(100), 10, shuffle=True), Batches(rows(100), 10, shuffle=True)
    given_before, state = [], before.state_dict()
    while len(given_before) < stop:
        for batch in before:
            given_before.append(batch.categorical[:, 0].tolist())
            state = before.state_dict()
            if len(given_before) == stop:
                break
    after.load_state_dict(state)
    rest = [step for _ in range(4) for step in seen(after)]
    assert (given_before + rest)[: len(expected)] == expected


def test_an_epoch_left_early_is_over() -> None:
    whole, left = (Batches(rows(100), 10, shuffle=True) for _ in range(2))
    expected = [seen(whole), seen(whole)]
    for epoch in range(2):  # as Lightning does: it asks for as many batches as it wants, not for the end
        assert [batch.categorical[:, 0].tolist() for _, batch in zip(range(3), left, strict=False)] == expected[epoch][
            :3
        ]


def test_a_state_of_other_rows_is_refused() -> None:
    with pytest.raises(ValueError, match="100 rows with seed 0"):
        Batches(rows(99), 10).load_state_dict(Batches(rows(100), 10).state_dict())


def test_rows_stay_where_they_are_on_the_cpu() -> None:
    batch = rows(10)
    assert place(batch, torch.device("cpu"), "always") is batch
    assert batch.num_bytes == 10 * (8 + 4 + 8 + 4)


def test_arrays_that_no_network_takes_are_refused() -> None:
    ids, numbers, label = np.zeros((3, 1), np.int64), np.zeros((3, 2), np.float32), np.zeros(3)
    with pytest.raises(UserError, match="rows differ: 2 of ids"):
        Batch.of(ids[:2], numbers, label)
    for value in (np.nan, np.inf):
        numbers[2, 1] = value
        with pytest.raises(UserError, match="numeric column 1 is (nan|inf) in row 2"):
            Batch.of(ids, numbers, label)
