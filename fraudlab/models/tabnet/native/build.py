"""Builds a library of the C sources beside it. Needs the standard library alone: the build of a wheel runs it too."""

import platform
import subprocess
from collections.abc import Collection
from pathlib import Path

SOURCES = tuple(Path(__file__).with_name(name) for name in ("encoder.c", "inputs.c"))
FLAGS = ("-O3", "-std=gnu11", "-fno-math-errno", "-fno-trapping-math", "-fopenmp-simd", "-fPIC", "-shared")
THREADS = ("-fopenmp",)
REALS = ("float", "double")
TIMEOUT = 1800
"""Seconds that a compiler may take: it takes some 20, and one that hangs would hold a training for ever."""
_V3 = "cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3 avx avx2 bmi1 bmi2 f16c fma abm movbe xsave"
_V4 = f"{_V3} avx512f avx512bw avx512cd avx512dq avx512vl"
LEVELS = {"x86-64-v4": frozenset(_V4.split()), "x86-64-v3": frozenset(_V3.split())}
"""The processors that a wheel carries libraries for, the best first: by the x86-64 psABI, with what each has, as Linux
names it in ``/proc/cpuinfo``."""


def levels(flags: Collection[str]) -> list[str]:
    """Those of :data:`LEVELS` that a processor with these flags can run, the best first."""
    return [name for name, needed in LEVELS.items() if needed <= set(flags)]


def shipped(real: str, level: str) -> str:
    """The name of a wheel's library."""
    return f"tabnet_{real}_{level}.so"


def flags(real: str, processor: str) -> list[str]:
    """What :func:`build` gives the compiler, without :data:`THREADS`."""
    # A compiler that does not know a new processor tunes for an old one: GCC 12 on Zen 5 for Zen 3, a tenth slower.
    tuned = ["-mtune=generic"] if platform.machine() in ("x86_64", "AMD64") else []
    return [*FLAGS, f"-march={processor}", *tuned, f"-DREAL={real}", *(["-DSINGLE"] if real == "float" else [])]


def build(compiler: str, real: str, processor: str, out: Path) -> None:
    """Make the library ``out``.

    Args:
        compiler: that of C.
        real: ``float`` or ``double``, what it computes in.
        processor: as ``-march`` takes it.
        out: a file.

    Raises:
        OSError, subprocess.SubprocessError: the compiler failed.
    """
    command = [compiler, *flags(real, processor), *map(str, SOURCES), "-o", str(out), "-lm"]
    try:
        run([*command, *THREADS])
    except subprocess.CalledProcessError:  # Apple's compiler has no OpenMP: one thread then
        run(command)


def run(command: list[str]) -> str:
    """Give what a command prints."""
    # The compiler is the user's own, $CC or cc.
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=TIMEOUT).stdout  # noqa: S603
