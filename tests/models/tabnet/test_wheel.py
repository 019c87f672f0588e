"""The wheel that carries the encoder compiled: for which processors, and that it is used where there is no compiler."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from fraudlab.models.tabnet.native import build
from fraudlab.models.tabnet.native.compile import _flags
from tests.conftest import REPOSITORY

LOADER = Path("/lib64/ld-linux-x86-64.so.2")
# A step of training with the operations as they are found, and in plain PyTorch.
PROGRAM = """
import logging, os
logging.basicConfig()
import torch
from fraudlab.models.tabnet import TabNet
from fraudlab.models.tabnet.native.compile import operations

def step(dtype):
    torch.manual_seed(0)
    network = TabNet([5, 9], 6, virtual_batch_size=64).to(dtype)
    ids = torch.stack([torch.randint(0, most, (256,)) for most in (5, 9)], dim=1)
    output = network(ids, torch.randn(256, 6).to(dtype))
    (output.logits.square().mean() + output.penalty).backward()
    return torch.cat([output.logits.detach().flatten(), *(each.grad.flatten() for each in network.parameters())])

kinds = (torch.float32, torch.float64)
found = [step(dtype) for dtype in kinds]
print(*(loaded._name if loaded else None for loaded in map(operations, ("float", "double"))))
os.environ["FRAUDLAB_NATIVE"] = "0"
operations.cache_clear()
expected = [step(dtype) for dtype in kinds]
print(*(float((one - other).abs().max() / other.abs().max()) for one, other in zip(found, expected)))
"""


@pytest.mark.skipif(not LOADER.exists(), reason="the loader of Linux on x86-64 is not here")
def test_the_levels_of_this_processor_are_those_that_the_loader_tells() -> None:
    told = subprocess.run([LOADER, "--help"], capture_output=True, text=True).stdout
    if "x86-64-v3" not in told:
        pytest.skip("the loader knows no levels")
    assert build.levels(_flags()) == re.findall(r"(x86-64-v[34]) \(supported", told)


def test_a_processor_takes_the_best_level_of_which_it_lacks_nothing() -> None:
    v4, v3 = build.LEVELS.values()
    assert list(build.LEVELS) == build.levels(v4) == ["x86-64-v4", "x86-64-v3"]
    assert build.levels(v4 - {"avx512vl"}) == build.levels(v3) == ["x86-64-v3"]
    assert build.levels(v4 - {"fma"}) == build.levels(()) == []


@pytest.mark.slow
def test_a_wheel_carries_the_encoder_and_needs_no_compiler(tmp_path: Path) -> None:
    if shutil.which("cc") is None or not build.levels(_flags()):
        pytest.skip("no C compiler, or none of these processors")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", tmp_path, REPOSITORY],
        env=os.environ | {"HATCH_BUILD_HOOK_ENABLE_CUSTOM": "true"}, check=True, capture_output=True,
    )  # fmt: skip
    (wheel,) = tmp_path.glob("fraudlab-*-py3-none-manylinux_2_*_x86_64.whl")
    site = tmp_path / "site"
    ZipFile(wheel).extractall(site)
    native = site / "fraudlab" / "models" / "tabnet" / "native"
    kinds = [(real, level) for real in ("float", "double") for level in ("x86-64-v4", "x86-64-v3")]
    libraries = {each: native / build.shipped(*each) for each in kinds}
    assert set(native.glob("*.so")) == set(libraries.values())
    # AVX-512 has registers of its own, which the lower level must not use.
    for (_, level), path in libraries.items():
        code = subprocess.run(["objdump", "-d", path], capture_output=True, text=True, check=True).stdout
        assert ("%zmm" in code) == (level == "x86-64-v4")

    empty = tmp_path / "empty"
    empty.mkdir()
    env = {"PATH": str(empty), "PYTHONPATH": str(site), "HOME": str(empty), "OMP_NUM_THREADS": "1"}

    def ran() -> tuple[list[str], str]:
        done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=empty, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        names, errors = done.stdout.splitlines()
        single, double = map(float, errors.split())
        assert single < 1e-3
        assert double < 1e-9
        return names.split(), done.stderr

    for level in build.levels(_flags()):
        names, said = ran()
        assert names == [str(libraries[real, level]) for real in ("float", "double")]
        assert "plain PyTorch" not in said
        for real in ("float", "double"):
            libraries[real, level].unlink()
    names, said = ran()
    assert names == ["None", "None"]
    assert "no C compiler" in said
    assert not list(empty.iterdir())
