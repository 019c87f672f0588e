"""The answers of ``/alerts``, ``/performance`` and ``/statistics``, from memory and the record of this instance.

And ``/drift``, where it is to be that of all instances.

The process that answers HTTP is a fork, where Polars must not run: nothing here reads rows of the record.
"""

import logging
import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
from prometheus_client.core import GaugeMetricFamily

from fraudlab.bundle.cloud import read
from fraudlab.errors import UserError
from fraudlab.monitoring import kept
from fraudlab.monitoring.labels import Label
from fraudlab.serving.telemetry import STAGES, Telemetry

MOST_ALERTS = 1000
"""That are kept in memory, and given at once."""
_FRESH = 30.0  # seconds that a report from a bucket is answered before it is looked for again
_SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
_KINDS = ("realised", "estimated")
_ROW = ("request_id", "position", "transaction_id", "transaction_time", "scored_at", "raw_score", "score", "risk_level",
        "reasons", "decision")  # fmt: skip
_log = logging.getLogger(__name__)


class Alerts:
    """The latest alerts of the record, the newest last, and what was said of each since.

    Args:
        fields: of the contract, in its order.
    """

    def __init__(self, fields: Sequence[str]) -> None:
        self._fields = fields
        self._since = datetime.now(UTC)
        self._latest: deque[tuple[dict[str, Any], bytes]] = deque(maxlen=MOST_ALERTS)

    def add(self, answers: Sequence[Mapping[str, Any]], lines: bytes) -> None:
        """Take the alerts of an answer from its lines for the record, where fields may stand as hashes."""
        if all(answer["risk_level"] == "low" for answer in answers):
            return  # nearly always: the lines are long
        for answer, line in zip(answers, lines.split(b"\n"), strict=False):
            if answer["risk_level"] != "low":
                row = dict(zip(_ROW, orjson.loads(line.partition(b"\t")[0]), strict=False))
                row["scored_at"] = datetime.fromtimestamp(row["scored_at"] / 1e6, UTC).isoformat()
                row["label"] = None
                self._latest.append((row, line))

    def told(self, labels: Sequence[Label]) -> None:
        """Note what is said of these alerts: what was said last counts; of two sayings of one moment, fraud."""
        now = datetime.now(UTC)
        said = {(str(each.id),) if each.id is not None else (each.request_id, each.position): each for each in labels}
        for row, _ in self._latest:
            for key in ((row["transaction_id"],), (row["request_id"], row["position"])):
                if (label := said.get(key)) is not None:
                    at = now if label.event_time is None else datetime.fromtimestamp(label.event_time / 1e6, UTC)
                    new = {"fraud": label.fraud, "source": label.source, "event_time": at.isoformat()}
                    row["label"] = max(row["label"] or new, new, key=_when)

    def answer(self, limit: int, level: str | None) -> dict[str, Any]:
        """The ``limit`` newest ones, the newest first, of one level or of both."""
        wanted = [row for row, _ in reversed(self._latest) if level in (None, row["risk_level"])]
        return {"since": self._since.isoformat(), "kept": len(self._latest), "alerts": wanted[:limit]}

    def one(self, request_id: str, position: int) -> dict[str, Any] | None:
        """One of them with ``inputs``, as the record has them; None where it is not among them."""
        for row, line in reversed(self._latest):
            if (row["request_id"], row["position"]) == (request_id, position):
                inputs = orjson.loads(line.partition(b"\t")[2])
                return {**row, "inputs": dict(zip(self._fields, inputs, strict=True))}
        return None


def _when(label: Mapping[str, Any]) -> tuple[str, bool]:
    return label["event_time"], bool(label["fraud"])


class Performance:
    """The newest kept report of ``python -m fraudlab.performance``, as an answer and as metrics.

    Args:
        folder: of the record.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._changed: int | None = None
        self._newest: dict[str, Any] | None = None

    def answer(self) -> dict[str, Any] | None:
        """The report; None where none is kept."""
        try:
            changed = (self._folder / kept.FOLDER).stat().st_mtime_ns  # a report is renamed into it
        except OSError:
            return None
        if changed != self._changed:
            self._changed, self._newest = changed, self._found()
        return self._newest

    def _found(self) -> dict[str, Any] | None:
        for path in reversed(kept.paths(self._folder)):
            try:
                report = kept.read(path)
            except (OSError, ValueError):  # taken away meanwhile, or not one of ours
                continue
            if kept.is_whole(report):
                return report
        return None

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Metrics of the newest week of either kind; of several bundles' the one with most rows."""
        gauge = GaugeMetricFamily(
            "fraudlab_performance",
            "Of the newest week in the newest report, with a 90 % interval",
            labels=["metric", "kind", "of"],
        )
        weeks = (self.answer() or {"weeks": []})["weeks"]
        for kind in _KINDS:
            found = max(
                (week for week in weeks if week[kind]), key=lambda each: (each["week"], each["rows"]), default=None
            )
            for metric, it in (found or {kind: {}})[kind].items():
                for of, value in it.items():
                    if value is not None:
                        gauge.add_metric([metric, kind, of], value)
        yield gauge


