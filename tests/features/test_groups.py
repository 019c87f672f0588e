"""Running totals by group, against a dictionary that adds up row by row: the same to the last bit."""

import numpy as np
import pytest

from fraudlab.features.ieee_cis.groups import Groups


@pytest.mark.parametrize("seed", range(20))
def test_totals_are_added_up_in_order(seed: int) -> None:
    draw = np.random.default_rng(seed)
    rows = int(draw.integers(1, 500))
    key = draw.choice(draw.integers(0, 10**12, draw.integers(1, rows + 1)), rows)
    if seed % 2:
        key[draw.random(rows) < 0.5] = 7  # one large group among small ones
    value = draw.random((2, rows))
    before, counts = np.empty((2, rows)), np.empty(rows)
    totals: dict[int, np.ndarray] = {}
    sizes: dict[int, int] = {}
    for row in range(rows):
        total, count = totals.get(key[row], np.zeros(2)), sizes.get(key[row], 0)
        before[:, row], counts[row] = total, count
        totals[key[row]], sizes[key[row]] = total + value[:, row], count + 1

    groups = Groups(key)
    placed = value[:, groups.row]
    found = groups.before(placed)
    assert np.array_equal([groups.by_row(one) for one in found], before)
    assert np.array_equal(groups.by_row(groups.count.astype(float)), counts)
    assert np.array_equal(groups.keys[groups.group], key[groups.row])
    whole = groups.whole(found, placed)
    assert {k: tuple(total) for k, total in zip(groups.keys, whole.T, strict=True)} == {
        k: tuple(total) for k, total in totals.items()
    }
    assert dict(zip(groups.keys, groups.sizes, strict=True)) == sizes
