"""Boosted trees as arrays, whatever library grew them: one form for scores in ONNX and for reasons."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from fraudlab.models.boosting.crossings import Crossings

LEAF = -1


class Node(NamedTuple):
    """A node of one tree, whose nodes are numbered from its root, 0; children have higher numbers than their parent.

    Attributes:
        cover: weight of the training rows that came by.
        value: of a leaf, what it adds to the log-odds.
        column: of a split, the column that it looks at, of C ids, then N numbers, then V crossings of them, which
            have ids, too; ``LEAF`` of a leaf.
        left, right: numbers of the nodes that a row goes to.
        threshold: numbers up to it go left; of a split of numbers.
        right_ids: which ids go right, bool [ids of the column]; of a split of ids.
    """

    cover: float
    value: float = 0.0
    column: int = LEAF
    left: int = 0
    right: int = 0
    threshold: np.float32 = np.float32(0)
    right_ids: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class Trees:
    """Trees whose leaves add up to the log-odds of fraud; the nodes of all of them in a row.

    Numbers are float32, so a library's test of ``x <= t`` in float64 is that of ``x`` against the largest float32 that
    is not above ``t``: no comparison differs. Rounding ``t`` to the nearest float32 would change some (onnxmltools
    #708). A split of ids asks a bit of ``table``: 1 where an id goes right.

    Attributes:
        base: float64 [1], added to the sum of the leaves.
        root: int32 [trees].
        column, left, right, threshold, cover, value: of each node, as :class:`Node` has them.
        bit: int32 [nodes], of a split of ids the number of its bit, 8 a byte from the lowest on; else -1.
        byte_column: int32 [bytes], the column whose ids a byte answers for.
        byte_start: int64 [bytes], where the column's id 0 has it in ``table``; the other ids follow.
        table: uint8, eight splits' answers a byte.
        widths: int32 [2], C and N.
        crossings: columns made of others.
    """

    base: NDArray[np.float64]
    root: NDArray[np.int32]
    column: NDArray[np.int32]
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    threshold: NDArray[np.float32]
    cover: NDArray[np.float64]
    value: NDArray[np.float64]
    bit: NDArray[np.int32]
    byte_column: NDArray[np.int32]
    byte_start: NDArray[np.int64]
    table: NDArray[np.uint8]
    widths: NDArray[np.int32]
    crossings: Crossings = field(default_factory=Crossings.none)

    @property
    def kind(self) -> str:
        """What makes reasons of the arrays; versions that know no crossings refuse the other."""
        return "crossed_trees" if len(self.crossings) else "trees"

    @classmethod
    def of(
        cls,
        trees: Sequence[Sequence[Node]],
        base: float,
        cardinalities: Sequence[int],
        num_numeric: int,
        crossings: Crossings | None = None,
    ) -> Self:
        """Arrays of nodes."""
        sizes = [len(tree) for tree in trees]
        root = np.cumsum([0, *sizes])[:-1]
        nodes = [node for tree in trees for node in tree]
        start = np.repeat(root, sizes)
        bits, columns, starts, table = _table({i: node for i, node in enumerate(nodes) if node.right_ids is not None})
        bit = np.full(len(nodes), -1, np.int32)
        bit[list(bits)] = list(bits.values())
        split = np.array([node.column != LEAF for node in nodes], bool)
        return cls(
            np.array([base], np.float64),
            root.astype(np.int32),
            np.array([node.column for node in nodes], np.int32),
            np.where(split, start + [node.left for node in nodes], LEAF).astype(np.int32),
            np.where(split, start + [node.right for node in nodes], LEAF).astype(np.int32),
            np.array([node.threshold for node in nodes], np.float32),
            np.array([node.cover for node in nodes], np.float64),
            np.array([node.value for node in nodes], np.float64),
            bit,
            columns,
            starts,
            table,
            np.array([len(cardinalities), num_numeric], np.int32),
            crossings or Crossings.none(),
        )

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """What :meth:`arrays` gave."""
        own = {each.name: arrays[each.name] for each in fields(cls) if each.name != "crossings"}
        return cls(**own, crossings=Crossings.from_arrays(arrays))

    def arrays(self, categorical: NDArray[np.int64], numeric: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        """The arrays that reasons are made of; trees know their training rows by ``cover``."""
        own = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "crossings"}
        return {**own, **self.crossings.arrays()}

    def unused(self) -> NDArray[np.bool_]:
        """Columns that no split and no crossing looks at, bool [C + N]."""
        return ~np.isin(np.arange(self.widths.sum()), np.union1d(self.column, self.crossings.column))

    def without(self, dropped: NDArray[np.bool_]) -> Self:
        """The trees of rows without columns that no split looks at."""
        kept = np.concatenate([~dropped, np.ones(len(self.crossings), bool)])
        number = kept.cumsum() - 1
        column = np.where(self.column == LEAF, LEAF, number[self.column])
        widths = [(~part).sum() for part in np.split(dropped, [self.widths[0]])]
        return replace(
            self,
            column=column.astype(np.int32),
            byte_column=number[self.byte_column].astype(np.int32),
            widths=np.array(widths, np.int32),
            crossings=self.crossings.renumbered(number),
        )

    def goes_right(self, categorical: NDArray[np.int64], numeric: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Which way rows go at every split, bool [n, nodes]; of leaves it says nothing."""
        right = np.zeros((len(numeric), len(self.column)), bool)
        of_numbers = (self.column != LEAF) & (self.bit < 0)
        right[:, of_numbers] = numeric[:, self.column[of_numbers] - self.widths[0]] > self.threshold[of_numbers]
        of_ids = self.bit >= 0
        ids = np.hstack([categorical, self.crossings.ids(categorical, numeric)])
        answers = self.table[ids[:, self.byte_ids()] + self.byte_start]
        right[:, of_ids] = np.unpackbits(answers, axis=1, bitorder="little")[:, self.bit[of_ids]]
        return right

    def byte_ids(self) -> NDArray[np.int64]:
        """The column of each byte among those of ids alone, C, then V."""
        return np.where(self.byte_column < self.widths[0], self.byte_column, self.byte_column - self.widths[1])

    def write_onnx(self, path: Path) -> None:
        """Write the trees as an ONNX model that gives ``score``, as :mod:`fraudlab.bundle.runtime` runs it."""
        from fraudlab.models.boosting.trees_onnx import write

        write(self, path)


def at_most(threshold: float) -> np.float32:
    """The largest float32 that is not above ``threshold``: numbers of float32 are at most either, or neither."""
    near = np.float32(threshold)
    return below(near) if float(near) > threshold else near  # not by NumPy, which would round the threshold


def below(threshold: float | np.float32) -> np.float32:
    """The largest float32 below ``threshold``, which is one itself."""
    return np.nextafter(np.float32(threshold), np.float32(-np.inf))


def _table(splits: Mapping[int, Node]) -> tuple[dict[int, int], NDArray[Any], NDArray[Any], NDArray[Any]]:
    """The bit of each split of ids; ``byte_column``, ``byte_start`` and ``table``. Splits alike have one bit."""
    by_column: dict[int, dict[bytes, NDArray[np.bool_]]] = {}
    for node in splits.values():
        assert node.right_ids is not None
        by_column.setdefault(node.column, {}).setdefault(node.right_ids.tobytes(), node.right_ids)
    bit_of: dict[tuple[int, bytes], int] = {}
    columns: list[int] = []
    blocks: list[NDArray[np.uint8]] = []
    for column, sets in sorted(by_column.items()):
        bit_of |= {(column, key): 8 * len(columns) + number for number, key in enumerate(sets)}
        packed = np.packbits(np.stack(list(sets.values())), axis=0, bitorder="little")  # [bytes, ids]
        columns += [column] * len(packed)
        blocks += list(packed)
    starts = np.cumsum([0, *(len(block) for block in blocks)])[:-1]
    bits = {i: bit_of[node.column, node.right_ids.tobytes()] for i, node in splits.items()}  # type: ignore[union-attr]
    table = np.concatenate(blocks) if blocks else np.empty(0, np.uint8)
    return bits, np.array(columns, np.int32), starts.astype(np.int64), table
