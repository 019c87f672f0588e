"""Recording and alert rules for Prometheus, and Alertmanager's routes."""

import re
from typing import Any

JOB = 'job="fraudlab"'
COLLECTED_PORT = 8081
"""Of ``serving.metrics_port`` on Cloud Run."""
IN_TIME = "0.256"
"""Seconds within which an accepted request is to be answered; an edge of the server's histogram."""
OBJECTIVE = 0.999
"""Share of accepted requests that are to be answered in time, over 30 days."""
_BURN = (
    ("page", 14.4, "1h", "5m"),
    ("page", 6.0, "6h", "30m"),
    ("ticket", 3.0, "1d", "2h"),
    ("ticket", 1.0, "3d", "6h"),
)
"""Severity, share of the budget that is spent too fast, long and short window (Google, *The Site Reliability Workbook*,
chapter 5)."""
_WINDOWS = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")
_FEW = 100
"""Requests in an hour below which a share says little and failures are counted instead."""
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"\b(\d+)([smhd])\b")


def rules(speed: float = 1.0) -> dict[str, Any]:
    """Content of ``rules.yml``.

    Args:
        speed: by which all durations are divided, for a service that is replayed faster than it happened.
    """
    groups = [
        {"name": "fraudlab_in_time", "interval": "30s", "rules": [_late_share(window) for window in _WINDOWS]},
        {"name": "fraudlab_alerts", "interval": "30s", "rules": [*_burn_alerts(), *_alerts()]},
    ]
    return {"groups": _faster(groups, speed)}


def _late_share(window: str) -> dict[str, Any]:
    scored = f'sum by (job) (rate(fraudlab_request_seconds_count{{{JOB},stage="total"}}[{window}]))'
    in_time = f'sum by (job) (rate(fraudlab_request_seconds_bucket{{{JOB},stage="total",le="{IN_TIME}"}}[{window}]))'
    failed = f'sum by (job) (rate(fraudlab_requests_total{{{JOB},path="/predict",status=~"500|503"}}[{window}]))'
    late = f"(({failed} or 0 * {scored}) + {scored} - {in_time}) / {scored}"  # 504 is late by itself
    return {"record": f"fraudlab:late:share_{window}", "expr": f"{late} > 0 or 0 * {scored}"}


def _burn_alerts() -> list[dict[str, Any]]:
    made = []
    scored = f'sum by (job) (increase(fraudlab_request_seconds_count{{{JOB},stage="total"}}[1h]))'
    for severity, burn, long, short in _BURN:
        limit = f"{burn * (1 - OBJECTIVE):.4g}"
        enough = f" and {scored} >= {_FEW}" if long == "1h" else ""
        made.append(
            _alert(
                f"FraudlabLate{long}",
                f"fraudlab:late:share_{long} > {limit} and fraudlab:late:share_{short} > {limit}{enough}",
                None,
                severity,
                f"Accepted requests fail or take over {IN_TIME} s",
                f"{{{{ $value | humanizePercentage }}}} of them over {long}, {burn:g} times what {OBJECTIVE:.1%} "
                "allows. Look at the queue, the workers and the log.",
            )
        )
    failed = f'sum by (job) (increase(fraudlab_requests_total{{{JOB},path="/predict",status=~"5.."}}[1h]))'
    made.append(
        _alert(
            "FraudlabFailsAtLowTraffic",
            f"{failed} >= 3 unless {scored} >= {_FEW}",
            None,
            "ticket",
            "Requests fail, and there are too few for a share to say how badly",
            "{{ $value | humanize }} in the last hour. Look at the log.",
        )
    )
    return made


