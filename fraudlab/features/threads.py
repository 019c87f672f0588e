"""Work on columns in threads: NumPy and Polars let others run while they compute."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

THREADS = min(os.cpu_count() or 1, 8)  # more wait for each other's memory


def in_threads(work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """What ``work`` gives for each of ``items``, in their order; the first error in that order is raised."""
    with ThreadPoolExecutor(THREADS) as threads:
        return list(threads.map(work, items))