class DriftOfAll:
    """The report that ``python -m fraudlab.drift`` wrote last of the records of all instances.

    Args:
        address: of its ``drift.json``: ``gs://`` or a file.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._looked: float | None = None
        self._newest: bytes | None = None

    def answer(self) -> bytes | None:
        """The report as JSON; None where none was written yet, or none can be read; the log says why."""
        if self._looked is None or time.monotonic() - self._looked > _FRESH:
            self._looked = time.monotonic()
            try:
                self._newest = read("serving.drift_from", self._address)
            except (OSError, UserError) as error:  # what was read before stays
                _log.error("the report of drift cannot be read: %s", error)
        return self._newest


def statistics(telemetry: Telemetry, budget: Mapping[str, float], challenger: str | None) -> dict[str, Any]:
    """Counts since the server started, reloads included: ``/metrics``, told in a few numbers.

    Args:
        telemetry: that counts.
        budget: alerts per 1,000 by level, counted from the top.
        challenger: version of what scores in the shadow.
    """
    found: dict[str, list[Any]] = defaultdict(list)
    for metric in telemetry.counted():
        for sample in metric.samples:
            found[sample.name].append(sample)
    since = min(each.value for name, samples in found.items() if name.endswith("_created") for each in samples)
    requests: dict[str, dict[str, int]] = defaultdict(dict)
    for sample in found["fraudlab_requests_total"]:
        if sample.value:
            requests[sample.labels["path"]][sample.labels["status"]] = int(sample.value)
    levels = Counter({sample.labels["risk_level"]: sample.value for sample in found["fraudlab_scores_total"]})
    scored, alerts = _alerts(levels)
    refused = found["fraudlab_rejections_total"]
    return {
        "since": datetime.fromtimestamp(since, UTC).isoformat(),
        "requests": requests,
        "refusals": {sample.labels["reason"]: int(sample.value) for sample in refused if sample.value},
        "seconds": {stage: _percentiles(found["fraudlab_request_seconds_bucket"], stage) for stage in STAGES},
        "latency": _histogram(found["fraudlab_request_seconds_bucket"]),
        "scored": int(scored),
        "alerts_per_1000": {level: {"seen": seen, "budget": budget[level]} for level, seen in alerts.items()},
        "challenger": None if challenger is None else {"bundle_version": challenger, **_both(found)},
    }


def _alerts(levels: Mapping[str, float]) -> tuple[float, dict[str, float | None]]:
    """How many were scored, and the alerts of 1,000 by level, counted from the top."""
    scored, high = sum(levels.values()), levels.get("high", 0.0)
    alerts = {"high": high, "medium": high + levels.get("medium", 0.0)}
    return scored, {level: 1000 * count / scored if scored else None for level, count in alerts.items()}


def _both(found: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """Of what a challenger scored, too: how many, both's alerts, and what it dropped."""
    sides: dict[str, Counter[str]] = {"champion": Counter(), "challenger": Counter()}
    for sample in found["fraudlab_challenger_scores_total"]:
        for side, levels in sides.items():
            levels[sample.labels[side]] += sample.value
    dropped = {each.labels["reason"]: int(each.value) for each in found["fraudlab_challenger_dropped_total"]}
    return {
        "scored": int(sum(sides["champion"].values())),
        "dropped": dropped,
        "alerts_per_1000": {side: _alerts(levels)[1] for side, levels in sides.items()},
    }


def _histogram(buckets: Sequence[Any]) -> dict[str, list[float] | list[int]]:
    """Requests by their whole time; of two such answers the difference tells of the time between."""
    own = sorted((float(each.labels["le"]), int(each.value)) for each in buckets if each.labels["stage"] == "total")
    counts = [count for _, count in own]
    between = [count - before for count, before in zip(counts, [0, *counts], strict=False)]
    return {"bounds": [bound for bound, _ in own[:-1]], "counts": between}


def _percentiles(buckets: Sequence[Any], stage: str) -> dict[str, float | None]:
    """As Prometheus's ``histogram_quantile``: linear within a bucket; beyond the last bound, that bound."""
    own = sorted((float(each.labels["le"]), each.value) for each in buckets if each.labels["stage"] == stage)
    total = own[-1][1]
    found: dict[str, float | None] = {}
    for name, share in _SHARES.items():
        before = bound_before = 0.0
        found[name] = None
        for bound, count in own if total else []:
            if count >= share * total:
                inside = (share * total - before) / (count - before)
                found[name] = bound_before if bound == float("inf") else bound_before + inside * (bound - bound_before)
                break
            before, bound_before = count, bound
    return found
