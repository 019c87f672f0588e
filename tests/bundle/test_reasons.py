"""Reasons of a model that is only known by its scores, and what a broken file of reasons is answered with."""

from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

from fraudlab.bundle.reasons import FILE, load_reasons, save_reasons
from fraudlab.bundle.replaced import Replaced, reference_rows
from fraudlab.errors import UserError
from fraudlab.features.encoder import Arrays
from fraudlab.models.boosting.trees import Node, Trees

DRAW = np.random.default_rng(0)


def rows(count: int) -> Arrays:
    return Arrays(DRAW.integers(0, 5, (count, 1)), DRAW.standard_normal((count, 3)).astype(np.float32))


def shapley(log_odds, row: Arrays, others: Arrays, column: np.ndarray) -> np.ndarray:
    """By the definition: the mean rise over every order of the columns and every other row."""
    count = column.max() + 1
    total = np.zeros(count)
    for order in permutations(range(count)):
        for i in range(len(others.numeric)):
            now = np.concatenate([others.categorical[i], others.numeric[i]])
            whole = np.concatenate([row.categorical[0], row.numeric[0]])
            before = log_odds(Arrays(now[None, :1].astype(int), now[None, 1:]))[0]
            for one in order:
                now[column == one] = whole[column == one]
                after = log_odds(Arrays(now[None, :1].astype(int), now[None, 1:]))[0]
                total[one] += after - before
                before = after
    return total / len(list(permutations(range(count)))) / len(others.numeric)


def test_two_columns_that_work_together_get_their_shapley_values() -> None:
    column = np.array([0, 1, 1, 1])  # the last two are indicators of the second, say

    def log_odds(at: Arrays) -> np.ndarray:
        return at.categorical[:, 0] * at.numeric[:, 0] + np.tanh(at.numeric.sum(axis=1))

    others, row = rows(6), rows(1)
    made = Replaced({**others._asdict(), "column": column}, log_odds)
    found = made(*row)
    assert np.allclose(found[0, [0, 1]], shapley(log_odds, row, others, column), atol=1e-6)
    assert not found[0, 2:].any()
    assert made.base == pytest.approx(log_odds(others).mean())


def test_columns_that_do_not_work_together_get_what_they_add_over_the_mean() -> None:
    weights = np.array([1.0, -2.0, 0.5])

    def log_odds(at: Arrays) -> np.ndarray:
        return at.categorical[:, 0] ** 2 + at.numeric @ weights

    others, some = rows(8), rows(20)
    made = Replaced({**others._asdict(), "column": np.arange(4)}, log_odds)
    found = made(*some)
    assert np.allclose(found[:, 0], some.categorical[:, 0] ** 2 - (others.categorical[:, 0] ** 2).mean())
    assert np.allclose(found[:, 1:], weights * (some.numeric - others.numeric.mean(axis=0)), atol=1e-6)
    assert np.allclose(made.base + found.sum(axis=1), log_odds(some), atol=1e-9)
    assert made(*rows(0)).shape == (0, 4)


def test_rows_are_taken_evenly() -> None:
    taken = reference_rows(np.arange(100)[:, None], np.arange(100, dtype=np.float32)[:, None], 5)
    assert taken["categorical"].ravel().tolist() == [0, 24, 49, 74, 99]
    assert len(reference_rows(np.zeros((2, 0), int), np.zeros((2, 1), np.float32), 5)["numeric"]) == 2


def test_trees_that_go_in_circles_are_refused(tmp_path: Path) -> None:
    tree = [Node(2.0, column=0, left=1, right=2), Node(1.0, -1.0), Node(1.0, 1.0)]
    arrays = Trees.of([tree], 0.0, [], 1).arrays(*rows(0))
    save_reasons(tmp_path, "trees", arrays)
    assert load_reasons(tmp_path, lambda at: at.numeric[:, 0]) is not None
    save_reasons(tmp_path, "trees", {**arrays, "left": np.array([0, -1, -1], np.int32)})
    with pytest.raises(UserError, match="a node of a tree comes before its parent"):
        load_reasons(tmp_path, lambda at: at.numeric[:, 0])


@pytest.mark.parametrize("broken", ["no kind", "no array", "no file of arrays"])
def test_a_broken_file_is_refused(broken: str, tmp_path: Path) -> None:
    assert load_reasons(tmp_path, lambda at: at.numeric[:, 0]) is None
    save_reasons(tmp_path, "of another version" if broken == "no kind" else "trees", {"root": np.zeros(1)})
    if broken == "no file of arrays":
        (tmp_path / FILE).write_bytes(b"\x08")
    with pytest.raises(UserError, match=r"reasons\.safetensors is not what an export writes"):
        load_reasons(tmp_path, lambda at: at.numeric[:, 0])
