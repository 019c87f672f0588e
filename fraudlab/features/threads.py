"""How many threads to compute on, and work on columns in threads: NumPy and Polars let others run meanwhile."""

import os
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def cores() -> int:
    """Cores that this process may use: by its affinity and by the limit of its control group (a container's)."""
    own = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, int(min(own, cgroup_limit(Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")))))


def cgroup_limit(root: Path, groups: Path) -> float:
    """Cores that the control groups of Linux allow; infinity where they set no limit.

    Args:
        root: where control groups are mounted.
        groups: names the process's own, as ``/proc/self/cgroup`` does.
    """
    limit = float("inf")
    lines = groups.read_text().splitlines() if groups.is_file() else []
    for _, controllers, name in (line.split(":", 2) for line in lines):
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = root / controllers if controllers else root
        own = top / name.lstrip("/")
        for group in (own, *own.parents):  # in a container, the name may be the host's, and the limit at the top
            try:
                if controllers:  # version 1
                    quota = (group / "cpu.cfs_quota_us").read_text()
                    period = (group / "cpu.cfs_period_us").read_text()
                else:
                    quota, period = (group / "cpu.max").read_text().split()
            except OSError:
                quota, period = "max", "1"
            if quota.strip() not in ("max", "-1"):
                limit = min(limit, int(quota) / int(period))
            if group == top:
                break
    return limit


def default_threads() -> int:
    """Threads to compute on where no setting says: ``OMP_NUM_THREADS``, or the cores that are free now.

    More threads than free cores wait for each other at every step: ten times slower than one thread alone.
    """
    if (given := os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]).isdigit():
        return max(1, int(given))
    return max(1, min(cores(), round((os.cpu_count() or 1) - busy_cores(Path("/proc/stat")))))


def busy_cores(stat: Path) -> float:
    """Cores that other processes use now, over a quarter of a second in which this one sleeps.

    The load average will not do: it still counts what this process, or the command before it, did a minute ago.

    Args:
        stat: the kernel's counts of time, as ``/proc/stat``; 0 is the answer where there are none.
    """
    if not stat.is_file():
        return 0.0
    before = _times(stat)
    time.sleep(_WINDOW)
    passed = [now - then for now, then in zip(_times(stat), before, strict=True)]
    return (os.cpu_count() or 1) * (1 - (passed[_IDLE] + passed[_WAITING]) / sum(passed)) if sum(passed) else 0.0


_WINDOW = 0.25  # seconds; the kernel counts in hundredths
_IDLE, _WAITING = 3, 4  # columns of /proc/stat: see proc(5)


def _times(stat: Path) -> list[int]:
    return [int(ticks) for ticks in stat.read_text().split("\n", 1)[0].split()[1:9]]


THREADS = min(cores(), 8)  # more wait for each other's memory


def in_threads(work: Callable[[Item], Result], items: Iterable[Item], threads: int = THREADS) -> list[Result]:
    """What ``work`` gives for each of ``items``, in their order; the first error in that order is raised."""
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, items))
