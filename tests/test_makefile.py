"""What make says, where its output is redirected."""

import shutil
import subprocess
from pathlib import Path

from tests.conftest import REPOSITORY
from tests.support.workflows import outside_make

# Stands for a Python whose virtual environment holds itself, and for pip: both talk a lot.
PYTHON = """#!/bin/sh
echo "noise of $*"
case "$*" in
  "-m venv .venv") mkdir -p .venv/bin; cp "$0" .venv/bin/python; cp "$0" .venv/bin/pip ;;
esac
"""


def test_the_first_output_of_wandb_sweep_is_the_sweep_alone(tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(REPOSITORY / name, tmp_path)
    python = tmp_path / "python"
    python.write_text(PYTHON)
    python.chmod(0o755)
    done = subprocess.run(
        ["make", "wandb-sweep", "SWEEP=mine", f"PYTHON={python}"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
        # As from a shell: below make test it would be told to say which folder it enters.
        env=outside_make(),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == "noise of -m fraudlab.sweep sweep=mine wandb=true\n"
    assert "noise of -m venv .venv" in done.stderr


def test_what_smoke_makes_is_no_bundle_that_serve_finds() -> None:
    done = subprocess.run(
        ["make", "-n", "smoke-here", "VENV=.venv-smoke"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    words = done.stdout.split()
    places = [
        word.partition("=")[2] for word in words if word.startswith(("out=", "output=", "hydra.run.dir=", "run="))
    ]
    assert len(places) == 4
    assert all(place.startswith(".venv-smoke/") for place in places)
