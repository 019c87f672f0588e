"""``action=watch`` typed again: what was chosen stays, what failed is made, what would end in silence is said."""

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from fraudlab.deployment.cron import longest_gap
from fraudlab.errors import UserError
from fraudlab.serving.people import DriftOfAll
from tests.deployment.conftest import (
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
    plant,
    refused,
    told,
)
from tests.support.google_cloud import GoogleCloud
from tests.support.prometheus import PROMTOOL


def printed(said: str) -> list[str]:
    """The settings of the command that is to be typed."""
    found = re.search(r"type: python -m fraudlab.cloud (.*)", said)
    assert found is not None, said
    return shlex.split(found[1])


def test_the_command_that_is_printed_keeps_what_was_chosen(cloud: Cloud, deployed: GoogleCloud) -> None:
    chosen = ("watch.schedule='0 */6 * * *'", "watch.hours=72", "watch.memory=16Gi", "watch.cpu=4")
    told(cloud(*WATCH, *chosen, "watch.notify=ops@shop.example"))
    before = content(deployed)
    # Another image and place of the record, and a plugin, which both need to read the bundle.
    server = deployed.revisions[f"{SERVICE}/revisions/fraud-1"]["containers"][0]
    own = ["bundle=gs://shop/fraud/bundles/fraud/1", "serving.record_upload=gs://shop/other", "plugins=[mine]"]
    plant(deployed, "fraud-2", "", containers=[{**server, "image": "new", "args": own}, {"image": "x"}])
    said = told(cloud("action=status"))
    assert "another image and plugins and records than fraud-2" in said
    again = printed(said)
    assert {"project=shop", "region=europe-west1"} < set(again)
    told(cloud(*again))
    after = content(deployed)
    assert {name: each["notificationChannels"] for name, each in after["policies"].items()} == {
        name: each["notificationChannels"] for name, each in before["policies"].items()
    }
    assert after["schedules"] == before["schedules"]
    [old], [new] = (each["jobs"][DRIFT]["template"]["template"]["containers"] for each in (before, after))
    assert new["resources"] == old["resources"]
    assert "hours=72" in new["args"]
    assert {"records=gs://shop/other", "out=gs://shop/other/_drift", "plugins=[mine]"} < set(new["args"])
    assert "plugins=[mine]" in after["service"]["template"]["containers"][0]["args"]
    assert new["image"] == after["service"]["template"]["containers"][0]["image"] == "new"
    assert "type:" not in told(cloud("action=status"))
    # A channel that somebody chose for one policy stays, until all are told who is.
    policy = next(iter(deployed.policies.values()))
    policy["notificationChannels"] = []
    assert "1 notify nobody" in told(cloud("action=watch"))
    told(cloud("action=watch", "watch.notify=ops@shop.example"))
    assert all(each["notificationChannels"] for each in deployed.policies.values())
    told(cloud("action=watch", "watch.notify=none"))
    assert not any(each["notificationChannels"] for each in deployed.policies.values())


def test_what_failed_once_is_made_when_it_is_typed_again(cloud: Cloud, deployed: GoogleCloud) -> None:
    image = IMAGE.removeprefix("image=")
    deployed.broken_images.add(image)
    for _ in range(2):
        assert f"Image '{image}' not found; correct that, then type this command again" in refused(cloud(*WATCH))
    deployed.broken_images.clear()
    deployed.after = lambda method: deployed.broken_images.add(image) if method == "jobs.patch" else None
    said = refused(cloud(*WATCH))  # now it is the drift service that does not start
    assert "is not ready and cannot serve traffic" in said
    assert "delete" not in said  # which Cloud Run refuses where the revision has traffic
    deployed.after = lambda method: None
    deployed.broken_images.clear()
    told(cloud(*WATCH))
    assert deployed.run_jobs[DRIFT]["terminalCondition"]["state"] == "CONDITION_SUCCEEDED"
    [target] = deployed.services[PRIVATE]["traffic"]
    [ready] = deployed.revisions[f"{PRIVATE}/revisions/{target['revision']}"]["conditions"]
    assert ready["state"] == "CONDITION_SUCCEEDED"
    changes_nothing(cloud, deployed, *WATCH)


def test_a_revision_of_somebody_else_is_said(cloud: Cloud, deployed: GoogleCloud) -> None:
    told(cloud(*WATCH))
    plant(deployed, "hand-1", "", containers=[{"image": "i", "ports": [{"containerPort": 8080}]}])
    says = "revision hand-1, which has the traffic, was not made by action=deploy"
    assert says in refused(cloud("action=watch"))
    assert says in told(cloud("action=status"))
    told(cloud("action=rollback", "revision=fraud-1"))
    assert says in told(cloud("action=rollback", "revision=hand-1"))  # which is done


