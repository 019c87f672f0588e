"""The DVC pipeline on a fresh clone with small data: it runs to the end, is then up to date, and its results travel."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.conftest import REPOSITORY
from tests.support.server import free_port

pytestmark = pytest.mark.slow  # a pipeline of four stages, run several times

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
    """What git tracks, as it is now, in a repository of its own: without any output, with a smaller table and fit."""
    if not (REPOSITORY / ".git").exists():
        pytest.skip("no git checkout")
    folder = tmp_path_factory.mktemp("clone")
    for name in run(REPOSITORY, "git", "ls-files").splitlines():
        if (REPOSITORY / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, folder / name)
    (folder / "dvc.lock").unlink()
    parameters = yaml.safe_load((folder / "params.yaml").read_text())
    parameters["prepare"]["overrides"] += " data.customers=120 data.terminals=600 data.radius=10"
    parameters["train"]["overrides"] += " trainer.max_epochs=2"
    (folder / "params.yaml").write_text(yaml.safe_dump(parameters))
    run(folder, "git", "init", "--quiet")
    run(folder, "git", "add", "--all")
    run(folder, "git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "--quiet", "-m", "clone")
    return folder


@pytest.fixture(scope="module")
def reproduced(clone: Path) -> Path:
    run(clone, "dvc", "repro")
    return clone


def checked(folder: Path) -> subprocess.CompletedProcess[str]:
    """``make check-pipeline``, with the programs of the environment that the tests run in."""
    (folder / ".venv/bin").mkdir(parents=True, exist_ok=True)
    (folder / ".venv/.ready").touch()
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    return subprocess.run(["make", "check-pipeline"], cwd=folder, env=environment, capture_output=True, text=True)


def test_after_a_run_everything_is_up_to_date(reproduced: Path) -> None:
    assert status(reproduced) == {}
    assert list(yaml.safe_load((reproduced / "dvc.lock").read_text())["stages"]) == STAGES


def test_a_lock_of_other_code_is_told_and_results_that_lie_elsewhere_are_not(reproduced: Path) -> None:
    shutil.move(reproduced / "outputs", reproduced / "elsewhere")  # as on a fresh clone
    file = reproduced / "conf/optimizer/adamw.yaml"
    before = file.read_text()
    try:
        fresh = checked(reproduced)
        assert fresh.returncode == 0, fresh.stdout + fresh.stderr
        file.write_text(before + "# changed\n")
        stale = checked(reproduced)
        assert stale.returncode != 0
        assert "run make pipeline" in stale.stdout
        assert "conf/optimizer" in stale.stdout
    finally:
        file.write_text(before)
        shutil.move(reproduced / "elsewhere", reproduced / "outputs")


def test_the_same_training_again_runs_no_later_stage_again(reproduced: Path) -> None:
    """Its seconds are others; what evaluate and export depend on is not."""
    fit = reproduced / "outputs/dvc/train/selection/fit.json"
    before = fit.read_bytes()
    run(reproduced, "dvc", "repro", "--force", "--single-item", "train")
    assert fit.read_bytes() != before
    assert status(reproduced) == {}


def test_its_figures_and_curves_are_shown(reproduced: Path) -> None:
    shown = json.loads(run(reproduced, "dvc", "metrics", "show", "--json"))
    metrics = json.loads((reproduced / "outputs/dvc/train/metrics.json").read_text())
    ((_, found),) = shown[""]["data"].items()
    for part in ("val", "test"):
        assert found["data"][part] == metrics[part]
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

    port = free_port()
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
    file.write_text(file.read_text().replace("trainer.max_epochs=2", "trainer.max_epochs=1"))
    run(reproduced, "dvc", "repro", "train")
    fits = [
        json.loads((reproduced / "outputs/dvc/train" / part / "fit.json").read_text()) for part in (".", "selection")
    ]
    assert [fit["epochs"] for fit in fits] == [1, 1]
