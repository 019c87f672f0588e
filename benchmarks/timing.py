"""Two sides timed by turns in one process, and the memory of a process of its own."""

import gc
import re
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

MIB = 2**20


def by_turns(sides: Mapping[str, Callable[[], Any]], rounds: int, device: str, title: str) -> dict[str, list[float]]:
    """Seconds of each side's rounds, which run A B A B ... after one round of each that does not count.

    A side that returns a float has timed itself, for what of its round counts.
    """
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        for name, run in sides.items():
            taken = _timed(run, device)
            if number:
                seconds[name].append(taken)
            print(f"{title}  round {number}/{rounds}  {name}  {taken:.3f} s", file=sys.stderr, flush=True)
    return seconds


def _timed(run: Callable[[], Any], device: str) -> float:
    gc.collect()
    gc.disable()
    try:
        synchronize(device)
        started = time.perf_counter()
        own = run()
        synchronize(device)
        taken = time.perf_counter() - started
    finally:
        gc.enable()
    return own if isinstance(own, float) else taken


def synchronize(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def speed(seconds: list[float], rows: int, steps: int | None = None) -> dict[str, Any]:
    """Median rate of rounds of so many rows, and the median time of one of their steps."""
    median = statistics.median(seconds)
    metrics: dict[str, Any] = {"rows": rows, "seconds": seconds, "rows_per_s": rows / median}
    return metrics if steps is None else {**metrics, "steps": steps, "ms_per_step": 1000 * median / steps}


def peak_memory(run: Callable[[], Any], device: str) -> dict[str, float]:
    """MiB held before ``run``, at most during it, and the difference: of the process, or of CUDA's allocator."""
    gc.collect()
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated() / MIB
        run()
        torch.cuda.synchronize()
        peak = torch.cuda.max_memory_allocated() / MIB
    else:
        can_reset = _reset_peak()
        before = _status("VmRSS") if can_reset else _peak_since_start()
        run()
        peak = _status("VmHWM") if can_reset else _peak_since_start()
    return {"before_mib": before, "peak_mib": peak, "growth_mib": peak - before}


def _reset_peak() -> bool:
    """Make what is held now the peak so far (proc(5)), where the system lets a process do so."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _peak_since_start() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / MIB


def _status(entry: str) -> float:
    found = re.search(rf"^{entry}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found
    return int(found.group(1)) / 1024
