"""Finds the C sources beside it compiled: in the wheel, or else made on this machine, once; and loads them."""

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

from fraudlab.models.tabnet.native import build

log = logging.getLogger(__name__)

REALS = {torch.float32: "float", torch.float64: "double"}


@functools.cache
def operations(real: str) -> ctypes.CDLL | None:
    """The compiled operations for ``real`` (``float`` or ``double``); None where there are none and none can be made.

    Some wheels carry them for Linux on x86-64. Elsewhere they are compiled, and kept in ``$FRAUDLAB_CACHE`` or
    ``~/.cache/fraudlab``, one library for each source, compiler and processor. ``$CC`` names the compiler;
    ``FRAUDLAB_NATIVE=0`` does without.
    """
    if os.environ.get("FRAUDLAB_NATIVE") == "0":
        return None
    for level in build.levels(_flags()):
        made = Path(__file__).with_name(build.shipped(real, level))
        if made.exists():
            try:
                return _load(made)
            except OSError as error:
                log.warning("TabNet's encoder is compiled anew: %s", error)
    compiler = shutil.which(os.environ.get("CC") or "cc")
    if compiler is None:
        log.warning("no C compiler (cc) found: TabNet trains on the CPU in plain PyTorch, several times slower")
        return None
    try:
        return _load(_compiled(compiler, real))
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or error
        log.warning("TabNet trains on the CPU in plain PyTorch, several times slower; %s failed: %s", compiler, said)
        return None


def _compiled(compiler: str, real: str) -> Path:
    version = build.run([compiler, "--version"])
    sources = (source.read_text(encoding="utf-8") for source in build.SOURCES)
    key = "\0".join([*sources, version, *build.flags(real, "native"), *build.THREADS, *_processor()])
    folder = Path(os.environ.get("FRAUDLAB_CACHE") or Path.home() / ".cache" / "fraudlab")
    made = folder / f"tabnet_{real}_{hashlib.sha256(key.encode()).hexdigest()[:16]}.so"
    if not made.exists():
        log.info("compiling TabNet's encoder for this machine, once: about 20 s")
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as aside:  # renamed when whole: another process may be at it too
            out = Path(aside) / made.name
            build.build(compiler, real, "native", out)
            out.replace(made)
    return made


def _processor() -> list[str]:
    """What ``-march=native`` depends on."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return [platform.platform() + platform.processor()]
    return sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))})


def _flags() -> set[str]:
    """Of the processor, where it is one that wheels carry libraries for."""
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        return set()
    return {word for line in _processor() if line.startswith("flags") for word in line.partition(":")[2].split()}


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
