"""``python -m fraudlab.cloud`` against Google's own description of its interfaces."""

import json
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from fraudlab.bundle import load
from fraudlab.bundle.cloud import has, put, upload
from fraudlab.errors import UserError
from tests.deployment.conftest import (
    BUCKET,
    BUNDLES,
    IMAGE,
    MASKS,
    PARENT,
    PLAIN,
    SERVICE,
    Cloud,
    Registered,
    killed_at,
    refused,
    told,
)
from tests.support.commands import Commands
from tests.support.google_cloud import GoogleCloud
from tests.support.server import KEY


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
    google.jobs[1]["state"] = "JOB_STATE_FAILED"
    said = told(cloud("action=status"))
    assert "no T4 left" in said
    assert "gcloud logging read 'resource.type=ml_job AND resource.labels.job_id=2' --project=shop" in said


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
    first, second = BUNDLES / MASKS, BUNDLES / PLAIN
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
    cloud: Cloud, google: GoogleCloud, registered: Registered, servers: dict[str, str]
) -> None:
    google.service_uri = servers[MASKS]
    assert "golden scores" in told(cloud(*registered[MASKS]))
    [first] = google.traffic[-1]
    steps = len(google.traffic)
    told(cloud(*registered[MASKS]))  # again: the same revision, looked at once more
    assert (len(google.traffic), len(google.revisions)) == (steps, 1)
    # The server at the revision's address serves the other bundle still: its scores are not the golden ones.
    assert f"all traffic is at {first}" in refused(cloud(*registered[PLAIN]))
    assert google.traffic[-1] == {first: 100}
    google.service_uri = servers[PLAIN]
    google.traffic.clear()
    told(cloud(*registered[PLAIN]))
    second = next(name for name in google.traffic[-1] if name != first)
    assert google.traffic[:2] == [{first: 100, second: 0}, {second: 5, first: 95}]
    assert google.traffic[2:] == [{second: 25, first: 75}, {second: 100}]
    template = google.services[SERVICE]["template"]["containers"][0]
    assert template["env"][0]["valueSource"]["secretKeyRef"]["secret"] == "key"
    said = told(cloud("action=status"))
    assert f"100 %  {second}" in said
    assert "type" not in said
    assert first in told(cloud("action=rollback"))
    assert google.traffic[-1] == {first: 100}
    # Back to a revision that is there: no other is made.
    told(cloud(*registered[PLAIN]))
    assert len(google.revisions) == 2
    assert [shares[second] for shares in google.traffic[-4:]] == [0, 5, 25, 100]


def test_a_revision_that_fails_requests_loses_the_traffic(
    cloud: Cloud, google: GoogleCloud, registered: Registered, servers: dict[str, str]
) -> None:
    google.service_uri = servers[MASKS]
    told(cloud(*registered[MASKS]))
    [first] = google.traffic[-1]
    asked = [*registered[MASKS], "service.cpu=4"]  # another revision of the same bundle

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
    cloud: Cloud, commands: Commands, google: GoogleCloud, registered: Registered, servers: dict[str, str]
) -> None:
    google.service_uri = servers[MASKS]
    told(cloud(*registered[MASKS]))
    [first] = google.traffic[-1]
    google.service_uri = servers[PLAIN]
    moments = ("services.patch", "services.revisions.get", "services.patch", "services.patch")
    ended = [killed_at(cloud, google, commands, moment, *registered[PLAIN]) for moment in moments]
    assert ended == [-signal.SIGKILL] * 4
    said = told(cloud("action=status"))  # which says that it is half done
    [half] = [name for name, share in google.traffic[-1].items() if 0 < share < 50]
    assert f"the deployment of {half} has not ended" in said
    assert "action=rollback project=shop region=europe-west1 name=fraud" in said
    told(cloud(*registered[PLAIN]))
    second = next(name for name in google.traffic[-1] if name != first)
    assert google.traffic[-1] == {second: 100}
    assert len(google.revisions) == 2
    assert google.services[SERVICE]["annotations"]["fraudlab-previous"] == first
    steps = [shares.get(second, 0) for shares in google.traffic]
    assert steps == sorted(steps)


def test_an_image_that_is_not_there_is_said(
    cloud: Cloud, google: GoogleCloud, registered: Registered, servers: dict[str, str]
) -> None:
    google.broken_images.add(IMAGE.removeprefix("image="))
    for _ in range(2):  # a first deployment that failed has all traffic, and is no success when it is typed again
        says = refused(cloud(*registered[MASKS]))
        assert "is not ready and cannot serve traffic. Image" in says
        assert "type this command again" in says
    said = told(cloud("action=status"))
    assert "does not start: Image" in said
    assert "deploy again" in said
    google.broken_images.clear()
    google.service_uri = servers[MASKS]
    told(cloud(*registered[MASKS]))
    [(revision, share)] = google.traffic[-1].items()
    assert share == 100
    assert google.revisions[f"{SERVICE}/revisions/{revision}"]["conditions"][0]["state"] == "CONDITION_SUCCEEDED"
    assert "has no earlier revision" in refused(cloud("action=rollback"))  # one that never started is no way back