def _alerts() -> list[dict[str, Any]]:
    refused = f'sum by (job) (rate(fraudlab_rejections_total{{{JOB},reason="queue"}}[10m]))'
    scores = f"sum by (job) (rate(fraudlab_scores_total{{{JOB}}}[10m]))"
    per_1000 = "fraudlab_alerts_per_1000"
    budget = f'ignoring(of) {per_1000}{{{JOB},of="budget"}}'
    recorded = f"rate(fraudlab_recorded_total{{{JOB}}}[10m])"
    dropped = f"sum by (job, instance) (rate(fraudlab_challenger_dropped_total{{{JOB}}}[6h]))"
    shadowed = f"(sum by (job, instance) (rate(fraudlab_challenger_scores_total{{{JOB}}}[6h])) or 0 * {dropped})"
    return [
        _alert("FraudlabDown", f"up{{{JOB}}} == 0", "2m", "page", "A server does not answer Prometheus",
               "{{ $labels.instance }}. Is its process there, and its key for /metrics right?"),
        _alert("FraudlabGone", f"absent(up{{{JOB}}})", "5m", "page", "Prometheus knows no server",
               "Look at the targets of its configuration."),
        _alert("FraudlabNotReady", f"fraudlab_ready{{{JOB}}} == 0", "2m", "page", "A server is not ready",
               "{{ $labels.instance }}. /health/ready says how many workers are up."),
        _alert("FraudlabWorkersMissing", f"fraudlab_workers{{{JOB}}} < fraudlab_workers_wanted", "1m", "ticket",
               "Workers are missing", "{{ $value }} are up on {{ $labels.instance }}. The log says why they ended."),
        _alert("FraudlabWorkersDie", f"increase(fraudlab_worker_failures_total{{{JOB}}}[10m]) >= 1", None, "ticket",
               "Workers die", "{{ $value | humanize }} in ten minutes on {{ $labels.instance }}."),
        _alert("FraudlabOverload", f"{refused} / ({refused} + {scores}) > 0.05", "10m", "ticket",
               "Requests are refused for overload", "{{ $value | humanizePercentage }} get 429. Add instances."),
        _alert("FraudlabRecordLost", f"increase(fraudlab_unrecorded_total{{{JOB}}}[10m]) > 0", None, "ticket",
               "Scored transactions are missing in the record",
               "{{ $value | humanize }} in ten minutes on {{ $labels.instance }}. Is the disk full?"),
        _alert("FraudlabRecordStopped",
               f"sum by (job, instance) (rate(fraudlab_scores_total{{{JOB}}}[10m])) > 0 and on(job, instance) "
               f"{recorded} == 0 and on(job, instance) fraudlab_recorded_total{{{JOB}}} > 0",
               "10m", "ticket", "The record has stopped", "{{ $labels.instance }} scores and records nothing."),
        _alert("FraudlabRecordBacklog", f"fraudlab_record_backlog_bytes{{{JOB}}} > 1e9", "2h", "ticket",
               "The record is not made into Parquet", "{{ $value | humanize1024 }}B wait on {{ $labels.instance }}."),
        _alert("FraudlabWithoutHistory", f"increase(fraudlab_without_history_total{{{JOB}}}[10m]) > 0", None, "ticket",
               "Transactions are scored without their past", "The history does not answer {{ $labels.instance }}."),
        _alert("FraudlabChallengerDown", f"fraudlab_challenger_up{{{JOB}}} == 0", "15m", "ticket",
               "The challenger does not score",
               "The log of {{ $labels.instance }} says why. After serving.worker_starts ends it waits for SIGHUP."),
        _alert("FraudlabChallengerDrops", f"{shadowed} / ({dropped} + {shadowed}) < 0.05", "1h", "ticket",
               "A challenger scores too few transactions to be compared",
               "{{ $value | humanizePercentage }} of those of six hours on {{ $labels.instance }}, where it has too "
               "little of the processors, or fails. fraudlab_challenger_dropped_total says why."),
        _alert("FraudlabDrift", f"fraudlab_drift_alarm{{{JOB}}} == 1", "15m", "ticket",
               "Transactions differ from those of the training",
               "Ask {{ $labels.instance }} for /drift, or run python -m fraudlab.drift."),
        _alert("FraudlabManyAlerts", f'{per_1000}{{{JOB},of="low"}} > {budget} * 1.5', "1h", "ticket",
               "More alerts than analysts are there for",
               "At least {{ $value | humanize }} of 1,000 transactions at level {{ $labels.level }}. /drift has the "
               "threshold that restores the budget."),
        _alert("FraudlabFewAlerts", f'{per_1000}{{{JOB},of="high"}} < {budget} * 0.5', "1h", "ticket",
               "Fewer alerts than budgeted",
               "At most {{ $value | humanize }} of 1,000 transactions at level {{ $labels.level }}."),
        _alert("FraudlabLabelsStale",
               f"time() - max by (job) (fraudlab_last_label_timestamp_seconds{{{JOB}}}) > {_seconds('3d')}", "1m",
               "ticket", "No labels have come", "None for {{ $value | humanizeDuration }}. Estimates go stale."),
        _alert("FraudlabBundleOld",
               f"time() - max by (job) (fraudlab_bundle_created_timestamp_seconds{{{JOB}}}) > {_seconds('90d')}", "1m",
               "ticket", "The model is old", "It was exported {{ $value | humanizeDuration }} ago. Train again."),
    ]  # fmt: skip


