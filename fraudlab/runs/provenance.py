"""What a run records of its code, packages and machine."""

import contextlib
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

PACKAGES = (
    *("fraudlab", "torch", "lightning", "pytorch-tabnet", "numpy", "polars", "hydra-core", "omegaconf"),
    *("scikit-learn", "lightgbm", "xgboost-cpu", "xgboost", "catboost"),
)


def peak_memory_bytes() -> int:
    """Peak resident memory of this process so far, in bytes."""
    if resource is None:
        import psutil

        memory = psutil.Process().memory_info()
        return int(getattr(memory, "peak_wset", memory.rss))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def versions(packages: Sequence[str]) -> dict[str, str]:
    """Version of each of ``packages`` that is installed."""
    found = {}
    for package in packages:
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def git_commit() -> str | None:
    """Commit of the checkout the package runs from, with ``+changes`` if files differ; None outside one."""
    where = Path(__file__).parent

    def git(*arguments: str) -> str:
        return subprocess.run(  # noqa: S603
            ["git", *arguments],  # noqa: S607
            cwd=where,
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return None
