"""Where tasks run, by one interface: in threads of this process, or on a Ray cluster (``on_ray``)."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
Handle = TypeVar("Handle")


class Engine(Protocol):
    """Runs tasks.

    Attributes:
        apart: whether they run in other processes, perhaps on other machines: they see files, not this one's memory.
    """

    apart: bool

    def map(
        self, work: Callable[[Item], Result], items: Iterable[Item], *, at_once: int = 1, memory: float = 0.0
    ) -> Iterator[Result]:
        """What ``work`` gives for each of ``items``, in their order; few items are taken before they are worked at.

        Args:
            work: one task. On a cluster it is pickled with all that it refers to, and is done again where its worker is
                killed; so what it writes it writes aside and renames.
            items: as many as there are tasks.
            at_once: how many threads of this process work; a cluster has a number of its own.
            memory: bytes that a task takes, by which a cluster places it.

        Raises:
            UserError: a task could not be done.
        """
        ...


class InThreads:
    """Threads of this process: for work that lets others run meanwhile, as NumPy, Polars and ONNX Runtime do."""

    apart = False

    def map(
        self, work: Callable[[Item], Result], items: Iterable[Item], *, at_once: int = 1, memory: float = 0.0
    ) -> Iterator[Result]:
        pool = ThreadPoolExecutor(at_once)
        try:
            yield from in_order(lambda item: pool.submit(work, item), Future.result, items, 2 * at_once)
        finally:
            pool.shutdown(cancel_futures=True)


def in_order(
    start: Callable[[Item], Handle], result: Callable[[Handle], Result], items: Iterable[Item], ahead: int
) -> Iterator[Result]:
    """What was started for each item, in their order, with at most ``ahead`` of them waiting."""
    waiting: deque[Handle] = deque()
    for item in items:
        waiting.append(start(item))
        if len(waiting) > ahead:
            yield result(waiting.popleft())
    while waiting:
        yield result(waiting.popleft())
