"""The DVC pipeline on a fresh clone: it runs to the end, is then up to date, and its results travel."""

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.conftest import REPOSITORY

STAGES = ["prepare", "train", "evaluate", "export"]


def run(folder: Path, *command: str) -> str:
    programs = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    # gcsfs would ask Google for a bucket's kind in a way that the emulator does not answer.
    environment |= {"PATH": programs, "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def status(folder: Path, *arguments: str) -> dict:
    return json.loads(run(folder, "dvc", "status", "--json", *arguments))


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What git tracks, as it is now, in a repository of its own without any output."""
    if not (REPOSITORY / ".git").exists():
        pytest.skip("no git checkout")
    folder = tmp_path_factory.mktemp("clone")
    for name in run(REPOSITORY, "git", "ls-files").splitlines():
        if (REPOSITORY / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, folder / name)
    run(folder, "git", "init", "--quiet")
    run(folder, "git", "add", "--all")
    run(folder, "git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "--quiet", "-m", "clone")
    return folder


@pytest.fixture(scope="module")
def reproduced(clone: Path) -> Path:
    run(clone, "dvc", "repro")
    return clone


def test_the_lock_is_of_this_tree(clone: Path) -> None:
    """Only results are missing on a fresh clone: no code, setting or command is another than in ``dvc.lock``."""
    stale = []
    for stage, changes in status(clone).items():
        for change in changes:  # {"changed deps": {path: how}}, or the words "changed command"
            files = {"command": change} if isinstance(change, str) else next(iter(change.values()))
            stale += [f"{stage}: {file}" for file, how in files.items() if how not in ("deleted", "not in cache")]
    assert not stale, f"dvc.lock is out of date; run `make pipeline` and commit dvc.lock ({', '.join(stale)})"


def test_after_a_run_everything_is_up_to_date(reproduced: Path) -> None:
    assert status(reproduced) == {}
    assert list(yaml.safe_load((reproduced / "dvc.lock").read_text())["stages"]) == STAGES
    # Every line of the lock but what came out is as committed.
    changed = run(reproduced, "git", "diff", "--unified=0", "dvc.lock").splitlines()[4:]
    fields = {line[1:].split(":")[0].strip() for line in changed if line[:1] in "+-"}
    assert fields <= {"md5", "size", "nfiles"}


def test_its_figures_and_curves_are_shown(reproduced: Path) -> None:
    shown = json.loads(run(reproduced, "dvc", "metrics", "show", "--json"))
    figures = json.loads((reproduced / "outputs/dvc/train/metrics.json").read_text())
    ((_, found),) = shown[""]["data"].items()
    for part in ("val", "test"):
        assert found["data"][part] == figures[part]
    plots = json.loads(run(reproduced, "dvc", "plots", "show", "--json"))
    assert set(plots["data"]) == {"precision and recall", "alerts and recall"}
    assert not plots.get("errors")


def test_a_changed_setting_concerns_its_stage_alone(reproduced: Path) -> None:
    file = reproduced / "params.yaml"
    before = file.read_text()
    file.write_text(before.replace("calibration=platt", "calibration=none"))
    try:
        assert list(status(reproduced)) == ["export"]
    finally:
        file.write_text(before)


@pytest.fixture
def bucket() -> Iterator[dict[str, str]]:
    """A bucket of an emulated Google Cloud Storage."""
    from gcp_storage_emulator.server import create_server

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = create_server("127.0.0.1", port, in_memory=True, default_bucket="pipeline")
    server.start()
    yield {"url": "gs://pipeline/store", "endpointurl": f"http://127.0.0.1:{port}"}
    server.stop()


def travels(folder: Path, remote: str) -> None:
    """Push, lose everything, pull: the same bundle is back and nothing needs to run again."""
    bundle = folder / "outputs/dvc/bundle"
    before = {file.name: file.read_bytes() for file in bundle.rglob("*") if file.is_file()}
    run(folder, "dvc", "push", "--remote", remote)
    shutil.rmtree(folder / "outputs")
    shutil.rmtree(folder / ".dvc/cache")
    run(folder, "dvc", "pull", "--remote", remote)
    assert {file.name: file.read_bytes() for file in bundle.rglob("*") if file.is_file()} == before
    assert status(folder) == {}


def test_results_travel_through_a_folder(reproduced: Path, tmp_path: Path) -> None:
    run(reproduced, "dvc", "remote", "add", "--local", "--force", "folder", str(tmp_path / "store"))
    travels(reproduced, "folder")


def test_results_travel_through_google_cloud_storage(reproduced: Path, bucket: dict[str, str]) -> None:
    run(reproduced, "dvc", "remote", "add", "--local", "--force", "cloud", bucket["url"])
    run(reproduced, "dvc", "remote", "modify", "--local", "cloud", "endpointurl", bucket["endpointurl"])
    run(reproduced, "dvc", "remote", "modify", "--local", "cloud", "allow_anonymous_login", "true")
    travels(reproduced, "cloud")


def test_a_changed_setting_is_trained_with(reproduced: Path) -> None:
    """Last, since it leaves other results: nothing that the training before left is taken for the new one's."""
    file = reproduced / "params.yaml"
    file.write_text(file.read_text().replace("trainer.max_epochs=8", "trainer.max_epochs=2"))
    run(reproduced, "dvc", "repro", "train")
    fits = [
        json.loads((reproduced / "outputs/dvc/train" / part / "fit.json").read_text()) for part in (".", "selection")
    ]
    assert fits[1]["epochs"] == 2
    assert fits[0]["epochs"] <= 2
