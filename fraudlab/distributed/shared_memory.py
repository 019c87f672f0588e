"""Memory that the processes of one machine share."""

import mmap
import os
import socket
import tempfile
from collections.abc import Callable

import torch

from fraudlab.distributed.barrier import Barrier

ALIGNMENT = 64  # bytes: a cache line, and a multiple of every dtype's size


class SharedMemory:
    """A slot for each process, which it alone writes and all read.

    There are two sets of slots, used by turns: a process that is ahead writes into the one set while another still
    reads the other, and none gets further ahead, since it would have to pass the barrier between.

    Args:
        num_bytes: size of a slot.
        rank, num_ranks, broadcast, timeout: as in :class:`Barrier`.

    Attributes:
        sets: the slots, uint8 [2, processes, bytes].
        turn: which set is to be written to before the next :meth:`meet`.
    """

    def __init__(
        self, num_bytes: int, rank: int, num_ranks: int, broadcast: Callable[[str], str], timeout: float
    ) -> None:
        self._barrier = Barrier(rank, num_ranks, broadcast, timeout)
        size = aligned(num_bytes)
        if rank == 0:
            descriptor = _anonymous_file(2 * num_ranks * size)
            for peer in self._barrier.peers:
                socket.send_fds(peer, [b"\0"], [descriptor])
        else:
            _, (descriptor,), _, _ = socket.recv_fds(self._barrier.peers[0], 1, 1)
        memory = mmap.mmap(descriptor, 2 * num_ranks * size)
        os.close(descriptor)
        self.sets = torch.frombuffer(memory, dtype=torch.uint8).view(2, num_ranks, size)
        self.turn = 0

    def meet(self) -> None:
        """Come back when every process has written its slot of this turn's set, which may then be read.

        It may be read until this process is here again.

        Raises:
            ConnectionError, TimeoutError: as :meth:`Barrier.wait`.
        """
        self._barrier.wait()
        self.turn = 1 - self.turn


def aligned(num_bytes: int) -> int:
    """``num_bytes`` rounded up to where another tensor may begin."""
    return -(-num_bytes // ALIGNMENT) * ALIGNMENT


def _anonymous_file(num_bytes: int) -> int:
    """A file without a name, as a descriptor: it goes with the last process that has it."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("fraudlab")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.truncate(descriptor, num_bytes)
    return descriptor
