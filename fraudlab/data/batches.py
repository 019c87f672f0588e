"""Batches from arrays on the device of the network: no worker processes, no copy per row."""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from fraudlab.errors import UserError

BLOCK = 4096  # rows read from disk at once
BLOCKS_TOGETHER = 64  # blocks whose rows are shuffled together: 500 MB at 450 columns


class Batch(NamedTuple):
    """``categorical`` int64 [B, C], ``numeric`` float32 [B, N], ``label`` int64 [B], ``weight`` float32 [B]."""

    categorical: Tensor
    numeric: Tensor
    label: Tensor
    weight: Tensor

    @classmethod
    def of(cls, categorical: np.ndarray, numeric: np.ndarray, label: np.ndarray) -> "Batch":
        """Tensors over the given arrays, without a copy, with weight 1.

        Raises:
            UserError: the arrays differ in their number of rows, or a number is NaN or infinite.
        """
        if not len(categorical) == len(numeric) == len(label):
            raise UserError(
                f"numbers of rows differ: {len(categorical)} of ids, {len(numeric)} of numbers, {len(label)} of labels"
            )
        if not np.isfinite(numeric).all():
            row, column = np.argwhere(~np.isfinite(numeric))[0]
            raise UserError(
                f"numeric column {column} is {numeric[row, column]} in row {row}; networks take finite numbers only: "
                "encode the table with TableEncoder"
            )
        return cls(
            torch.from_numpy(categorical),
            torch.from_numpy(numeric),
            torch.from_numpy(label.astype(np.int64)),
            torch.ones(len(label)),
        )

    @property
    def num_bytes(self) -> int:
        """Memory of the tensors, in bytes."""
        return sum(part.nbytes for part in self)


class Batches:
    """Batches of a whole split, once through per iteration.

    An epoch's rows are cut into ``ceil(rows / batch_size)`` batches of nearly equal size, so that none is too small
    for batch statistics and every rank takes as many steps. ``batch_size`` counts the rows of all ranks together: the
    batches that the ranks see at one step are the pieces of one process's batch, each row of an epoch goes to exactly
    one rank, and weights are scaled so that the mean of the ranks' losses is the mean over the whole batch.

    Args:
        rows: the split, on the device on which batches are wanted or on the host.
        batch_size: the most rows of a batch, over all ranks.
        shuffle: draw a new order each epoch, from ``seed`` and the epoch's number alone.
        blocks: shuffle blocks of rows that lie side by side, and rows within a few blocks at a time: for rows that are
            memory-mapped and larger than memory: each row is then read once an epoch, in long sequential reads.
        seed: seed of the orders.
        rank: the piece of this process.
        num_ranks: number of pieces.
        device: device of the batches; indexing happens on the device of ``rows``.
    """

    def __init__(
        self,
        rows: Batch,
        batch_size: int,
        *,
        shuffle: bool = False,
        blocks: bool = False,
        seed: int = 0,
        rank: int = 0,
        num_ranks: int = 1,
        device: torch.device | str = "cpu",
    ) -> None:
        assert batch_size >= num_ranks
        assert 0 <= rank < num_ranks
        self.rows = rows
        self.shuffle = shuffle
        self.blocks = blocks
        self.seed = seed
        self.rank = rank
        self.num_ranks = num_ranks
        self.device = torch.device(device)
        self.num_rows = len(rows.label)
        self.num_batches = math.ceil(self.num_rows / batch_size)
        self.epoch = 0
        self.position = 0  # batches of this epoch already given
        self._goes_on = False

    def __len__(self) -> int:
        return self.num_batches

    def __iter__(self) -> Iterator[Batch]:
        """A new epoch, or the rest of the epoch of a loaded state."""
        if self.position == self.num_batches or not self._goes_on:
            self.epoch += self.position > 0
            self.position = 0
        self._goes_on = False
        order = self._order() if self.shuffle else None
        while self.position < self.num_batches:
            self.position += 1
            yield self._batch(order, self.position - 1)

    def _order(self) -> Tensor:
        # Drawn on the host, so that the order is the same whatever the accelerator; by NumPy, since torch's host
        # generator tells seeds apart by their lower 32 bits only.
        draw = np.random.default_rng((self.seed, self.epoch))
        if self.blocks:
            order = np.concatenate([draw.permutation(np.concatenate(some)) for some in self._stretches(draw)])
        else:
            order = draw.permutation(self.num_rows)
        return torch.from_numpy(order).to(self.rows.label.device)

    def _stretches(self, draw: np.random.Generator) -> Iterator[list[np.ndarray]]:
        """Blocks of rows in random order; yields the rows of the blocks that are shuffled together."""
        starts = draw.permutation(np.arange(0, self.num_rows, BLOCK))
        for first in range(0, len(starts), BLOCKS_TOGETHER):
            together = starts[first : first + BLOCKS_TOGETHER]
            yield [np.arange(start, min(start + BLOCK, self.num_rows)) for start in together]

    def _batch(self, order: Tensor | None, index: int) -> Batch:
        batch_start, batch_stop = self._cut(0, self.num_rows, self.num_batches, index)
        start, stop = self._cut(batch_start, batch_stop, self.num_ranks, self.rank)
        if order is None:
            batch = Batch(*(part[start:stop] for part in self.rows))
        else:
            chosen = order[start:stop]
            batch = Batch(*(part.index_select(0, chosen) for part in self.rows))
        share = self.num_ranks * (stop - start) / (batch_stop - batch_start)
        if share != 1:
            batch = batch._replace(weight=batch.weight * share)
        return Batch(*(part.to(self.device, non_blocking=True) for part in batch))

    @staticmethod
    def _cut(start: int, stop: int, pieces: int, piece: int) -> tuple[int, int]:
        """Bounds of one of ``pieces`` nearly equal pieces of [start, stop)."""
        size = stop - start
        return start + size * piece // pieces, start + size * (piece + 1) // pieces

    def state_dict(self) -> dict[str, Any]:
        """Position of the iteration: enough to continue with the next batch."""
        names = ("epoch", "position", "seed", "num_rows", "blocks")
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from ``state``.

        Raises:
            ValueError: the state belongs to another number of rows or another seed.
        """
        if (state["num_rows"], state["seed"]) != (self.num_rows, self.seed):
            raise ValueError(
                f"this state belongs to {state['num_rows']} rows with seed {state['seed']}, "
                f"not to {self.num_rows} rows with seed {self.seed}"
            )
        self.epoch, self.position, self.blocks = state["epoch"], state["position"], state["blocks"]
        self._goes_on = True