def test_the_revision_that_others_are_tried_against_is_no_candidate(
    cloud: Cloud, google: GoogleCloud, registered: Registered, servers: dict[str, str]
) -> None:
    google.service_uri = servers[MASKS]
    told(cloud(*registered[MASKS]))
    [first] = google.traffic[-1]
    google.refusals["services.patch"] = (503, "UNAVAILABLE", "The service is unavailable.", 0)

    def stop(method: str) -> None:  # after the first share: nothing is answered any more
        if google.traffic[-1].get(first) == 95:
            google.refusals["services.patch"] = (503, "UNAVAILABLE", "The service is unavailable.", 9)

    google.after = stop
    google.service_uri = servers[PLAIN]
    assert "could not be given back" in refused(cloud(*registered[PLAIN]))
    assert google.traffic[-1][first] == 95
    google.after, google.refusals = lambda method: None, {}
    google.service_uri = servers[MASKS]
    told(cloud(*registered[MASKS]))
    assert google.traffic[-1] == {first: 100}


def test_a_lost_connection_is_not_tried_again(cloud: Cloud, google: GoogleCloud, bucket: Any) -> None:
    google.dropped = {"customJobs.create"}
    assert "cannot be reached" in refused(cloud("action=submit", BUCKET, IMAGE))
    assert len(google.jobs) == 1


def test_an_alias_names_the_bundle(cloud: Cloud, google: GoogleCloud, bucket: Any, servers: dict[str, str]) -> None:
    told(cloud("action=register", BUCKET, IMAGE, "alias=prod", f"bundle={BUNDLES / MASKS}"))
    google.service_uri = servers[MASKS]
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
        (("action=deploy", IMAGE, f"bundle={BUNDLES / MASKS}", "service.key_secret=key"), "action=register"),
        (("action=rollback",), "there is no service fraud"),
        (("action=status",), "has nothing named fraud"),
        (("action=status", "name=Fraud"), "name=Fraud must be"),
        (("action=status", "service.shares=[5,50]"), "must rise"),
        (("action=go",), "submit, train, register, deploy, watch, status, rollback"),
    ],
)
def test_what_cannot_be_done_is_one_message(
    cloud: Cloud, google: GoogleCloud, settings: tuple[str, ...], says: str
) -> None:
    assert says in refused(cloud(*settings))


def test_credentials_that_are_missing_or_expired(
    cloud: Cloud, google: GoogleCloud, environment: dict[str, str], tmp_path: Path
) -> None:
    google.expired = True
    says = refused(cloud("action=status"))
    assert "has been expired or revoked" in says
    assert "gcloud auth application-default login" in says
    environment["GOOGLE_APPLICATION_CREDENTIALS"] = str(tmp_path / "none.json")
    says = refused(cloud("action=status"))
    assert "gcloud auth application-default login" in says
    assert KEY not in says


def test_a_revision_that_lets_nobody_score_says_who_may(
    cloud: Cloud, google: GoogleCloud, registered: Registered, servers: dict[str, str]
) -> None:
    google.service_uri = f"{google.address}/closed"  # Cloud Run refuses before the server does
    says = refused(cloud(*registered[MASKS]))
    assert "add-iam-policy-binding fraud --project=shop --region=europe-west1" in says
    assert "roles/run.invoker" in says
    google.service_uri, google.keys = servers[MASKS], f"ops:score:{'w' * 32}"
    says = refused(cloud(*registered[MASKS], "service.cpu=4"))  # another revision
    assert "it does not let the key of secret key score" in says
    assert "w" * 32 not in says


def test_a_bucket_that_lets_nobody_in_says_what_to_type(
    google: GoogleCloud, environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"{google.address}/closed")
    with pytest.raises(UserError, match=r"roles/storage\.objectViewer on the bucket"):
        has("gs://others/fraud", "manifest.json")
    with pytest.raises(UserError, match=r"roles/storage\.objectUser on the bucket"):
        put(BUNDLES / PLAIN, [BUNDLES / PLAIN / "metrics.json"], "gs://others/fraud")
    # Credentials of a person name no project, and end.
    monkeypatch.delenv("STORAGE_EMULATOR_HOST")
    monkeypatch.delenv("GOOGLE_CLOUD_PROJECT", raising=False)
    account = json.loads(Path(environment["GOOGLE_APPLICATION_CREDENTIALS"]).read_text())
    del account["project_id"]
    (tmp_path / "person.json").write_text(json.dumps(account))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "person.json"))
    google.expired = True
    with pytest.raises(UserError, match="gcloud auth application-default login"):
        has("gs://shop/fraud", "manifest.json")


def test_a_bundle_that_fails_its_own_check_changes_nothing(
    cloud: Cloud, google: GoogleCloud, environment: dict[str, str], bucket: Any, tmp_path: Path
) -> None:
    environment["XDG_CACHE_HOME"] = str(tmp_path / "cache")  # nobody has fetched the whole one
    shutil.copytree(BUNDLES / PLAIN, tmp_path / "bundle")
    (tmp_path / "bundle" / "golden.jsonl").write_text("")
    says = refused(cloud("action=register", BUCKET, IMAGE, f"bundle={tmp_path}/bundle"))
    assert "golden.jsonl" in says
    upload(tmp_path / "bundle", "gs://shop/fraud/bundles/fraud/broken")
    asked = ("bundle=gs://shop/fraud/bundles/fraud/broken", "service.key_secret=key")
    assert "golden.jsonl" in refused(cloud("action=deploy", IMAGE, *asked))
    assert (google.services, google.versions) == ({}, {})
