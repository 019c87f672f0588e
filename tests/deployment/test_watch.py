"""What stands around a deployed service: made once, whatever happens in between, from what is deployed."""

import json
import re
import signal
import time
import urllib.request
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import polars as pl
import pytest
import yaml

from fraudlab.bundle.cloud import upload
from fraudlab.config.serve import ServingConfig
from fraudlab.errors import UserError
from fraudlab.serving.addresses import bind
from tests.conftest import REPOSITORY, Command
from tests.deployment.conftest import (
    ACCOUNT,
    DRIFT,
    IMAGE,
    MASKS,
    PRIVATE,
    RECORDS,
    SERVICE,
    WATCH,
    Cloud,
    Registered,
    changes_nothing,
    content,
    killed_at,
    plant,
    refused,
    told,
)
from tests.support.commands import Commands
from tests.support.google_cloud import GoogleCloud
from tests.support.server import HASH_KEY, Server, free_port, until

JUDGED = ("FraudlabDriftJobFailed", "FraudlabDriftOverdue", "FraudlabDriftOfAll", "FraudlabDriftOfNothing")
RULES = yaml.safe_load((REPOSITORY / "deploy" / "monitoring" / "rules.yml").read_text())["groups"]
ALERTS = {rule["alert"]: rule for group in RULES for rule in group["rules"] if "alert" in rule}
ALERTS.pop("FraudlabLabelsStale")  # of a server that runs for days


def line_of(google: GoogleCloud, rule: str) -> str:
    """What a policy waits for in the job's log, as a regular expression."""
    [policy] = [each for each in google.policies.values() if each["displayName"].endswith(f": {rule}")]
    wanted = re.search(r'textPayload=~"(.*)"', policy["conditions"][0]["conditionMatchedLog"]["filter"])
    assert wanted is not None
    return wanted[1]


def collected(port: int, path: str = "metrics") -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=10) as answer:
        return str(answer.read().decode())


