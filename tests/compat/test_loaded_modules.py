"""What ``import fraudlab``, each command's ``--help`` and a fit load: never what takes seconds to import in vain."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fraudlab.cli import conf_dir

LIGHT = {"hydra", "omegaconf", "yaml"}
HEAVY = {
    *("torch", "lightning", "pytorch_tabnet", "numpy", "scipy", "pandas", "polars", "sklearn", "safetensors"),
    *("lightgbm", "xgboost", "catboost", "optuna", "sqlalchemy", "wandb", "tensorboard", "dvc", "google.cloud"),
    *("matplotlib", "jinja2", "onnx", "onnxscript", "onnxruntime", "litserve", "fastapi", "prometheus_client"),
}
HELP = """
import contextlib, io, json, runpy, sys
command = sys.argv[1]
before = set(sys.modules)
sys.argv = [command, "--help"]
said = io.StringIO()
with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
    runpy.run_module(f"fraudlab.{command}", run_name="__main__")
assert "Examples:" in said.getvalue()
print(json.dumps(sorted(set(sys.modules) - before)))
"""
FIT = """
import json, sys
from fraudlab.api import train
with open("t.csv", "w") as file:
    file.write("x,fraud\\n" + "".join(f"{n % 7},{int(n % 5 == 0)}\\n" for n in range(600)))
own = ("data=table", "data.path=t.csv", "data.label=fraud", "features=columns", "split=random", "model=mlp")
train(*own, "experiment=none", "trainer=cpu", "trainer.max_epochs=1", "report=false", path="run")
print(json.dumps(sorted(sys.modules)))
"""


def loaded(*words: str, cwd: Path) -> set[str]:
    """Modules that a program of ``python -c`` loads."""
    done = subprocess.run(
        [sys.executable, "-c", *words], cwd=cwd, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


def test_the_package_alone_loads_nothing_else(tmp_path: Path) -> None:
    new = "import sys, json; old = set(sys.modules); import fraudlab; print(json.dumps(sorted(set(sys.modules) - old)))"
    assert loaded(new, cwd=tmp_path) == {"fraudlab"}


@pytest.mark.parametrize("command", sorted(path.stem for path in conf_dir().glob("*.yaml")))
def test_help_loads_settings_alone(command: str, tmp_path: Path) -> None:
    modules = loaded(HELP, command, cwd=tmp_path)
    assert modules & (LIGHT | HEAVY) == LIGHT
    ours = {name for name in modules if name.startswith("fraudlab.") and not name.startswith("fraudlab.config")}
    assert ours <= {"fraudlab.cli", "fraudlab.errors"}


def test_a_fit_on_this_machine_loads_nothing_for_clouds(tmp_path: Path) -> None:
    assert not loaded(FIT, cwd=tmp_path) & {"s3fs", "gcsfs", "adlfs"}
