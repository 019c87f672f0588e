"""The rules of ``fraudlab.monitoring.stack`` as alert policies of Cloud Monitoring, and who is told."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from fraudlab.config.cloud import CloudConfig
from fraudlab.deployment.google import Google, Json, digest
from fraudlab.errors import UserError
from fraudlab.monitoring.stack.rules import JOB, rules

_OF, _RULE, _MARK = "fraudlab-name", "fraudlab-rule", "fraudlab-digest"
_SEVERITIES = {"page": "CRITICAL", "ticket": "WARNING"}
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_NEEDS_AN_INSTANCE = "FraudlabGone"
_CLOSED = "1800s"  # after which an alert whose series has ended is over: instances come and go


def update(google: Google, config: CloudConfig, *, measured: bool, stays: bool) -> Iterator[str]:
    """Make the policies of the service, change those whose rule has changed, delete those without one.

    What somebody has changed by hand stays until the rule changes.

    Args:
        google: where.
        config: of which service, and who is told.
        measured: whether its metrics come to Cloud Monitoring; without them only the drift job has policies.
        stays: whether there is an instance at any time, so that none at all is an alert.
    """
    channel = _channel(google, config.watch.notify)
    wanted = {body["userLabels"][_RULE]: body for body in _wanted(google, config, measured=measured, stays=stays)}
    there = {each["userLabels"][_RULE]: each for each in _own(google, config.name)}
    for rule, body in wanted.items():
        body["notificationChannels"] = [] if channel is None else [channel]
        body["userLabels"][_MARK] = digest(body)
        if rule not in there:
            google.call("alerting", "POST", f"projects/{google.project}/alertPolicies", body)
        elif there[rule]["userLabels"].get(_MARK) != body["userLabels"][_MARK]:
            google.call("alerting", "PATCH", there[rule]["name"], body, updateMask=",".join(body))
    for rule in sorted(there.keys() - wanted.keys()):
        google.call("alerting", "DELETE", there[rule]["name"])
        yield f"removed  {there[rule]['displayName']}, which has no rule any more"
    yield f"alerts   {len(wanted)} policies, {_told(config.watch.notify)}"
    if not measured:
        yield "         of the drift job alone: deploy with service.metrics_secret=<secret> for those of the service"
    elif not stays:
        yield f"         without {_NEEDS_AN_INSTANCE}: with service.min_instances=0 no instance is no fault"


def policies(google: Google, name: str) -> Iterator[str]:
    """How many policies there are of a service, and how many of them tell nobody or are off."""
    found = _own(google, name)
    silent = sum(not each.get("notificationChannels") for each in found)
    off = sum(each.get("enabled") is False for each in found)
    yield f"alerts   {len(found)} policies, {silent} tell nobody, {off} are off"


def _told(notify: str | None) -> str:
    return f"told to {notify}" if notify else "which tell nobody: add watch.notify=<email address or channel>"


def _own(google: Google, name: str) -> list[Json]:
    every = google.all("alerting", f"projects/{google.project}/alertPolicies", "alertPolicies")
    of = f"{name}--{google.region}"
    return [each for each in every if each.get("userLabels", {}).get(_OF) == of and _RULE in each["userLabels"]]


def _channel(google: Google, notify: str | None) -> str | None:
    """The notification channel of an address, made where there is none; or the one that is named."""
    parent = f"projects/{google.project}/notificationChannels"
    if notify is None:
        return None
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
            if stays or rule["alert"] != _NEEDS_AN_INSTANCE:
                condition = _promql(rule, rule["expr"], _seconds(rule.get("for", "0s")))
                yield _policy(config.name, rule, condition, of)
    job = f'job_name="{config.name}-drift"'
    failed = {
        "alert": "FraudlabDriftJobFailed",
        "labels": {"severity": "ticket"},
        "annotations": {"summary": "The drift job fails", "description": "Its log says why."},
    }
    count = "run_googleapis_com:job_completed_execution_count"
    query = f'increase({count}{{monitored_resource="cloud_run_job",{job},result="failed"}}[1h]) > 0'
    yield _policy(config.name, failed, _promql(failed, query, 0), of)
    found = {
        "alert": "FraudlabDriftOfAll",
        "labels": {"severity": "ticket"},
        "annotations": {
            "summary": "Transactions of all instances differ from those of the training",
            "description": f"Ask the service {config.name}-drift for /drift.",
        },
    }
    line = f'resource.type="cloud_run_job" AND resource.labels.{job} AND textPayload=~"^alarm +yes"'
    policy = _policy(config.name, found, {"conditionMatchedLog": {"filter": line}}, of)
    policy["alertStrategy"]["notificationRateLimit"] = {"period": "86400s"}
    yield policy


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