def test_what_all_instances_scored_is_judged_and_answered(
    cloud: Cloud, google: GoogleCloud, bucket: Any, exported: tuple[Path, Path], command: Command, tmp_path: Path
) -> None:
    bundle = exported[1]
    upload(bundle, "gs://shop/fraud/bundles/fraud/1")
    rows = [json.loads(line)["record"] for line in (bundle / "golden.jsonl").read_text().splitlines()]
    port = free_port()
    for number, part in enumerate((rows[::2], rows[1::2])):  # two instances
        own = (f"serving.record_to={tmp_path}/record{number}", f"serving.record_upload={RECORDS}")
        with Server(bundle, tmp_path, *own, f"serving.metrics_port={port}") as server:
            if not number:
                google.service_uri = f"http://127.0.0.1:{server.port}"
                secrets = [f"service.{name}_secret={name}" for name in ("key", "hash", "metrics")]
                what = ("action=deploy", IMAGE, "bundle=gs://shop/fraud/bundles/fraud/1", f"records={RECORDS}")
                told(cloud(*what, *secrets))
            assert server.predict(part).status == 200
            # The collector's way, and no other.
            assert server.ask("/metrics", key=None).status == 401
            assert "\nfraudlab_ready 1.0\n" in collected(port)
            with pytest.raises(HTTPError, match="404"):
                collected(port, "drift")
            with pytest.raises(UserError, match=f"serving.metrics_port={port}: the port is in use"):
                bind("127.0.0.1", port, "metrics_port")
            if number:  # over a reload it is the same port, and counts go on
                server.process.send_signal(signal.SIGHUP)
                until(lambda server=server: "reloaded" in server.log.read_text())
                until(lambda: 'fraudlab_requests_total{path="/predict",status="200"} 1.0' in collected(port))
    template = google.services[SERVICE]["template"]
    server_of, collector = template["containers"]
    assert {f"serving.record_upload={RECORDS}", "serving.metrics_port=8081"} <= set(server_of["args"])
    assert collector["dependsOn"] == [server_of["name"]]
    assert "ports" not in collector
    [volume] = template["volumes"]
    assert collector["volumeMounts"] == [{"name": volume["name"], "mountPath": "/etc/rungmp"}]
    assert volume["secret"] == {"secret": "metrics", "items": [{"version": "latest", "path": "config.yaml"}]}
    monitoring = yaml.safe_load((REPOSITORY / "deploy" / "monitoring" / "run_monitoring.yml").read_text())
    assert [each["port"] for each in monitoring["spec"]["endpoints"]] == [8081]

    told(cloud(*WATCH))
    job = google.run_jobs[DRIFT]["template"]["template"]
    [container] = job["containers"]
    assert job["serviceAccount"] == ACCOUNT
    assert container["env"][0]["valueSource"]["secretKeyRef"]["secret"] == "hash"
    cache = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "FRAUDLAB_HASH_KEY": HASH_KEY}
    assert container["command"] == ["python", "-m", "fraudlab.drift"]
    said = told(command("drift", *container["args"], cwd=tmp_path, env=cache))
    written = json.loads(bucket.blob("fraud/records/_drift/drift.json").download_as_bytes())
    assert written["rows"] == len(rows)
    assert written["hours"] == 168
    assert abs(datetime.fromisoformat(written["made_at"]).timestamp() - time.time()) < 300
    assert "card1" not in written["not_judged"]  # hashed in the record; the job has the key
    assert b"<h1>Drift" in bucket.blob("fraud/records/_drift/drift.html").download_as_bytes()
    # The line that an alert policy waits for.
    wanted = line_of(google, "FraudlabDriftOfAll")
    assert any(re.search(wanted.replace("yes", "(yes|no)"), line) for line in said.splitlines())

    private = google.services[PRIVATE]
    assert (private["ingress"], private["invokerIamDisabled"]) == ("INGRESS_TRAFFIC_INTERNAL_ONLY", False)
    settings = [word for word in private["template"]["containers"][0]["args"] if "drift_from" in word]
    with Server(bundle, tmp_path, *settings) as server:
        assert server.ask("/drift").said == written
        assert server.ask("/drift", key=None).status == 401
        assert server.ask("/drift?hours=3").status == 422
    # Rows of another bundle alone are another policy's line.
    nothing = re.compile(line_of(google, "FraudlabDriftOfNothing"), re.MULTILINE)
    assert not nothing.search(said)
    for blob in bucket.list_blobs(prefix="fraud/records/day="):
        with_other = pl.read_parquet(blob.download_as_bytes()).with_columns(bundle_version=pl.lit("other"))
        with_other.write_parquet(tmp_path / "other.parquet")
        blob.upload_from_filename(tmp_path / "other.parquet")
    assert nothing.search(told(command("drift", *container["args"], cwd=tmp_path, env=cache)))
    # Without a row in the last hours there is a result too, and no failure that would be an alert.
    for blob in bucket.list_blobs(prefix="fraud/records/day="):
        blob.delete()
    assert not nothing.search(told(command("drift", *container["args"], cwd=tmp_path, env=cache)))
    assert json.loads(bucket.blob("fraud/records/_drift/drift.json").download_as_bytes())["rows"] == 0


def test_rules_become_policies_of_this_service(cloud: Cloud, deployed: GoogleCloud) -> None:
    said = told(cloud(*WATCH, "watch.notify=ops@shop.example"))
    assert "sent to ops@shop.example" in said
    [channel] = deployed.channels.values()
    assert channel["labels"] == {"email_address": "ops@shop.example"}
    found = {each["displayName"].removeprefix("fraud: "): each for each in deployed.policies.values()}
    assert found.keys() == {*ALERTS, *JUDGED}
    for name, rule in ALERTS.items():
        policy = found[name]
        condition = policy["conditions"][0]["conditionPrometheusQueryLanguage"]
        assert policy["notificationChannels"] == [channel["name"]]
        assert (policy["severity"] == "CRITICAL") == (rule["labels"]["severity"] == "page")
        assert "{{" not in policy["documentation"]["content"]
        minutes = {"m": 1, "h": 60}[rule.get("for", "0m")[-1]] * int(rule.get("for", "0m")[:-1])
        assert condition["duration"] == f"{60 * minutes}s"
        query = condition["query"]
        assert "fraudlab:late" not in query  # a recording rule, which Cloud Monitoring has not
        assert query.count('job="fraudlab"') == query.count('namespace="fraud",location="europe-west1"') > 0
        if "fraudlab:late" not in rule["expr"]:
            assert query.replace(',namespace="fraud",location="europe-west1"', "") == rule["expr"]
    for name in JUDGED:  # of this region's job alone
        [condition] = found[name]["conditions"]
        query = str(condition.get("conditionPrometheusQueryLanguage") or condition["conditionMatchedLog"])
        assert 'job_name="fraud-drift"' in query
        assert 'location="europe-west1"' in query
    overdue = found["FraudlabDriftOverdue"]["conditions"][0]["conditionPrometheusQueryLanguage"]
    assert overdue["duration"] == "90000s"  # a day, and the hour that a run may take
    assert "[1440m]" in overdue["query"]
    # A service that may have no instance has none at times; one without a collector has no metrics.
    plant(deployed, "fraud-2", "gs://shop/fraud/bundles/fraud/1", scaling={})
    said = told(cloud(*WATCH, "watch.notify=ops@shop.example"))
    assert "removed  fraud: FraudlabGone" in said
    assert len(deployed.policies) == len(found) - 1
    [server, _] = deployed.revisions[f"{SERVICE}/revisions/fraud-2"]["containers"]
    plant(deployed, "fraud-3", "gs://shop/fraud/bundles/fraud/1", containers=[server])
    assert "service.metrics_secret" in told(cloud(*WATCH, "watch.notify=ops@shop.example"))
    assert len(deployed.policies) == len(JUDGED)


