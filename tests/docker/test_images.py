"""The images of ``docker/``: clean by their linters, and built and run step by step without an engine."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import distributions
from pathlib import Path

import psutil
import pytest
import yaml
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from fraudlab import bundle as bundles
from fraudlab.monitoring import records
from fraudlab.monitoring.store import Store
from tests.conftest import REPOSITORY, SMALL
from tests.support import images
from tests.support.must import installer_failed, missing
from tests.support.server import HASH_KEY, KEY, free_port
from tests.support.storage import emulated_bucket
from tests.support.tables import write_table

MOST_MEGABYTES = 600
READY_SECONDS = 3.0
DOCKERFILES = sorted((REPOSITORY / "docker").glob("*.dockerfile"))
COMPILERS = {"cc", "gcc", "gcc-12", "c++", "g++", "clang", "as", "ld"}
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
        missing("images are built as root with debootstrap: apt-get install debootstrap")
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
            missing(f"no base can be made here: {done.stdout[-200:]}")
    yield folder
    if not given:
        shutil.rmtree(folder.parent, ignore_errors=True)


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``.dockerignore`` lets through, without a bundle."""
    folder = tmp_path_factory.mktemp("context")
    kept = [line[1:] for line in ignored((REPOSITORY / ".dockerignore").read_text()) if line.startswith("!")]
    for name in set(kept) - {"bundle"}:
        source = REPOSITORY / name
        (folder / name).parent.mkdir(exist_ok=True)
        copy = shutil.copytree if source.is_dir() else shutil.copy2
        copy(source, folder / name, **({"ignore": shutil.ignore_patterns("__pycache__")} if source.is_dir() else {}))
    return folder


