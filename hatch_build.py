"""Puts TabNet's encoder, compiled, into the wheel where HATCH_BUILD_HOOK_ENABLE_CUSTOM=true asks for it: make wheel."""

import os
import platform
import re
import runpy
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NATIVE = "fraudlab/models/tabnet/native"
OLDEST_GLIBC = 17  # that a name of a wheel can tell


class EncoderHook(BuildHookInterface):
    """One library for each level of x86-64 and each kind of real number; the wheel's name tells the glibc they need."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
            raise SystemExit("a wheel with TabNet's encoder is built on Linux on x86-64")
        native = runpy.run_path(str(Path(self.root, NATIVE, "build.py")))
        self._aside = TemporaryDirectory()
        wanted = [(real, level) for real in native["REALS"] for level in native["LEVELS"]]
        made = [Path(self._aside.name, native["shipped"](*each)) for each in wanted]
        compiler = os.environ.get("CC", "cc")
        with ThreadPoolExecutor() as threads:
            list(threads.map(lambda each, out: native["build"](compiler, *each, out), wanted, made))
        needed = [int(number) for path in made for number in re.findall(rb"GLIBC_2\.(\d+)", path.read_bytes())]
        build_data["force_include"] |= {str(path): f"{NATIVE}/{path.name}" for path in made}
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-manylinux_2_{max(OLDEST_GLIBC, *needed)}_x86_64"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        self._aside.cleanup()