def test_what_is_of_others_stays_and_what_has_no_rule_goes(cloud: Cloud, deployed: GoogleCloud) -> None:
    parent = "projects/shop/alertPolicies"
    for name, of in (("a", "fraud--europe-west1"), ("b", "fraud--us-east1"), ("c", "card--europe-west1")):
        labels = {"fraudlab-name": of, "fraudlab-rule": "fraudlabold"}
        deployed.policies[f"{parent}/{name}"] = {"name": f"{parent}/{name}", "displayName": name, "userLabels": labels}
    deployed.policies[f"{parent}/d"] = {"name": f"{parent}/d", "displayName": "somebody's own"}
    twice = {"fraudlab-name": "fraud--europe-west1", "fraudlab-rule": "fraudlabdown"}
    for name in "ef":
        of = {"name": f"{parent}/{name}", "displayName": f"down {name}", "userLabels": twice}
        deployed.policies[f"{parent}/{name}"] = of
    assert "removed  a, which has no rule any more" in told(cloud(*WATCH))
    assert {f"{parent}/{name}" for name in "bcd"} <= deployed.policies.keys()
    assert f"{parent}/a" not in deployed.policies
    assert {f"{parent}/e", f"{parent}/f"} & deployed.policies.keys() == {f"{parent}/e"}
    assert "a" not in {each["displayName"] for each in deployed.policies.values()}
    said = told(cloud("action=status"))
    count = len(ALERTS) + len(JUDGED)
    assert f"{count} policies, {count} notify nobody, 0 are off" in said


def test_killed_in_the_middle_it_ends_the_same(cloud: Cloud, commands: Commands, deployed: GoogleCloud) -> None:
    asked = [*WATCH, "watch.notify=ops@shop.example"]
    moments = ("jobs.create", "cloudscheduler.jobs.create", "services.create", "projects.alertPolicies.create")
    ended = [killed_at(cloud, deployed, commands, moment, *asked) for moment in moments]
    assert ended == [-signal.SIGKILL] * 4
    told(cloud(*asked))
    after = content(deployed)
    changes_nothing(cloud, deployed, *asked)
    for held in (deployed.run_jobs, deployed.schedules, deployed.policies, deployed.channels):
        held.clear()
    for held in (deployed.services, deployed.revisions):
        for name in [name for name in held if name.startswith(PRIVATE)]:
            del held[name]
    deployed._made = 0
    told(cloud(*asked))
    assert content(deployed) == after


def test_an_answer_that_is_lost_makes_nothing_twice(cloud: Cloud, deployed: GoogleCloud) -> None:
    deployed.lost = {"projects.alertPolicies.create", "jobs.create"}
    for _ in range(2):
        assert "run the same command again" in refused(cloud(*WATCH))
    told(cloud(*WATCH))
    content(deployed)  # which refuses two of one name
    assert len(deployed.policies) == len(ALERTS) + len(JUDGED)