@pytest.fixture(scope="module")
def server(
    base: Path, context: Path, exported: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> images.Stage:
    """``docker/serve.dockerfile``, built with a bundle."""
    shutil.copytree(exported[1], context / "bundle")
    return images.build(REPOSITORY / "docker" / "serve.dockerfile", context, base, tmp_path_factory.mktemp("layers"))


@pytest.fixture(scope="module")
def trainer(base: Path, context: Path, tmp_path_factory: pytest.TempPathFactory) -> images.Stage:
    """``docker/train.dockerfile``."""
    return images.build(REPOSITORY / "docker" / "train.dockerfile", context, base, tmp_path_factory.mktemp("layers"))


def programs(root: Path) -> set[str]:
    return {path.name for folder in ("usr/bin", "opt/fraudlab/bin") for path in (root / folder).iterdir()}


@pytest.mark.slow
def test_the_server_image_holds_what_it_needs_alone(server: images.Stage) -> None:
    assert server.size() / 1e6 <= MOST_MEGABYTES
    assert server.user == 10001
    with images.mounted(server, None) as root:
        site = next((root / "opt" / "fraudlab" / "lib").glob("python3.*")) / "site-packages"
        assert (site / "fraudlab").is_dir()
        assert not [name for name in FORBIDDEN if (site / name).exists()]
        assert not list((root / "opt").rglob("tests"))
        assert not programs(root) & {*COMPILERS, "pip", "pip3"}
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
    port = free_port()
    env = {"PORT": str(port), "FRAUDLAB_API_KEY": KEY, "FRAUDLAB_HASH_KEY": HASH_KEY}
    words = (*server.command, "serving.record_to=/record")
    container = images.Container(server, record, "record", env, *words)
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
        # As a next start does with what the end of a busy machine left in the journal.
        Store(record, 1, 2**30, None, wait=lambda seconds: False).tend(datetime.now(UTC), whole=True)
        assert records.scan(record).collect().height == 20
    finally:
        container.close()


# gcsfs would ask Google whether this is one of its machines, and for the bucket's kind.
GCSFS = {"NO_GCE_CHECK": "true", "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false"}
LOADED = "from fraudlab.models.tabnet.native.compile import operations; print(operations('float')._name)"


def ran(trainer: images.Stage, work: Path, *words: str, env: dict[str, str] | None = None) -> str:
    """What a command prints in the image; of this machine's network it has none unless ``env`` is given."""
    container = images.Container(trainer, work, "work", env or {}, *words, offline=env is None)
    try:
        said = container.process.communicate(timeout=600)[0].decode()
        assert container.process.returncode == 0, said
        loaded = container.run(["python", "-c", LOADED])
        assert loaded.stdout.startswith("/opt/fraudlab/"), loaded.stdout + loaded.stderr
    finally:
        container.close()
    return said


@pytest.mark.slow
def test_the_training_image_trains_and_exports_offline_without_a_compiler(
    trainer: images.Stage, tmp_path: Path
) -> None:
    assert trainer.user == 10001
    with images.mounted(trainer, None) as root:
        assert not programs(root) & {*COMPILERS, "pip", "pip3"}
    os.chown(tmp_path, 10001, 10001)
    said = ran(trainer, tmp_path, "fraudlab.train", "debug=fast", *SMALL, "hydra.run.dir=run")
    said += ran(trainer, tmp_path, "fraudlab.export", "run=run")
    assert "plain PyTorch" not in said
    assert "compiling" not in said
    assert (tmp_path / "run").stat().st_uid == trainer.user
    bundles.load(tmp_path / "run" / "bundle").check()


@pytest.mark.slow
def test_a_job_in_it_reads_from_a_bucket_and_goes_on_from_its_checkpoints(
    trainer: images.Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / "work"
    with emulated_bucket("shop", monkeypatch) as bucket:
        write_table(tmp_path / "table.csv")
        bucket.blob("table.csv").upload_from_filename(tmp_path / "table.csv")
        place = {f"AIP_{kind}_DIR": f"gs://shop/job/{kind.lower()}" for kind in ("MODEL", "CHECKPOINT")}
        env = place | GCSFS | {name: os.environ[name] for name in ("STORAGE_EMULATOR_HOST", "GOOGLE_CLOUD_PROJECT")}
        table = "data=table data.path=gs://shop/table.csv data.label=fraud data.time=time features=columns"
        settings = f"train='{table} split=time_fraction experiment=none debug=fast batch_size=32'"

        def job() -> str:
            shutil.rmtree(work, ignore_errors=True)  # another machine
            work.mkdir()
            os.chown(work, 10001, 10001)
            return ran(trainer, work, "fraudlab.cloud", "action=train", settings, env=env)

        job()
        model = {blob.name: blob.download_as_bytes() for blob in bucket.list_blobs(prefix="job/model/")}
        for name in model:
            bucket.blob(name).delete()
        job()
        again = {blob.name: blob.download_as_bytes() for blob in bucket.list_blobs(prefix="job/model/")}
        assert model.keys() == again.keys()
        assert model["job/model/model.onnx"] == again["job/model/model.onnx"]


def parts(image: str, folder: Path) -> dict[str, str]:
    """Packages and versions that ``make sbom`` lists, which what ships its schema finds valid."""
    made = subprocess.run(
        ["make", "sbom", f"BIN={Path(sys.executable).parent}", "READY=", f"SBOM={folder}"],
        cwd=REPOSITORY, capture_output=True, text=True,
    )  # fmt: skip
    if made.returncode:
        installer_failed(made.stderr)
    text = (folder / f"{image}.json").read_text()
    found = json.loads(text)
    version = SchemaVersion[f"V{found['specVersion'].replace('.', '_')}"]
    assert JsonStrictValidator(version).validate_str(text) is None
    assert all(each["purl"].startswith("pkg:pypi/") for each in found["components"])
    return {name_of(each["name"]): each["version"] for each in found["components"]}


def name_of(given: str) -> str:
    return re.sub(r"[-_.]+", "-", given).lower()


def installed(stage: images.Stage) -> dict[str, str]:
    """Packages in the image, without the code itself."""
    with images.mounted(stage, None) as root:
        site = next((root / "opt" / "fraudlab" / "lib").glob("python3.*")) / "site-packages"
        there = {name_of(each.name): each.version.partition("+")[0] for each in distributions(path=[str(site)])}
    assert there.pop("fraudlab")
    return there


@pytest.mark.slow
def test_the_list_of_parts_is_what_the_server_image_has(server: images.Stage, tmp_path: Path) -> None:
    assert parts("serve", tmp_path) == installed(server)


@pytest.mark.slow
def test_the_list_of_parts_is_what_the_training_image_has(trainer: images.Stage, tmp_path: Path) -> None:
    listed = parts("train", tmp_path)
    # Libraries of CUDA come with the index's PyTorch, and not with one for the processor alone.
    cuda = {name for name in listed if name.startswith(("nvidia-", "cuda-")) or name == "triton"}
    there = installed(trainer)
    assert {name: version for name, version in listed.items() if name not in cuda - there.keys()} == there
