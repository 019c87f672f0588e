"""The metrics at ``/metrics``, for Prometheus; one process answers HTTP, so a registry in its memory is enough.

A reload starts another such process. It counts on from a file that the one before writes from then on until it ends.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
from prometheus_client import CollectorRegistry, Gauge, Histogram, Metric, generate_latest
from prometheus_client import Counter as Total
from prometheus_client.core import CounterMetricFamily
from prometheus_client.samples import Sample

from fraudlab.serving.dispatch import ScoredBatch
from fraudlab.serving.drift import LiveDrift

_SECONDS = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.0, 2.0)
_RECORDS = (1, 2, 4, 8, 16, 32, 64, 128)
STAGES = ("check", "wait", "encode", "model", "total")
_COUNTS = ("counter", "histogram")
_log = logging.getLogger(__name__)


class Telemetry:
    """The server's metrics.

    Args:
        version: of the bundle.
        before: file with the counts of the process that this one takes the place of; None where it is the first.
        after: file for those that the next process counts on from.
        drift: what has drifted, for gauges; None where that is not known.
        created: when the bundle was exported; None where it does not say.
    """

    def __init__(
        self,
        version: str,
        before: Path | None,
        after: Path,
        drift: LiveDrift | None = None,
        created: datetime | None = None,
    ) -> None:
        self._before = before
        self._after = after
        self._registry = CollectorRegistry()
        self._requests = Total("fraudlab_requests", "Answers", ["path", "status"], registry=self._registry)
        seconds = Histogram(
            "fraudlab_request_seconds",
            "check: JSON and contract; wait: until the answer of the worker; encode and model: of the batch, in the "
            "worker; total: of the request",
            ["stage"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._seconds = {stage: seconds.labels(stage) for stage in STAGES}
        self._batch = Histogram("fraudlab_batch_records", "Records", buckets=_RECORDS, registry=self._registry)
        self.queue = Gauge("fraudlab_queue_records", "Records that wait for a worker", registry=self._registry)
        self.limit = Gauge("fraudlab_admission_limit", "Requests that may be in work", registry=self._registry)
        self.ready = Gauge("fraudlab_ready", "1 while /health/ready says so", registry=self._registry)
        self.workers = Gauge("fraudlab_workers", "Workers that are ready to score", registry=self._registry)
        self.workers_wanted = Gauge("fraudlab_workers_wanted", "serving.workers", registry=self._registry)
        self._keys = Total(
            "fraudlab_key_requests", "Answers by name of the key", ["key", "status"], registry=self._registry
        )
        self._rejections = Total("fraudlab_rejections", "Requests not scored", ["reason"], registry=self._registry)
        self._refusals = {
            429: (self._requests.labels("/predict", "429"), self._rejections.labels("queue")),
            503: (self._requests.labels("other", "503"), self._rejections.labels("connections")),
        }
        self._labels = Total("fraudlab_labels", "Labels taken", ["fraud"], registry=self._registry)
        self._last_label = Gauge(
            "fraudlab_last_label_timestamp_seconds", "When labels came last, or the start", registry=self._registry
        )
        self._last_label.set_to_current_time()
        self._levels = Total("fraudlab_scores", "Scored records", ["risk_level"], registry=self._registry)
        self.restarts = Total("fraudlab_worker_failures", "Workers that died", registry=self._registry)
        self._recorded = Total("fraudlab_recorded", "Scored records in the record", registry=self._registry)
        self._unrecorded = Total("fraudlab_unrecorded", "Scored records that the record lacks", registry=self._registry)
        self._backlog = Gauge(
            "fraudlab_record_backlog_bytes", "Of the record, not in Parquet yet", registry=self._registry
        )
        self.without_history = Total(
            "fraudlab_without_history", "Records scored without their past", registry=self._registry
        )
        self.without_amount = Total(
            "fraudlab_without_amount",
            "Records without an amount of 0 or more, of a bundle that decides by money",
            registry=self._registry,
        )
        Gauge("fraudlab_bundle", "The bundle served", ["version"], registry=self._registry).labels(version).set(1)
        if created is not None:
            Gauge("fraudlab_bundle_created_timestamp_seconds", "When it was exported", registry=self._registry).set(
                created.timestamp()
            )
        self._columns = _Columns()
        self._registry.register(self._columns)
        self._judged = CollectorRegistry()
        if drift is not None:
            self._judged.register(drift)

    def count(self, collector: Any) -> None:
        """Add metrics that count: they are part of :meth:`counted`, and go on over a reload."""
        self._registry.register(collector)

    def show(self, collector: Any) -> None:
        """Add metrics that are made when they are asked for: what ``collector.collect()`` gives."""
        self._judged.register(collector)

    def answered(self, path: str, status: int) -> None:
        self._requests.labels(path, str(status)).inc()

    def took(self, stage: str, seconds: float) -> None:
        self._seconds[stage].observe(seconds)

    def refused(self, status: int) -> None:
        """Count a request that ended before the app saw it; cheaper than :meth:`answered` and :meth:`rejected`.

        429 means full, 503 that connections are used up; with any other status the request was no sound HTTP.
        """
        if status not in self._refusals:
            self._refusals[status] = (self._requests.labels("other", str(status)), self._rejections.labels("http"))
        for count in self._refusals[status]:
            count.inc()

    def asked_by(self, key: str, status: int) -> None:
        """Count an answer to whoever has the key of this name."""
        self._keys.labels(key, str(status)).inc()

    def labelled(self, said: Iterable[bool | None]) -> None:
        """Count labels that were taken."""
        names = {True: "true", False: "false", None: "taken back"}
        for fraud, count in Counter(said).items():
            self._labels.labels(names[fraud]).inc(count)
            self._last_label.set_to_current_time()

    def recorded(self, written: int, lost: int, backlog: int) -> None:
        """Count rows of the record since the last call, and say how many bytes wait to become Parquet."""
        self._recorded.inc(written)
        self._unrecorded.inc(lost)
        self._backlog.set(backlog)

    def rejected(self, reason: str) -> None:
        self._rejections.labels(reason).inc()

    def scored(self, levels: list[str], missing: list[str]) -> None:
        for level in levels:
            self._levels.labels(level).inc()
        self._columns.missing.update(missing)

    def batch(self, batch: ScoredBatch) -> None:
        self._batch.observe(batch.records)
        for stage, seconds in batch.seconds.items():
            self.took(stage, seconds)
        self._columns.unknown.update(batch.unknown)

    @property
    def waits(self) -> bool:
        """Whether the counts to go on from are still to come."""
        return self._before is not None and not self._before.is_file()

    def page(self) -> bytes:
        """The metrics in Prometheus's text format."""
        return generate_latest(self)

    def hand_over(self) -> None:
        """Write the counts as they are now for the process that takes this one's place; a full disk is told."""
        aside = self._after.with_suffix(".partial")
        try:
            counts = {metric.name: metric.samples for metric in self.counted() if metric.type in _COUNTS}
            aside.write_bytes(orjson.dumps({name: [each[:3] for each in samples] for name, samples in counts.items()}))
            aside.replace(self._after)
        except OSError as error:
            _log.error("the counts cannot be handed over to the next process: %s", error)

    def collect(self) -> Iterator[Metric]:
        """All metrics, those of :meth:`counted` first."""
        yield from self.counted()
        yield from self._judged.collect()

    def counted(self) -> Iterator[Metric]:
        """What this process has counted, and those whose place it has taken; nothing that has to be judged for it."""
        before = self._counts_before()
        for metric in self._registry.collect():
            if metric.name in before:
                metric.samples = _added(metric.samples, before[metric.name])
            yield metric

    def _counts_before(self) -> dict[str, Any]:
        """Those of the former process; none where its disk was full, or where its file is taken away meanwhile."""
        try:
            return {} if self._before is None or self.waits else dict(orjson.loads(self._before.read_bytes()))
        except (OSError, ValueError):
            return {}


def _added(samples: Iterable[Sample], before: Iterable[Any]) -> list[Sample]:
    """Counts, and those of a former process: name, labels and value of each."""
    whole = {(sample.name, *sorted(sample.labels.items())): sample for sample in samples}
    for name, labels, value in before:
        at = name, *sorted(labels.items())
        if at in whole:  # when a count began is the earlier time
            here = whole[at].value
            value = min(value, here) if name.endswith("_created") else value + here
        whole[at] = Sample(name, labels, value)
    return list(whole.values())


class _Columns:
    """Counts by column, kept as plain counters: a record has hundreds of missing values."""

    def __init__(self) -> None:
        self.missing: Counter[str] = Counter()
        self.unknown: Counter[str] = Counter()

    def collect(self) -> Iterator[CounterMetricFamily]:
        for name, says, counts in (
            ("fraudlab_missing_values", "Values absent or null", self.missing),
            ("fraudlab_unknown_values", "Categories that the training rows have not", self.unknown),
        ):
            family = CounterMetricFamily(name, says, labels=["column"])
            for column, count in counts.items():
                family.add_metric([column], count)
            yield family
