"""What make says, where its output is redirected."""

import os
import re
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


def made(folder: Path, *words: str, stderr: int = subprocess.PIPE) -> subprocess.CompletedProcess[str]:
    """``make`` in a folder that has what it reads, with the Python above."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        if not (folder / name).exists():
            shutil.copy2(REPOSITORY / name, folder)
    python = folder / "python"
    python.write_text(PYTHON)
    python.chmod(0o755)
    # As from a shell: below make test it would be told to say which folder it enters.
    done = subprocess.run(
        ["make", *words, f"PYTHON={python}"],
        cwd=folder, stdout=subprocess.PIPE, stderr=stderr, text=True, timeout=60, check=False, env=outside_make(),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done


def test_the_first_output_of_wandb_sweep_is_the_sweep_alone(tmp_path: Path) -> None:
    done = made(tmp_path, "wandb-sweep", "SWEEP=mine")
    assert done.stdout == "noise of -m fraudlab.sweep sweep=mine wandb=true\n"
    assert "noise of -m venv .venv" in done.stderr


def test_training_installs_what_it_needs_and_the_suite_all(tmp_path: Path) -> None:
    said = made(tmp_path, "train").stderr
    assert re.findall(r"^\d of 3: (\w+)", said, re.MULTILINE) == ["making", "installing", "installing"]
    assert "noise of install --quiet -c constraints.txt -e .[train,export,serve]\n" in said
    assert "install" not in made(tmp_path, "train").stderr
    everything = re.search(r"^EXTRAS := (.*)$", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    assert everything is not None
    assert f"-e .[{everything[1]}]\n" in made(tmp_path, "test").stderr
    for target in ("test", "train", "serve"):
        assert "install" not in made(tmp_path, target).stderr
    (tmp_path / "constraints.txt").touch()
    assert f"-e .[{everything[1]}]\n" in made(tmp_path, "train").stderr  # what is there stays as it should be


def test_pip_shows_its_progress_at_a_terminal(tmp_path: Path) -> None:
    here, terminal = os.openpty()
    try:
        made(tmp_path, "train", stderr=terminal)
        assert b"noise of install -c constraints.txt" in os.read(here, 1 << 16)
    finally:
        os.close(here)
        os.close(terminal)


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
