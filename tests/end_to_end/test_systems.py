"""Training, export and prediction where Python has none of the modules that Windows lacks."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fraudlab import bundle as bundles
from tests.conftest import REPOSITORY
from tests.support.tables import write_table

pytestmark = pytest.mark.slow  # imports PyTorch anew for each command

# Read by Python when it starts. Windows locks bytes of a file, as POSIX's own such locks do, which stand in for them.
WITHOUT = """
import os, sys, types
import subprocess  # which tells the system by asking for msvcrt
class Blocked:
    def find_spec(name, path=None, target=None):
        if name == "resource" and "psutil" in sys.modules:  # psutil asks for it on Linux alone
            return None
        if name in ("fcntl", "resource", "uvloop", "termios", "grp"):
            raise ModuleNotFoundError("blocked: " + name, name=name)
sys.meta_path.insert(0, Blocked)
for name in ("fcntl", "resource", "grp"):
    sys.modules.pop(name, None)
locks = types.ModuleType("msvcrt")
locks.LK_NBLCK = 2
def locking(descriptor, mode, length):
    assert mode == locks.LK_NBLCK
    os.lockf(descriptor, os.F_TLOCK, length)
locks.locking = locking
sys.modules["msvcrt"] = locks
"""
LOCKED = """
import os, subprocess, sys
from pathlib import Path
from fraudlab.files import fcntl, lock, make_once
from fraudlab.runs.provenance import peak_memory_bytes, resource
assert fcntl is None and resource is None
assert peak_memory_bytes() > 2**20
with open("held", "w") as held:
    assert lock(held.fileno()) and held.tell() == 0
    asked = "from fraudlab.files import lock; file = open('held', 'r+'); print(lock(file.fileno(), wait=False))"
    print(subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True).stdout.strip())
with open("held", "r+") as held:
    print(lock(held.fileno(), wait=False))
make_once(Path("made"), lambda path: path.write_text("once"))
print(Path("made").read_text())
"""


def test_a_model_is_trained_exported_and_used_without_modules_of_posix(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(WITHOUT)
    env = {**os.environ, "PYTHONPATH": f"{tmp_path}/site:{REPOSITORY}"}

    def ran(*words: str) -> str:
        done = subprocess.run([sys.executable, *words], cwd=tmp_path, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert ran("-c", LOCKED).split() == ["False", "True", "once"]
    write_table(tmp_path / "table.csv")
    own = ("data=table", "data.path=table.csv", "data.label=fraud", "data.time=time", "features=columns")
    quick = ("split=time_fraction", "experiment=none", "debug=fast", "batch_size=32", "hydra.run.dir=run")
    ran("-m", "fraudlab.train", *own, *quick)
    ran("-m", "fraudlab.export", "run=run")
    ran("-m", "fraudlab.predict", "bundle=run/bundle", "input=table.csv", "output=scores.csv")
    assert len((tmp_path / "scores.csv").read_text().splitlines()) == 601
    bundles.load(tmp_path / "run" / "bundle").check()
