"""Real processes of one machine that share memory and wait for each other."""

import multiprocessing
import os
import time
from collections.abc import Callable
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier

import pytest
import torch

from fraudlab.distributed.shared_memory import SharedMemory

RANKS = 3
TURNS = 300
SIZE = 1000  # bytes; not a multiple of a cache line
Start = tuple[Queue, Barrier]  # for the address of the first process, and for all to begin together


def opened(rank: int, start: Start, timeout: float = 30) -> SharedMemory:
    addresses, ready = start

    def broadcast(address: str) -> str:
        if rank > 0:
            return addresses.get(timeout=30)
        for _ in range(RANKS - 1):
            addresses.put(address)
        return address

    ready.wait(60)  # on a busy machine processes begin seconds apart
    return SharedMemory(SIZE, rank, RANKS, broadcast, timeout)


def sums_and_dies(rank: int, start: Start, said: Queue) -> None:
    """Every turn each process writes numbers of its own and sums what all wrote, now and then late; then one dies."""
    memory = opened(rank, start)
    seen = []
    for turn in range(TURNS):
        slots = memory.sets[memory.turn][:, :SIZE].view(torch.float64)
        slots[rank] = torch.arange(SIZE // 8) * (turn + 1) + rank
        if turn % 50 == 10 * rank:
            time.sleep(0.03)  # longer than the others look before they sleep
        memory.meet()
        seen.append(slots.sum(0))
    if rank == 1:
        os._exit(9)
    expected = [RANKS * torch.arange(SIZE // 8.0) * (turn + 1) + sum(range(RANKS)) for turn in range(TURNS)]
    assert all(torch.equal(one, other) for one, other in zip(seen, expected, strict=True))
    try:
        memory.meet()
    except ConnectionError as error:
        said.put(str(error))


def stays_away(rank: int, start: Start, said: Queue) -> None:
    memory = opened(rank, start, timeout=3 if rank == 0 else 30)
    if rank == 1:
        time.sleep(8)
        return
    try:
        memory.meet()
    except (TimeoutError, ConnectionError) as error:
        said.put(str(error))


@pytest.fixture
def together() -> Callable[..., list]:
    def run(what: Callable[[int, Start, Queue], None], answers: int) -> list:
        context = multiprocessing.get_context("spawn")
        start, said = (context.Queue(), context.Barrier(RANKS)), context.Queue()
        processes = [context.Process(target=what, args=(rank, start, said)) for rank in range(RANKS)]
        for process in processes:
            process.start()
        heard = [said.get(timeout=60) for _ in range(answers)]
        for process in processes:
            process.join(timeout=60)
        return sorted(heard)

    return run


def test_all_see_what_each_wrote_and_hear_of_one_that_died(together: Callable[..., list]) -> None:
    assert together(sums_and_dies, RANKS - 1) == ["another process of this fit has ended"] * (RANKS - 1)


def test_one_that_stays_away_is_not_waited_for_forever(together: Callable[..., list]) -> None:
    # The first process gives up; the one that waits for it hears that it has ended.
    assert together(stays_away, 2) == [
        "another process of this fit has ended",
        "another process of this fit has not come in 3 s",
    ]