def test_a_deployment_ends_no_record_and_no_metrics_unasked(
    cloud: Cloud, deployed: GoogleCloud, registered: Registered
) -> None:
    asked = registered[MASKS]
    assert f"add records={RECORDS}" in refused(cloud(*asked))
    assert "add service.metrics_secret=<secret>" in refused(cloud(*asked, "records=none"))
    assert len(deployed.revisions) == 1
    deployed.broken_images.add(IMAGE.removeprefix("image="))  # far enough: the revision is made
    assert "is not ready" in refused(cloud(*asked, "records=none", "service.metrics_secret=none"))
    [server] = deployed.services[SERVICE]["template"]["containers"]
    assert not any("record" in word or "metrics" in word for word in server["args"])


@pytest.mark.skipif(PROMTOOL is None, reason="apt-get install prometheus")
def test_conditions_fire_and_do_not_by_promtool(cloud: Cloud, deployed: GoogleCloud, tmp_path: Path) -> None:
    told(cloud(*WATCH))
    late, overdue, here, elsewhere = "FraudlabLate1h", "FraudlabDriftOverdue", "europe-west1", "us-east1"
    conditions = [policy["conditions"][0] for policy in deployed.policies.values()]
    promql = [each.get("conditionPrometheusQueryLanguage", {}) for each in conditions]
    two = [of for of in promql if of.get("alertRule") in (late, overdue)]
    alerts = [{"alert": of["alertRule"], "expr": of["query"], "for": of["duration"]} for of in two]
    rules = {"groups": [{"name": "policies", "interval": "5m", "rules": alerts}]}
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(rules))

    def requests(region: str) -> dict[str, str]:
        """2 % of 1,000 a minute are late, 20 times what is allowed."""
        of = f'job="fraudlab",namespace="fraud",location="{region}",stage="total"'
        return {
            f"fraudlab_request_seconds_count{{{of}}}": "0+1000x120",
            f'fraudlab_request_seconds_bucket{{{of},le="0.256"}}': "0+980x120",
        }

    def runs(region: str) -> dict[str, str]:
        """The job ends well after one, two and three days, and then no more."""
        of = f'monitored_resource="cloud_run_job",job_name="fraud-drift",location="{region}",result="succeeded"'
        return {f"run_googleapis_com:job_completed_execution_count{{{of}}}": "0x23 1x23 2x23 3x120"}

    def case(interval: str, series: dict[str, str], at: str, alert: str, fires: list[dict[str, str]]) -> dict[str, Any]:
        expected = [{"exp_labels": labels} for labels in fires]
        return {
            "interval": interval,
            "input_series": [{"series": name, "values": values} for name, values in series.items()],
            "alert_rule_test": [{"eval_time": at, "alertname": alert, "exp_alerts": expected}],
        }

    cases = [
        case("1m", requests(here), "2h", late, [{"job": "fraudlab"}]),
        case("1m", requests(elsewhere), "2h", late, []),
        case("1h", runs(here), "90h", overdue, []),
        case("1h", runs(here), "118h", overdue, []),
        case("1h", runs(here), "124h", overdue, [{}]),
        case("1h", runs(elsewhere), "90h", overdue, [{}]),  # this one has never run
        case("1h", {}, "20h", overdue, []),
    ]
    (tmp_path / "tests.yml").write_text(
        yaml.safe_dump({"rule_files": ["rules.yml"], "evaluation_interval": "5m", "tests": cases})
    )
    assert PROMTOOL is not None
    judged = [PROMTOOL, "test", "rules", "tests.yml"]
    done = subprocess.run(judged, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("schedule", "minutes"),
    [
        ("* * * * *", 1),
        ("15 3 * * *", 24 * 60),
        ("15 3 * * 1", 7 * 24 * 60),
        ("0 9-17/4 * * MON-FRI", (2 * 24 + 16) * 60),  # from Friday 17:00 to Monday 9:00
        ("50,10 0 * * *", 24 * 60 - 40),
        ("0 0 31 * *", 61 * 24 * 60),  # from May to July
        ("0 0 1 * 7", 7 * 24 * 60),  # the first of the month too, but never without a Sunday in a week
        ("0 0 29 2 *", 4 * 366 * 24 * 60),
    ],
)
def test_how_far_apart_runs_are(schedule: str, minutes: int) -> None:
    assert longest_gap(schedule) == minutes


@pytest.mark.parametrize("schedule", ["0 24 * * *", "0 0 0 * *", "x * * * *", "5-1 * * * *", "0 0 30 2 *"])
def test_a_schedule_that_never_runs_is_refused(schedule: str) -> None:
    with pytest.raises(UserError, match=r"watch\.schedule="):
        longest_gap(schedule)


def test_a_report_that_is_not_there_is_not_asked_for_by_every_request(tmp_path: Path) -> None:
    report = tmp_path / "drift.json"
    drift = DriftOfAll(str(report))
    assert drift.answer() is None
    report.write_text("{}")
    assert drift.answer() is None  # until it is time to look again
    assert DriftOfAll(str(report)).answer() == b"{}"