def test_another_bundle_is_judged_once_that_is_asked_for(cloud: Cloud, deployed: GoogleCloud) -> None:
    told(cloud(*WATCH))
    plant(deployed, "fraud-2", "gs://shop/fraud/bundles/fraud/2")
    assert "the drift job has another bundle than fraud-2" in told(cloud("action=status"))
    told(cloud(*WATCH, "watch.schedule='0 */6 * * *'"))
    assert deployed.run_jobs[DRIFT]["template"]["template"]["containers"][0]["args"][0].endswith("/fraud/2")
    assert deployed.schedules[DRIFT]["schedule"] == "0 */6 * * *"
    [target] = deployed.services[PRIVATE]["traffic"]
    assert f"{PRIVATE}/revisions/{target['revision']}" in deployed.revisions
    # Back to the first one, whose drift revision is there already.
    assert "another bundle" in told(cloud("action=rollback", "revision=fraud-1"))
    told(cloud(*WATCH))
    assert len([name for name in deployed.revisions if name.startswith(PRIVATE)]) == 2


def test_status_says_what_is_not_well_and_what_to_type(cloud: Cloud, deployed: GoogleCloud) -> None:
    told(cloud(*WATCH))
    assert "drift    not yet" in told(cloud("action=status"))
    execution = {"name": "fraud-drift-1", "createTime": "2026-11-30T10:15:00Z", "completionStatus": "EXECUTION_FAILED"}
    deployed.run_jobs[DRIFT]["latestCreatedExecution"] = execution
    deployed.schedules[DRIFT]["status"] = {"code": 7, "message": "PERMISSION_DENIED"}
    deployed.schedules[DRIFT]["state"] = "PAUSED"
    said = told(cloud("action=status"))
    assert "2026-11-30T10:15:00Z  failed" in said
    assert "gcloud logging read" in said
    assert f"--member=serviceAccount:{ACCOUNT} --role=roles/run.invoker" in said
    assert "gcloud scheduler jobs resume fraud-drift --project=shop --location=europe-west1" in said
    without_record(deployed)
    assert "copies no record to a bucket" in told(cloud("action=status"))


Change = Callable[[GoogleCloud], object]


def refusing(method: str, status: int = 403, word: str = "PERMISSION_DENIED") -> Change:
    return lambda google: google.refusals.update({method: (status, word, "Google says no.", 99)})


def without_record(google: GoogleCloud) -> None:
    [server, *_] = google.revisions[f"{SERVICE}/revisions/fraud-1"]["containers"]
    server = {**server, "args": ["bundle=b"]}
    plant(google, "fraud-9", "b", containers=[server])


@pytest.mark.parametrize(
    ("change", "settings", "says"),
    [
        (lambda google: google.services.clear(), (), "there is no service fraud to watch"),
        (without_record, (), "records=gs://<bucket>/records"),
        (refusing("jobs.create"), (), "roles/run.developer"),
        (refusing("cloudscheduler.jobs.create"), (), "roles/cloudscheduler.admin"),
        (refusing("projects.alertPolicies.create"), (), "roles/monitoring.alertPolicyEditor"),
        (refusing("projects.alertPolicies.create", 429, "RESOURCE_EXHAUSTED"), (), "quota is used up"),
        (lambda google: google.broken_images.add(IMAGE.removeprefix("image=")), (), "not found; correct that"),
        (lambda google: None, ("watch.notify=123",), "there is no such channel"),
        (lambda google: None, ("watch.notify=ops",), "must be an email address"),
        (lambda google: None, ("watch.schedule=hourly",), "five fields of cron"),
        (lambda google: None, ("watch.schedule='61 * * * *'",), "61 is not from 0 to 59"),
        (lambda google: None, ("watch.service_account=null",), "action=watch needs watch.service_account"),
    ],
)
def test_what_cannot_be_watched_is_one_message(
    cloud: Cloud, deployed: GoogleCloud, change: Change, settings: tuple[str, ...], says: str
) -> None:
    change(deployed)
    assert says in refused(cloud(*WATCH, *settings))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (("records=gs://shop/r",), "service.hash_secret"),
        (("records=gs://shop",), "gs://bucket/folder"),
        (("records=gs://shop/r", "service.hash_secret=h", "service.settings=serving.record_to=/r"), "service.settings"),
    ],
)
def test_records_that_cannot_be_kept_are_said(
    cloud: Cloud, google: GoogleCloud, registered: Registered, settings: tuple[str, ...], says: str
) -> None:
    assert says in refused(cloud(*registered[MASKS], *settings))
    assert google.services == {}


def test_the_collectors_port_is_none_of_the_clients() -> None:
    with pytest.raises(UserError, match=r"serving\.metrics_port=8000 is serving\.port"):
        ServingConfig(metrics_port=8000)