def _alert(
    name: str, expression: str, lasts: str | None, severity: str, summary: str, description: str
) -> dict[str, Any]:
    made: dict[str, Any] = {"alert": name, "expr": expression}
    if lasts is not None:
        made["for"] = lasts
    return {
        **made,
        "labels": {"severity": severity},
        "annotations": {"summary": summary, "description": description},
    }


def _seconds(duration: str) -> str:
    """Seconds of a duration, marked for :func:`_faster`."""
    return f"{int(duration[:-1]) * _SECONDS[duration[-1]]}s_"


def _faster(content: Any, speed: float) -> Any:
    """The content with durations divided: of windows, ``for`` and ``interval``, and seconds that ages are held to."""
    if isinstance(content, dict):
        return {
            key: value if key in ("annotations", "record", "alert", "name") else _faster(value, speed)
            for key, value in content.items()
        }
    if isinstance(content, list):
        return [_faster(each, speed) for each in content]
    if not isinstance(content, str):
        return content
    plain = re.sub(r"(\d+)s_", lambda found: f"{int(found[1]) / speed:g}", content)
    if speed == 1:
        return plain

    def shorter(found: re.Match[str], least: int) -> str:
        return f"{max(round(1000 * int(found[1]) * _SECONDS[found[2]] / speed), 1000 * least)}ms"

    if whole := _DURATION.fullmatch(plain):
        return shorter(whole, 1)
    # A window needs several scrapes, one a second.
    return re.sub(r"\[(\d+)([smhd])\]", lambda found: f"[{shorter(found, 5)}]", plain)


def prometheus(targets: list[str], alertmanagers: list[str], key_file: str, speed: float = 1.0) -> dict[str, Any]:
    """Content of ``prometheus.yml``: ``targets`` and ``alertmanagers`` are ``host:port``."""
    every = "15s" if speed == 1 else "1s"
    return {
        "global": {"scrape_interval": every, "evaluation_interval": every},
        "rule_files": ["rules.yml"],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": alertmanagers}]}]},
        "scrape_configs": [
            {
                "job_name": "fraudlab",
                "authorization": {"type": "Bearer", "credentials_file": key_file},
                "static_configs": [{"targets": targets}],
            }
        ],
    }


def run_monitoring() -> dict[str, Any]:
    """Content of ``run_monitoring.yml``, for the collector that Google has beside a server on Cloud Run.

    It can send no key, so the server has a port for it alone. Its name becomes the label ``job``, and the service's the
    label ``namespace``.
    """
    return {
        "apiVersion": "monitoring.googleapis.com/v1beta",
        "kind": "RunMonitoring",
        "metadata": {"name": "fraudlab"},
        "spec": {
            "endpoints": [{"port": COLLECTED_PORT, "path": "/metrics", "interval": "30s"}],
            "targetLabels": {"metadata": ["service", "revision"]},
        },
    }


def alertmanager(page_url: str, ticket_url: str, speed: float = 1.0) -> dict[str, Any]:
    """Content of ``alertmanager.yml``: pages repeat each hour, tickets each day; a server that is down says so once."""
    timing = {"group_wait": "30s", "group_interval": "5m"}
    down = 'alertname="FraudlabDown"'
    content = {
        "route": {
            "receiver": "ticket",
            "group_by": ["alertname", "job"],
            **timing,
            "repeat_interval": "1d",
            "routes": [{"matchers": ['severity="page"'], "receiver": "page", "repeat_interval": "1h"}],
        },
        "inhibit_rules": [
            {
                "source_matchers": [down],
                "target_matchers": ['alertname=~"FraudlabNotReady|FraudlabWorkersMissing|FraudlabRecordStopped"'],
                "equal": ["instance"],
            }
        ],
        "receivers": [
            {"name": "page", "webhook_configs": [{"url": page_url, "send_resolved": True}]},
            {"name": "ticket", "webhook_configs": [{"url": ticket_url, "send_resolved": True}]},
        ],
    }
    return _faster(content, speed) if speed != 1 else content
