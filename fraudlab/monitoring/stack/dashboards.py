"""Dashboards for Grafana 11 and later: the service, data and drift, the model's performance."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fraudlab.monitoring.stack.rules import IN_TIME

_MINE = 'job=~"$job",instance=~"$instance"'
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_COLUMNS, _HEIGHT, _WIDTH = 3, 8, 8


@dataclass(frozen=True)
class Panel:
    """A graph over time.

    Attributes:
        title: of the panel.
        says: what it shows, and what to make of it.
        unit: in Grafana's words.
        lines: expression and legend of each line.
    """

    title: str
    says: str
    unit: str
    lines: Sequence[tuple[str, str]]


def _rate(metric: str, by: str, more: str = "") -> str:
    return f"sum by ({by}) (rate({metric}{{{_MINE}{more}}}[$__rate_interval]))"


def _quantile(share: float) -> str:
    buckets = _rate("fraudlab_request_seconds_bucket", "le", ',stage="total"')
    return f"histogram_quantile({share}, {buckets})"


SERVICE = (
    Panel("Answers", "Requests a second by address and status.", "reqps",
          [(_rate("fraudlab_requests_total", "path, status"), "{{path}} {{status}}")]),
    Panel("Time to answer", "Of /predict, from the first byte to the answer.", "s",
          [(_quantile(share), f"p{100 * share:g}") for share in (0.5, 0.95, 0.99)]),
    Panel("Late or failed", f"Share of accepted requests that failed or took over {IN_TIME} s.", "percentunit",
          [(f'fraudlab:late:share_{window}{{job=~"$job"}}', window) for window in ("5m", "1h", "1d")]),
    Panel("Not scored", "Requests a second that were refused, by reason; queue: 429, for overload.", "reqps",
          [(_rate("fraudlab_rejections_total", "reason"), "{{reason}}")]),
    Panel("Stages", "Mean time in each stage.", "s",
          [(f"{_rate('fraudlab_request_seconds_sum', 'stage')} / {_rate('fraudlab_request_seconds_count', 'stage')}",
            "{{stage}}")]),
    Panel("Waiting", "Records that wait for a worker, and requests that may be in work.", "short",
          [(f"fraudlab_queue_records{{{_MINE}}}", "records, {{instance}}"),
           (f"fraudlab_admission_limit{{{_MINE}}}", "limit, {{instance}}")]),
    Panel("Workers", "Ready to score, and wanted.", "short",
          [(f"fraudlab_workers{{{_MINE}}}", "ready, {{instance}}"),
           (f"fraudlab_workers_wanted{{{_MINE}}}", "wanted, {{instance}}")]),
    Panel("Workers that died", "Each is replaced; the log says why it ended.", "short",
          [(f"increase(fraudlab_worker_failures_total{{{_MINE}}}[$__rate_interval])", "{{instance}}")]),
    Panel("Batch", "Mean records scored at once.", "short",
          [(f"{_rate('fraudlab_batch_records_sum', 'instance')} / {_rate('fraudlab_batch_records_count', 'instance')}",
            "{{instance}}")]),
    Panel("Record", "Scored records a second that were kept, and that were lost.", "ops",
          [(_rate("fraudlab_recorded_total", "instance"), "kept, {{instance}}"),
           (_rate("fraudlab_unrecorded_total", "instance"), "lost, {{instance}}")]),
    Panel("Record to come", "Bytes of the journal that are not in Parquet yet.", "bytes",
          [(f"fraudlab_record_backlog_bytes{{{_MINE}}}", "{{instance}}")]),
    Panel("Answers by key", "Requests a second by name of the key.", "reqps",
          [(_rate("fraudlab_key_requests_total", "key"), "{{key}}")]),
)  # fmt: skip
DATA = (
    Panel("Drift", "1 while transactions of the last day differ from those of the training.", "short",
          [(f"fraudlab_drift_alarm{{{_MINE}}}", "alarm, {{instance}}"),
           (f"fraudlab_drift_columns{{{_MINE}}}", "columns beyond their limit, {{instance}}")]),
    Panel("Columns that moved most", "Stability index over its limit; beyond 1 is an alarm.", "short",
          [(f"max by (column) (fraudlab_drift_index{{{_MINE}}} / fraudlab_drift_limit{{{_MINE}}})", "{{column}}")]),
    Panel("Rows judged", "Scored in the last day.", "short", [(f"fraudlab_drift_rows{{{_MINE}}}", "{{instance}}")]),
    Panel("Missing values", "A second, of the ten columns that have most.", "ops",
          [(f"topk(10, {_rate('fraudlab_missing_values_total', 'column')})", "{{column}}")]),
    Panel("Unknown categories", "A second, of the ten columns that have most.", "ops",
          [(f"topk(10, {_rate('fraudlab_unknown_values_total', 'column')})", "{{column}}")]),
    Panel("Scored without their past", "Records a second, while the history does not answer.", "ops",
          [(_rate("fraudlab_without_history_total", "instance"), "{{instance}}")]),
)  # fmt: skip
MODEL = (
    Panel("Alerts per 1,000", "Of the last day with a 95 % interval, and the budget.", "short",
          [(f"avg by (level, of) (fraudlab_alerts_per_1000{{{_MINE}}})", "{{level}} {{of}}")]),
    Panel("Risk levels", "Scored records a second.", "ops",
          [(_rate("fraudlab_scores_total", "risk_level"), "{{risk_level}}")]),
    *(Panel(title, f"Of the newest week whose labels are {which}, by python -m fraudlab.performance.", "short",
            [(f'max by (metric, of) (fraudlab_performance{{{_MINE},kind="{kind}",metric=~"average_precision|precision|'
              'recall"})', "{{metric}} {{of}}")])
      for title, which, kind in (("Performance", "final", "realised"), ("Estimates", "to come", "estimated"))),
    Panel("Challenger", "Records a second that it scored, by its level, and that it did not, by why.", "ops",
          [(_rate("fraudlab_challenger_scores_total", "challenger"), "{{challenger}}"),
           (_rate("fraudlab_challenger_dropped_total", "reason"), "not scored: {{reason}}")]),
    Panel("Labels", "Taken a second.", "ops", [(_rate("fraudlab_labels_total", "fraud"), "fraud: {{fraud}}")]),
    Panel("Since the last label", "Or since the start.", "s",
          [(f"time() - max by (job) (fraudlab_last_label_timestamp_seconds{{{_MINE}}})", "{{job}}")]),
    Panel("Age of the bundle", "Since its export.", "s",
          [(f"time() - fraudlab_bundle_created_timestamp_seconds{{{_MINE}}}", "{{instance}}")]),
    Panel("Bundle", "Which version each instance serves.", "short",
          [(f"count by (version) (fraudlab_bundle{{{_MINE}}})", "{{version}}")]),
)  # fmt: skip


def dashboards() -> dict[str, dict[str, Any]]:
    """Name of the file -> content."""
    made = (("service", "Service", SERVICE), ("data", "Data and drift", DATA), ("model", "Model performance", MODEL))
    return {name: _dashboard(name, title, panels) for name, title, panels in made}


def _dashboard(name: str, title: str, panels: Sequence[Panel]) -> dict[str, Any]:
    return {
        "uid": f"fraudlab-{name}",
        "title": f"fraudlab: {title}",
        "tags": ["fraudlab"],
        "schemaVersion": 41,
        "editable": False,
        "graphTooltip": 1,
        "time": {"from": "now-6h", "to": "now"},
        "refresh": "30s",
        "templating": {
            "list": [
                {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"},
                _variable("job", "label_values(fraudlab_ready, job)"),
                _variable("instance", 'label_values(fraudlab_ready{job=~"$job"}, instance)'),
            ]
        },
        "panels": [_panel(number, panel) for number, panel in enumerate(panels)],
    }


def _variable(name: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "label": name,
        "type": "query",
        "datasource": _SOURCE,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "includeAll": True,
        "allValue": ".+",
        "multi": True,
    }


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    row, column = divmod(number, _COLUMNS)
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": panel.title,
        "description": panel.says,
        "datasource": _SOURCE,
        "gridPos": {"x": column * _WIDTH, "y": row * _HEIGHT, "w": _WIDTH, "h": _HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": [
            {"refId": chr(ord("A") + at), "datasource": _SOURCE, "expr": expression, "legendFormat": legend}
            for at, (expression, legend) in enumerate(panel.lines)
        ],
    }
