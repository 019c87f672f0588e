"""A gate fails for what is missing, and no failure of an installer passes for a missing network."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.support.must import installer_failed, missing
from tests.support.workflows import outside_make


def test_what_is_missing_is_skipped_and_fails_a_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FRAUDLAB_MUST", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no cat"):
        missing("there is no cat")
    monkeypatch.setenv("FRAUDLAB_MUST", "1")
    with pytest.raises(pytest.fail.Exception, match="no cat"):
        missing("there is no cat")


OFFLINE = (
    "WARNING: Retrying (Retry(total=4)) after connection broken by 'NewConnectionError(...)': /simple/numpy/",
    "error: Failed to fetch: `https://index.example/simple/numpy/`\n  Caused by: error sending request for url",
)
BROKEN = (
    "ERROR: Cannot install a==1 and b==2 because these package versions have conflicting dependencies.",
    "ERROR: Could not find a version that satisfies the requirement nothing==9 (from versions: 1.0)",
    "No solution found when resolving dependencies",
)


@pytest.mark.parametrize("said", OFFLINE)
def test_an_index_that_does_not_answer_is_skipped(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FRAUDLAB_MUST", raising=False)
    with pytest.raises(pytest.skip.Exception):
        installer_failed(said)
    monkeypatch.setenv("FRAUDLAB_MUST", "1")
    with pytest.raises(pytest.fail.Exception):
        installer_failed(said)


@pytest.mark.parametrize("said", BROKEN)
def test_packages_that_do_not_fit_together_fail(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FRAUDLAB_MUST", raising=False)
    with pytest.raises(pytest.fail.Exception):
        installer_failed(said)


@pytest.mark.parametrize(("must", "status"), [("", 0), ("1", 2)])
def test_make_debian_fails_for_what_is_missing_where_it_must_be_there(tmp_path: Path, must: str, status: int) -> None:
    for name, body in {"apt-get": "exit 100", "dpkg": "exit 1", "sudo": "exit 1", "id": "echo 0"}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    done = subprocess.run(
        ["make", "debian", "DEBIAN=debootstrap"], cwd=REPOSITORY, capture_output=True, text=True,
        env=outside_make() | {"FRAUDLAB_MUST": must, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
    )  # fmt: skip
    assert (done.returncode, "not installed: debootstrap" in done.stdout) == (status, True), done.stdout + done.stderr
