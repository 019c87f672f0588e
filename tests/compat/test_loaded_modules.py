"""What ``import fraudlab`` and each command's ``--help`` load: never what takes seconds to import."""

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
