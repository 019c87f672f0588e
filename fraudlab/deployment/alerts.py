"""The rules of ``fraudlab.monitoring.stack`` as alert policies of Cloud Monitoring, and who is notified."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from fraudlab.config.cloud import CloudConfig
from fraudlab.deployment.cron import longest_gap
from fraudlab.deployment.google import MARK, Google, Json, digest
from fraudlab.deployment.template import drift
from fraudlab.errors import UserError
from fraudlab.monitoring.stack.rules import JOB, rules

_OF, _RULE = "fraudlab-name", "fraudlab-rule"
_SEVERITIES = {"page": "CRITICAL", "ticket": "WARNING"}
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_NEEDS_AN_INSTANCE = "FraudlabGone"
_OF_AN_INSTANCE = ("FraudlabLabelsStale",)
"""Rules of a server that runs for long: here instances come and go, and each has its own last label."""
_CLOSED = "1800s"  # after which an alert whose series has ended is over: instances come and go


def update(google: Google, config: CloudConfig, *, measured: bool, stays: bool) -> Iterator[str]:
    """Make the policies of the service, change those whose rule has changed, delete those without one.

    What somebody has changed by hand stays until the rule changes; but ``watch.notify`` says for all who is told.

    Args:
        google: where.
        config: of which service, by which schedule, and who is told; None tells who is told now.
        measured: whether its metrics come to Cloud Monitoring; without them only the drift job has policies.
        stays: whether there is an instance at any time, so that none at all is an alert.
    """
    asked = _channels(google, config.watch.notify)
    wanted = {body["userLabels"][_RULE]: body for body in _wanted(google, config, measured=measured, stays=stays)}
    own = sorted(_own(google, config.name), key=lambda each: each["name"])
    there = {each["userLabels"][_RULE]: each for each in reversed(own)}
    told = sorted({channel for each in own for channel in each.get("notificationChannels", ())})
    silent = 0
    for rule, body in wanted.items():
        body["userLabels"][MARK] = digest(body)
        if rule not in there:
            body["notificationChannels"] = told if asked is None else asked
            google.call("alerting", "POST", f"projects/{google.project}/alertPolicies", body)
        else:
            has = there[rule].get("notificationChannels", [])
            if there[rule]["userLabels"].get(MARK) == body["userLabels"][MARK]:
                body = {}
            if asked not in (None, has):
                body["notificationChannels"] = asked
            if body:
                google.call("alerting", "PATCH", there[rule]["name"], body, updateMask=",".join(body))
            body.setdefault("notificationChannels", has)
        silent += not body["notificationChannels"]
    for each in own:
        rule = each["userLabels"][_RULE]
        if rule not in wanted or each is not there[rule]:
            google.call("alerting", "DELETE", each["name"])
            why = "which has no rule any more" if rule not in wanted else "of which there were two"
            yield f"removed  {each['displayName']}, {why}"
    yield f"alerts   {len(wanted)} policies, {_told(config.watch.notify, silent)}"
    if not measured:
        yield "         of the drift job alone: deploy with service.metrics_secret=<secret> for those of the service"
    elif not stays:
        yield f"         without {_NEEDS_AN_INSTANCE}: with service.min_instances=0 no instance is no fault"


def policies(google: Google, name: str) -> Iterator[str]:
    """How many policies there are of a service, and how many of them notify nobody or are off."""
    found = _own(google, name)
    silent = sum(not each.get("notificationChannels") for each in found)
    off = sum(each.get("enabled") is False for each in found)
    yield f"alerts   {len(found)} policies, {silent} notify nobody, {off} are off"


def _told(notify: str | None, silent: int) -> str:
    if silent:
        return f"{silent} notify nobody: add watch.notify=<email address or channel>"
    return f"sent to {notify or 'the same channels as before'}"


def _own(google: Google, name: str) -> list[Json]:
    every = google.all("alerting", f"projects/{google.project}/alertPolicies", "alertPolicies")
    of = f"{name}--{google.region}"
    return [each for each in every if each.get("userLabels", {}).get(_OF) == of and _RULE in each["userLabels"]]


def _channels(google: Google, notify: str | None) -> list[str] | None:
    """Who is to be notified; None if the setting is not given."""
    if notify is None:
        return None
    return [] if notify == "none" else [_channel(google, notify)]


def _channel(google: Google, notify: str) -> str:
    """The notification channel of an address, made where there is none; or the one that is named."""
    parent = f"projects/{google.project}/notificationChannels"
    if "@" not in notify:
        path = notify if "/" in notify else f"{parent}/{notify}"
        if google.find("alerting", path) is None:
            raise UserError(
                f"watch.notify={notify}: there is no such channel; gcloud beta monitoring channels list shows them, or "
                "give an email address"
            )
        return path
    for each in google.all("alerting", parent, "notificationChannels"):
        if each["type"] == "email" and each.get("labels", {}).get("email_address") == notify:
            return str(each["name"])
    body = {"type": "email", "displayName": f"fraudlab: {notify}", "labels": {"email_address": notify}}
    return str(google.call("alerting", "POST", parent, body)["name"])


def _wanted(google: Google, config: CloudConfig, *, measured: bool, stays: bool) -> Iterator[Json]:
    of = {_OF: f"{config.name}--{google.region}"}
    if measured:
        for rule in _rules(f'{JOB},namespace="{config.name}",location="{google.region}"'):
            if rule["alert"] not in _OF_AN_INSTANCE and (stays or rule["alert"] != _NEEDS_AN_INSTANCE):
                condition = _promql(rule, rule["expr"], _seconds(rule.get("for", "0s")))
                yield _policy(config.name, rule, condition, of)
    yield from _of_the_job(google, config, of)


def _of_the_job(google: Google, config: CloudConfig, of: Mapping[str, str]) -> Iterator[Json]:
    """The policies of the drift job: that it runs, and what its log says."""
    which = {"job_name": drift(config.name), "location": google.region}
    labels = ",".join(f'{key}="{value}"' for key, value in which.items())
    runs = f'run_googleapis_com:job_completed_execution_count{{monitored_resource="cloud_run_job",{labels},result='
    failed = _ticket("FraudlabDriftJobFailed", "The drift job fails", "Its log says why.")
    yield _policy(config.name, failed, _promql(failed, f'increase({runs}"failed"}}[1h]) > 0', 0), of)
    gap = longest_gap(str(config.watch.schedule))
    overdue = _ticket(
        "FraudlabDriftOverdue",
        "The drift job has not ended well for two periods of its schedule",
        f"{google.command('status', config.name)} says whether its schedule is paused or may not start it.",
    )
    # Where it never ran there is no series. The run itself may take an hour.
    query = f'(sum(increase({runs}"succeeded"}}[{gap}m])) or vector(0)) < 0.5'
    yield _policy(config.name, overdue, _promql(overdue, query, 60 * gap + 3600), of)
    yield _of_log(
        config.name,
        _ticket(
            "FraudlabDriftOfAll",
            "Transactions of all instances differ from those of the training",
            f"Ask the service {drift(config.name)} for /drift.",
        ),
        which,
        "^alarm +yes",
        of,
    )
    yield _of_log(
        config.name,
        _ticket(
            "FraudlabDriftOfNothing",
            "The drift job finds no record of the bundle that it judges, and some of others",
            f"Another one is served. Type: {google.command('watch', config.name)}",
        ),
        which,
        "^rows +0 of this bundle",
        of,
    )


def _ticket(alert: str, summary: str, description: str) -> dict[str, Any]:
    annotations = {"summary": summary, "description": description}
    return {"alert": alert, "labels": {"severity": "ticket"}, "annotations": annotations}


def _of_log(name: str, rule: Mapping[str, Any], which: Mapping[str, str], line: str, labels: Mapping[str, str]) -> Json:
    """The policy of a line in the job's log."""
    resource = " AND ".join(f'resource.labels.{key}="{value}"' for key, value in which.items())
    wanted = f'resource.type="cloud_run_job" AND {resource} AND textPayload=~"{line}"'
    policy = _policy(name, rule, {"conditionMatchedLog": {"filter": wanted}}, labels)
    policy["alertStrategy"]["notificationRateLimit"] = {"period": "86400s"}
    return policy


