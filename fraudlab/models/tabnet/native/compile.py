"""Compiles the C sources beside it on the machine it runs on, once, and loads them."""

import ctypes
import functools
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

import torch

log = logging.getLogger(__name__)

SOURCES = tuple(Path(__file__).with_name(name) for name in ("encoder.c", "inputs.c"))
REALS = {torch.float32: "float", torch.float64: "double"}
FLAGS = (
    "-O3",
    "-march=native",
    "-std=gnu11",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fopenmp-simd",
    "-fPIC",
    "-shared",
)


@functools.cache
def operations(real: str) -> ctypes.CDLL | None:
    """The compiled operations for ``real`` (``float`` or ``double``); None where no C compiler is found or it fails.

    Compiled libraries are kept in ``$FRAUDLAB_CACHE`` or ``~/.cache/fraudlab``, one for each source, compiler and
    processor. ``$CC`` names the compiler; ``FRAUDLAB_NATIVE=0`` does without.
    """
    if os.environ.get("FRAUDLAB_NATIVE") == "0":
        return None
    compiler = shutil.which(os.environ.get("CC") or "cc")
    if compiler is None:
        log.warning("no C compiler (cc) is found: TabNet trains on the CPU in plain PyTorch, several times slower")
        return None
    try:
        return _load(_compiled(compiler, real))
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or error
        log.warning("TabNet trains on the CPU in plain PyTorch, several times slower; %s failed: %s", compiler, said)
        return None


def _compiled(compiler: str, real: str) -> Path:
    version = _run([compiler, "--version"])
    key = "\0".join([*(source.read_text(encoding="utf-8") for source in SOURCES), version, real, *FLAGS, _processor()])
    folder = Path(os.environ.get("FRAUDLAB_CACHE") or Path.home() / ".cache" / "fraudlab")
    made = folder / f"tabnet_{real}_{hashlib.sha256(key.encode()).hexdigest()[:16]}.so"
    if not made.exists():
        log.info("compiling TabNet's encoder for this machine, once: about 20 s")
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as aside:  # renamed when whole: another process may be at it too
            out = Path(aside) / made.name
            kind = [f"-DREAL={real}", *(["-DSINGLE"] if real == "float" else [])]
            command = [compiler, *FLAGS, *kind, *map(str, SOURCES), "-o", str(out), "-lm"]
            try:
                _run([*command, "-fopenmp"])
            except subprocess.CalledProcessError:  # Apple's compiler has no OpenMP: one thread then
                _run(command)
            out.replace(made)
    return made


def _run(command: list[str]) -> str:
    # The compiler is the user's own, $CC or cc.
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout  # noqa: S603


def _processor() -> str:
    """What ``-march=native`` depends on."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.platform() + platform.processor()
    return "\n".join(sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))}))


def _load(path: Path) -> ctypes.CDLL:
    # torch is loaded by now, and with it the OpenMP runtime that these operations share.
    loaded = ctypes.CDLL(str(path))
    for name in ("tabnet_forward", "tabnet_backward", "tabnet_inputs_forward", "tabnet_inputs_backward"):
        getattr(loaded, name).restype = ctypes.c_int64
    return loaded


def usable(tensor: torch.Tensor, training: bool) -> bool:
    """Whether the compiled operations can stand in for PyTorch's on ``tensor``: plain float32 or float64 on the CPU.

    In evaluation they keep nothing for a backward pass, so PyTorch's serve where gradients are recorded.
    """
    return (
        tensor.device.type == "cpu"
        and tensor.dtype in REALS
        and (training or not torch.is_grad_enabled())
        and not torch.compiler.is_compiling()
        and not torch.is_autocast_enabled("cpu")
        and operations(REALS[tensor.dtype]) is not None
    )
