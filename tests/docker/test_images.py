"""The images of ``docker/``: clean by their linters, and built and run step by step without an engine."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import yaml

from fraudlab import bundle as bundles
from tests.conftest import REPOSITORY
from tests.support import images
from tests.support.server import HASH_KEY, KEY

MOST_MEGABYTES = 600
READY_SECONDS = 3.0
DOCKERFILES = sorted((REPOSITORY / "docker").glob("*.dockerfile"))
FORBIDDEN = ("torch", "lightning", "pip", "setuptools", "hatchling")


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_hadolint_has_nothing_to_say(path: Path) -> None:
    done = subprocess.run([Path(sys.executable).with_name("hadolint"), path], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_compose_file_is_valid_and_names_what_is_there() -> None:
    check = [Path(sys.executable).with_name("check-jsonschema"), "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*check, REPOSITORY / "compose.yaml"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    services = yaml.safe_load((REPOSITORY / "compose.yaml").read_text())["services"]
    assert {"server", "redis", "prometheus", "alertmanager", "grafana", "gcs"} <= services.keys()
    for service in services.values():
        if "build" in service:
            assert (REPOSITORY / service["build"]["dockerfile"]).is_file()
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert not source.startswith(".") or (REPOSITORY / source).exists(), source


def ignored(text: str) -> list[str]:
    return [line for line in text.splitlines() if line and not line.startswith("#")]


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_what_is_copied_is_not_ignored(path: Path) -> None:
    kept = [line[1:] for line in ignored((REPOSITORY / ".dockerignore").read_text()) if line.startswith("!")]
    for name, words in images.steps(path):
        if name == "COPY" and "--from=" not in words:
            for source in words.split()[:-1]:
                assert source in kept
                assert source == "bundle" or (REPOSITORY / source).exists(), source


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A root of Debian 12, as its slim image is one; FRAUDLAB_TEST_BASE names one that is kept."""
    if not images.can_run():
        pytest.skip("images are built as root with debootstrap: apt-get install debootstrap")
    given = os.environ.get("FRAUDLAB_TEST_BASE")
    folder = Path(given) if given else tmp_path_factory.mktemp("images") / "base"
    if not (folder / "etc").is_dir():
        assert images.DEBOOTSTRAP is not None
        done = subprocess.run(
            [images.DEBOOTSTRAP, "--variant=minbase", "bookworm", str(folder)],
            capture_output=True,
            text=True,
        )
        if done.returncode:
            pytest.skip(f"no base can be made here: {done.stdout[-200:]}")
    yield folder
    if not given:
        shutil.rmtree(folder.parent, ignore_errors=True)


@pytest.fixture(scope="module")
def server(base: Path, exported: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> images.Stage:
    """``docker/serve.dockerfile``, built with a bundle."""
    context = tmp_path_factory.mktemp("context")
    for name in ("pyproject.toml", "constraints.txt", "README.md", "LICENSE", "fraudlab", "conf", "sweeps", "docker"):
        source = REPOSITORY / name
        copy = shutil.copytree if source.is_dir() else shutil.copy2
        copy(source, context / name, **({"ignore": shutil.ignore_patterns("__pycache__")} if source.is_dir() else {}))
    shutil.copytree(exported[1], context / "bundle")
    return images.build(REPOSITORY / "docker" / "serve.dockerfile", context, base, tmp_path_factory.mktemp("layers"))


@pytest.mark.slow
def test_the_server_image_holds_what_it_needs_alone(server: images.Stage) -> None:
    assert server.size() / 1e6 <= MOST_MEGABYTES
    assert server.user == 10001
    with images.mounted(server, None) as root:
        site = next((root / "opt" / "fraudlab" / "lib").glob("python3.*")) / "site-packages"
        assert (site / "fraudlab").is_dir()
        assert not [name for name in FORBIDDEN if (site / name).exists()]
        assert not list((root / "opt").rglob("tests"))
        programs = {path.name for folder in ("usr/bin", "opt/fraudlab/bin") for path in (root / folder).iterdir()}
        assert not {name for name in programs if name in ("cc", "gcc", "c++", "g++", "clang", "pip", "pip3")}
        assert not [path for path in (root / "root", root / "tmp") if any(path.rglob("*.whl"))]
        assert not (root / "root" / ".cache").exists()
        assert not any((root / "var" / "lib" / "apt" / "lists").glob("*"))


@pytest.mark.slow
def test_it_serves_as_its_user_on_a_read_only_root_and_ends_in_order(
    server: images.Stage, exported: tuple[Path, Path], tmp_path: Path
) -> None:
    record = tmp_path / "record"
    record.mkdir()
    os.chown(record, 10001, 10001)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = {"PORT": str(port), "FRAUDLAB_API_KEY": KEY, "FRAUDLAB_HASH_KEY": HASH_KEY}
    words = (*server.command, "serving.record_to=/record")
    container = images.Container(server, record, env, *words)
    try:
        started = time.perf_counter()
        while container.run(server.healthcheck).returncode:
            assert container.process.poll() is None, container.process.stdout.read().decode()  # type: ignore[union-attr]
            assert time.perf_counter() - started < 120
        first = psutil.Process(container.process.pid)  # by the processor: a machine that is busy otherwise takes longer
        spent = [each.cpu_times() for each in (first, *first.children(recursive=True))]
        assert sum(each.user + each.system for each in spent) <= READY_SECONDS
        status = Path(f"/proc/{container.process.pid}/status").read_text()
        assert "Uid:\t10001\t10001\t10001\t10001" in status
        assert not os.access(container.root / "srv", os.W_OK)
        for row in bundles.load(exported[1]).golden()[:20]:
            asked = urllib.request.Request(
                f"http://127.0.0.1:{port}/predict",
                json.dumps(row["record"]).encode(),
                {"X-API-Key": KEY, "Content-Type": "application/json"},
            )
            with urllib.request.urlopen(asked, timeout=30) as answer:
                assert json.load(answer)["score"] == pytest.approx(row["score"], abs=1e-6)
        assert container.end() == 0
        assert container.run(server.healthcheck).returncode != 0
        assert list(record.glob("day=*/*.parquet"))
    finally:
        container.close()
