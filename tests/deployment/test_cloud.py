"""``python -m fraudlab.cloud`` against Google's own description of its interfaces."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fraudlab.bundle import load
from tests.deployment.conftest import BUCKET, BUNDLES, IMAGE, PARENT, SERVICE, Cloud, Registered, refused, told
from tests.support.google_cloud import GoogleCloud
from tests.support.server import KEY, Server


def test_a_job_is_submitted_once(cloud: Cloud, google: GoogleCloud, bucket: Any) -> None:
    asked = ("action=submit", BUCKET, IMAGE, "train='experiment=handbook data.spans=[1,2]'", "job.replicas=3")
    assert "JOB_STATE_PENDING" in told(cloud(*asked))
    told(cloud(*asked))
    [job] = google.jobs
    spec = job["jobSpec"]
    assert [pool["replicaCount"] for pool in spec["workerPoolSpecs"]] == ["1", "2"]
    assert spec["scheduling"]["strategy"] == "SPOT"
    assert spec["baseOutputDirectory"]["outputUriPrefix"].startswith("gs://shop/fraud/jobs/fraud/")
    container = spec["workerPoolSpecs"][0]["containerSpec"]
    assert container["command"] == ["python", "-m", "fraudlab.cloud"]
    assert "train='experiment=handbook data.spans=[1,2]'" in container["args"]
    job["state"] = "JOB_STATE_FAILED"
    job["error"] = {"code": 8, "message": "no T4 left"}
    told(cloud(*asked))
    assert len(google.jobs) == 2
    assert "no T4 left" in told(cloud("action=status"))


def test_an_answer_that_is_lost_makes_no_second_job(cloud: Cloud, google: GoogleCloud, bucket: Any) -> None:
    google.lost = {"customJobs.create"}
    asked = ("action=submit", BUCKET, IMAGE)
    assert "run the same command again" in refused(cloud(*asked))
    assert len(google.jobs) == 1
    told(cloud(*asked))
    assert len(google.jobs) == 1


def test_a_bundle_becomes_a_version_once(cloud: Cloud, google: GoogleCloud, bucket: Any, tmp_path: Path) -> None:
    for arguments in (["init", "-q"], ["config", "user.email", "a@b"], ["config", "user.name", "a"],
                      ["commit", "-q", "--allow-empty", "-m", "first"]):  # fmt: skip
        subprocess.run(["git", *arguments], cwd=tmp_path, check=True)
    first, second = BUNDLES / "bundle_with_masks", BUNDLES / "bundle_without_masks"
    asked = ("action=register", BUCKET, IMAGE, "alias=prod")
    for _ in range(2):
        said = told(cloud(*asked, f"bundle={first}", "version=v1.0.0"))
        assert "aliases  prod" in said
    subprocess.run(["git", "commit", "-q", "--allow-empty", "-m", "second"], cwd=tmp_path, check=True)
    told(cloud(*asked, f"bundle={second}", "version=v1.1.0"))
    one, two = google.versions[f"{PARENT}/models/fraud"]
    assert (one["versionAliases"], two["versionAliases"]) == ([], ["prod"])
    tags = subprocess.run(["git", "tag"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout.split()
    assert tags == ["fraud#prod#1", "fraud#prod#2", "fraud@v1.0.0", "fraud@v1.1.0"]
    # What a server would fetch is the bundle, every byte.
    found = {blob.name: blob.download_as_bytes() for blob in bucket.list_blobs()}
    version = load(second).version
    assert two["artifactUri"] == f"gs://shop/fraud/bundles/fraud/{version}"
    for path in (path for path in second.rglob("*") if path.is_file()):
        assert found[f"fraud/bundles/fraud/{version}/{path.relative_to(second)}"] == path.read_bytes()
    for number, bundle in (("1", first), ("2", second)):
        expected = json.loads((bundle / "metrics.json").read_text())["test"]
        [evaluation] = google.evaluations[f"{PARENT}/models/fraud@{number}/evaluations"]
        assert evaluation["metrics"] == {"auPrc": expected["average_precision"], "auRoc": expected["roc_auc"]}
    said = told(cloud("action=status"))
    assert "prod" in said


def test_a_revision_gets_the_traffic_by_steps_and_gives_it_back(
    cloud: Cloud, google: GoogleCloud, registered: Registered, tmp_path: Path
) -> None:
    masks, plain = registered["bundle_with_masks"], registered["bundle_without_masks"]
    with Server(BUNDLES / "bundle_with_masks", tmp_path) as server:
        google.service_uri = f"http://127.0.0.1:{server.port}"
        assert "golden scores" in told(cloud(*masks))
        [first] = google.traffic[-1]
        steps = len(google.traffic)
        told(cloud(*masks))  # again: the same revision, looked at once more
        assert (len(google.traffic), len(google.revisions)) == (steps, 1)
        # The server at the revision's address serves the other bundle still: its scores are not the golden ones.
        assert f"all traffic is at {first}" in refused(cloud(*plain))
    assert google.traffic[-1] == {first: 100}
    with Server(BUNDLES / "bundle_without_masks", tmp_path) as server:
        google.service_uri = f"http://127.0.0.1:{server.port}"
        google.traffic.clear()
        told(cloud(*plain))
        second = next(name for name in google.traffic[-1] if name != first)
        assert google.traffic[:2] == [{first: 100, second: 0}, {second: 5, first: 95}]
        assert google.traffic[2:] == [{second: 25, first: 75}, {second: 100}]
        template = google.services[SERVICE]["template"]["containers"][0]
        assert template["env"][0]["valueSource"]["secretKeyRef"]["secret"] == "key"
        assert f"100 %  {second}" in told(cloud("action=status"))
        assert first in told(cloud("action=rollback"))
        assert google.traffic[-1] == {first: 100}
        # Back to a revision that is there: no other is made.
        told(cloud(*plain))
        assert len(google.revisions) == 2
        assert [shares[second] for shares in google.traffic[-4:]] == [0, 5, 25, 100]


def test_a_revision_that_fails_requests_loses_the_traffic(
    cloud: Cloud, google: GoogleCloud, registered: Registered, tmp_path: Path
) -> None:
    with Server(BUNDLES / "bundle_with_masks", tmp_path) as server:
        google.service_uri = f"http://127.0.0.1:{server.port}"
        told(cloud(*registered["bundle_with_masks"]))
        [first] = google.traffic[-1]
        asked = [*registered["bundle_with_masks"], "service.cpu=4"]  # another revision of the same bundle

        def burn(method: str) -> None:
            for name in google.traffic[-1]:
                if name != first and google.traffic[-1][name] == 25:
                    google.failed[name], google.answered[name] = 9.0, 300.0

        google.after = burn
        says = refused(cloud(*asked))
        assert "9 of the revision's 300 requests failed" in says
        assert google.traffic[-1] == {first: 100}
        assert [max(shares.values()) for shares in google.traffic[-4:]] == [100, 95, 75, 100]


def test_a_deployment_that_is_killed_ends_the_same(
    google: GoogleCloud, registered: Registered, environment: dict[str, str], tmp_path: Path, cloud: Cloud
) -> None:
    with Server(BUNDLES / "bundle_with_masks", tmp_path) as server:
        google.service_uri = f"http://127.0.0.1:{server.port}"
        told(cloud(*registered["bundle_with_masks"]))
        [first] = google.traffic[-1]
    with Server(BUNDLES / "bundle_without_masks", tmp_path) as server:
        google.service_uri = f"http://127.0.0.1:{server.port}"
        asked = [*registered["bundle_without_masks"], "poll_seconds=0.01"]
        command = [sys.executable, "-m", "fraudlab.cloud", *asked]
        killed = 0
        for wait in ("services.patch", "services.revisions.get", "services.patch", "services.patch"):
            process = subprocess.Popen(command, cwd=tmp_path, env={**os.environ, **environment})
            google.after = lambda method, wait=wait, process=process: (
                os.kill(process.pid, signal.SIGKILL) if method == wait else None
            )
            killed += process.wait(60) == -signal.SIGKILL
        assert killed == 4
        google.after = lambda method: None
        told(cloud(*asked))
    second = next(name for name in google.traffic[-1] if name != first)
    assert google.traffic[-1] == {second: 100}
    assert len(google.revisions) == 2
    assert google.services[SERVICE]["annotations"]["fraudlab-previous"] == first
    steps = [shares.get(second, 0) for shares in google.traffic]
    assert steps == sorted(steps)


def test_an_image_that_is_not_there_is_said(
    cloud: Cloud, google: GoogleCloud, registered: Registered, tmp_path: Path
) -> None:
    google.broken_images.add(IMAGE.removeprefix("image="))
    for _ in range(2):  # a first deployment that failed has all traffic, and is no success when it is typed again
        says = refused(cloud(*registered["bundle_with_masks"]))
        assert "not found" in says
        assert "type this command again" in says
    google.broken_images.clear()
    with Server(BUNDLES / "bundle_with_masks", tmp_path) as server:
        google.service_uri = f"http://127.0.0.1:{server.port}"
        told(cloud(*registered["bundle_with_masks"]))
    [(revision, share)] = google.traffic[-1].items()
    assert share == 100
    assert google.revisions[f"{SERVICE}/revisions/{revision}"]["conditions"][0]["state"] == "CONDITION_SUCCEEDED"
    assert "has no revision before" in refused(cloud("action=rollback"))  # one that never started is no way back


def test_the_revision_that_others_are_tried_against_is_no_candidate(
    cloud: Cloud, google: GoogleCloud, registered: Registered, tmp_path: Path
) -> None:
    masks, plain = registered["bundle_with_masks"], registered["bundle_without_masks"]
    with Server(BUNDLES / "bundle_with_masks", tmp_path) as server:
        google.service_uri = f"http://127.0.0.1:{server.port}"
        told(cloud(*masks))
        [first] = google.traffic[-1]
        google.refusals["services.patch"] = (503, "UNAVAILABLE", "The service is unavailable.", 0)

        def stop(method: str) -> None:  # after the first share: nothing is answered any more
            if google.traffic[-1].get(first) == 95:
                google.refusals["services.patch"] = (503, "UNAVAILABLE", "The service is unavailable.", 9)

        google.after = stop
    with Server(BUNDLES / "bundle_without_masks", tmp_path) as server:
        google.service_uri = f"http://127.0.0.1:{server.port}"
        assert "could not be given back" in refused(cloud(*plain))
        assert google.traffic[-1][first] == 95
    google.after, google.refusals = lambda method: None, {}
    with Server(BUNDLES / "bundle_with_masks", tmp_path) as server:
        google.service_uri = f"http://127.0.0.1:{server.port}"
        told(cloud(*masks))
    assert google.traffic[-1] == {first: 100}


def test_a_lost_connection_is_not_tried_again(cloud: Cloud, google: GoogleCloud, bucket: Any) -> None:
    google.dropped = {"customJobs.create"}
    assert "cannot be reached" in refused(cloud("action=submit", BUCKET, IMAGE))
    assert len(google.jobs) == 1


def test_an_alias_names_the_bundle(cloud: Cloud, google: GoogleCloud, bucket: Any, tmp_path: Path) -> None:
    told(cloud("action=register", BUCKET, IMAGE, "alias=prod", f"bundle={BUNDLES}/bundle_with_masks"))
    with Server(BUNDLES / "bundle_with_masks", tmp_path) as server:
        google.service_uri = f"http://127.0.0.1:{server.port}"
        told(cloud("action=deploy", IMAGE, "alias=prod", "service.key_secret=key", "service.hash_secret=hash"))
    names = [each["name"] for each in google.services[SERVICE]["template"]["containers"][0]["env"]]
    assert names == ["FRAUDLAB_API_KEY", "FRAUDLAB_HASH_KEY"]
    assert "no version of fraud has the alias dev" in refused(
        cloud("action=deploy", IMAGE, "alias=dev", "service.key_secret=key")
    )


@pytest.mark.parametrize(
    ("status", "word", "says", "advice"),
    [
        (403, "PERMISSION_DENIED", "Permission 'aiplatform.customJobs.create' denied.", "roles/aiplatform.user"),
        (429, "RESOURCE_EXHAUSTED", "Quota exceeded for custom_model_training_nvidia_t4_gpus.", "quota is used up"),
        (400, "INVALID_ARGUMENT", "NVIDIA_TESLA_T4 is not available in europe-west1.", "check image, region"),
        (503, "UNAVAILABLE", "The service is currently unavailable.", "run the same command again"),
    ],
)
def test_what_google_refuses_is_one_message(
    cloud: Cloud, google: GoogleCloud, bucket: Any, status: int, word: str, says: str, advice: str
) -> None:
    google.refusals["customJobs.create"] = (status, word, says, 100)
    message = refused(cloud("action=submit", BUCKET, IMAGE))
    assert says.rstrip(".") in message
    assert advice in message
    assert google.jobs == []


def test_a_quota_that_is_free_again_is_waited_for(cloud: Cloud, google: GoogleCloud, bucket: Any) -> None:
    google.refusals["customJobs.create"] = (429, "RESOURCE_EXHAUSTED", "Too many requests.", 2)
    told(cloud("action=submit", BUCKET, IMAGE))
    assert len(google.jobs) == 1


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (("action=submit", BUCKET), "action=submit needs image=<image>"),
        (("action=deploy", IMAGE, f"bundle={BUNDLES}/bundle_with_masks", "service.key_secret=key"), "action=register"),
        (("action=rollback",), "there is no service fraud"),
        (("action=status",), "has nothing of the name fraud"),
        (("action=status", "name=Fraud"), "name=Fraud must be"),
        (("action=status", "service.shares=[5,50]"), "must rise"),
        (("action=go",), "submit, train, register, deploy, watch, status, rollback"),
    ],
)
def test_what_cannot_be_done_is_one_message(
    cloud: Cloud, google: GoogleCloud, settings: tuple[str, ...], says: str
) -> None:
    assert says in refused(cloud(*settings))


def test_credentials_that_are_missing_or_expired(cloud: Cloud, environment: dict[str, str], tmp_path: Path) -> None:
    environment["GOOGLE_APPLICATION_CREDENTIALS"] = str(tmp_path / "none.json")
    assert "gcloud auth application-default login" in refused(cloud("action=status"))
    assert KEY not in refused(cloud("action=status"))