def _rules(which: str) -> list[dict[str, Any]]:
    """The alerts, of the series of ``which``; Cloud Monitoring has no recording rules, so those are written out."""
    every = [rule for group in rules()["groups"] for rule in group["rules"]]
    recorded = {rule["record"]: f"({rule['expr']})" for rule in every if "record" in rule}
    name = re.compile("|".join(sorted(map(re.escape, recorded), key=len, reverse=True)))
    alerts = [rule for rule in every if "alert" in rule]
    return [
        {**rule, "expr": name.sub(lambda found: recorded[found[0]], rule["expr"]).replace(JOB, which)}
        for rule in alerts
    ]


def _promql(rule: Mapping[str, Any], query: str, seconds: int) -> Json:
    return {
        "conditionPrometheusQueryLanguage": {
            "query": query,
            "duration": f"{seconds}s",
            "evaluationInterval": "30s",
            "alertRule": rule["alert"],
            "ruleGroup": "fraudlab",
            "disableMetricValidation": True,  # a metric may have had no value yet
        }
    }


def _policy(name: str, rule: Mapping[str, Any], condition: Json, labels: Mapping[str, str]) -> Json:
    annotations = rule["annotations"]
    says = f"{annotations['summary']}. {_plain(annotations['description'])}"
    return {
        "displayName": f"{name}: {rule['alert']}",
        "documentation": {"content": says, "mimeType": "text/markdown"},
        "severity": _SEVERITIES[rule["labels"]["severity"]],
        "combiner": "OR",
        "conditions": [{"displayName": annotations["summary"], **condition}],
        "alertStrategy": {"autoClose": _CLOSED},
        "userLabels": {**labels, _RULE: rule["alert"].lower()},
    }


def _plain(description: str) -> str:
    """Without Prometheus's templates: the notification has labels and value beside it."""
    named = re.sub(r"\{\{ \$labels\.(\w+) \}\}", r"`\1`", description)
    return re.sub(r"\{\{ \$value[^}]*\}\}", "`value`", named)


def _seconds(duration: str) -> int:
    return int(duration[:-1]) * _SECONDS[duration[-1]]
