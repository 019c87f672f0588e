"""Google Cloud and its storage, on loopback, and bundles to deploy."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from fraudlab.bundle.cloud import upload
from tests.conftest import Command
from tests.support.commands import Commands
from tests.support.google_cloud import GoogleCloud
from tests.support.server import KEY, Server, until
from tests.support.storage import emulated_bucket

Cloud = Callable[..., Any]
Registered = dict[str, tuple[str, ...]]
IMAGE = "image=europe-west1-docker.pkg.dev/shop/fraud/serve@sha256:" + "a" * 64
BUCKET = "bucket=gs://shop/fraud"
PARENT = "projects/shop/locations/europe-west1"
SERVICE = f"{PARENT}/services/fraud"
ACCOUNT = "fraud-watch@shop.iam.gserviceaccount.com"
WATCH = ("action=watch", f"watch.service_account={ACCOUNT}")
RECORDS = "gs://shop/fraud/records"
DRIFT = f"{PARENT}/jobs/fraud-drift"
PRIVATE = f"{PARENT}/services/fraud-drift"
BUNDLES = Path(__file__).parents[1] / "compat" / "fixtures" / "format_1"
MASKS, PLAIN = "bundle_with_masks", "bundle_without_masks"


@pytest.fixture
def google() -> Iterator[GoogleCloud]:
    """A cloud that refuses what Google's description of its interfaces does not have."""
    with GoogleCloud() as cloud:
        cloud.keys = f"page:read:{'p' * 32}\nops:score,read:{KEY}\n"
        yield cloud
    assert cloud.faults == []


@pytest.fixture
def deployed(google: GoogleCloud) -> GoogleCloud:
    """A service that has a record in the bucket, a collector beside it and an instance at any time."""
    plant(google, "fraud-1", "gs://shop/fraud/bundles/fraud/1")
    return google


def changes_nothing(cloud: Cloud, google: GoogleCloud, *asked: str) -> None:
    """What was done is asked for once more: nothing is to do."""
    google.asked.clear()
    told(cloud(*asked))
    assert [name for name in google.asked if name.endswith(("create", "patch", "delete"))] == []


def plant(google: GoogleCloud, revision: str, bundle: str, **changed: Any) -> None:
    """Let the service have this revision, with all of the traffic."""

    def variable(name: str) -> dict[str, Any]:
        return {"name": name, "valueSource": {"secretKeyRef": {"secret": name[9:].lower(), "version": "latest"}}}

    server = {
        "name": "server",
        "image": IMAGE.removeprefix("image="),
        "args": [f"bundle={bundle}", f"serving.record_upload={RECORDS}"],
        "ports": [{"containerPort": 8080}],
        "env": [variable("FRAUDLAB_API_KEY"), variable("FRAUDLAB_HASH_KEY")],
    }
    template = {"containers": [server, {"name": "collector", "image": "x"}], "scaling": {"minInstanceCount": 1}}
    template |= {"revision": revision, **changed}
    traffic = [{"type": "TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION", "revision": revision, "percent": 100}]
    google.services.setdefault(SERVICE, {"name": SERVICE, "uri": "http://127.0.0.1:9", "generation": "0"})
    google._changed(SERVICE, {"template": template, "traffic": traffic})


def content(google: GoogleCloud) -> dict[str, Any]:
    """All that there is, but for names that are given by chance."""
    policies = {each["displayName"]: {**each, "name": ""} for each in google.policies.values()}
    assert len(policies) == len(google.policies)
    jobs = {name: {**job, "generation": "", "etag": ""} for name, job in google.run_jobs.items()}
    service = {key: google.services[PRIVATE][key] for key in ("template", "traffic", "ingress", "invokerIamDisabled")}
    return deepcopy({"policies": policies, "jobs": jobs, "schedules": google.schedules, "service": service})


@pytest.fixture(scope="package")
def emulated() -> Iterator[Any]:
    """The bucket ``shop`` of an emulated Google Cloud Storage."""
    with pytest.MonkeyPatch.context() as patch, emulated_bucket("shop", patch, "shop") as bucket:
        yield bucket


@pytest.fixture
def bucket(emulated: Any) -> Iterator[Any]:
    """The same, empty at first."""
    yield emulated
    for blob in emulated.list_blobs():
        blob.delete()


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The address of a server of each of two bundles; golden records leave no trace in them."""
    with ExitStack() as held:
        started = {
            name: held.enter_context(Server(BUNDLES / name, tmp_path_factory.mktemp(name), wait=False))
            for name in (MASKS, PLAIN)
        }
        for server in started.values():
            until(server.ready, 60)
        yield {name: f"http://127.0.0.1:{server.port}" for name, server in started.items()}


@pytest.fixture
def environment(google: GoogleCloud, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Of a command that is to find both; bundles are fetched once."""
    return {"XDG_CACHE_HOME": str(tmp_path_factory.getbasetemp() / "cache"), **google.environment(tmp_path)}


@pytest.fixture
def cloud(command: Command, environment: dict[str, str], tmp_path: Path) -> Cloud:
    """Run ``python -m fraudlab.cloud``."""

    def run(*settings: str) -> Any:
        return command("cloud", *settings, "poll_seconds=0.01", cwd=tmp_path, env=environment)

    return run


def killed_at(cloud: Cloud, google: GoogleCloud, commands: Commands, method: str, *asked: str) -> int:
    """The exit status of a command that is killed when it has asked for this."""
    google.after = lambda name: commands.kill() if name == method else None
    try:
        return int(cloud(*asked).returncode)
    finally:
        google.after = lambda name: None


def told(done: Any) -> str:
    assert done.returncode == 0, done.stderr
    return str(done.stdout)


def refused(done: Any) -> str:
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stderr.count("error:") == 1
    assert "Traceback" not in done.stderr
    return str(done.stderr)


@pytest.fixture
def registered(bucket: Any) -> Registered:
    """What deploys each of two bundles, which lie in the bucket."""
    found = {}
    for name in (MASKS, PLAIN):
        address = f"gs://shop/fraud/bundles/fraud/{name}"
        upload(BUNDLES / name, address)
        found[name] = ("action=deploy", IMAGE, f"bundle={address}", "service.key_secret=key", "service.hold_minutes=0")
    return found
