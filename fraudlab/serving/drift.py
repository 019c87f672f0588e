"""Drift while a server runs: workers count what they score, and the process that answers HTTP adds their counts up."""

import time
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from prometheus_client.core import GaugeMetricFamily

from fraudlab.bundle import Bundle
from fraudlab.features.encoder import Arrays
from fraudlab.monitoring.counts import Counts
from fraudlab.monitoring.drift import Reference

MOST_HOURS = 48
USUAL_HOURS = 24
_HOUR = 3600
_ROWS = 256  # are counted at once
_MOST_ROWS = 4096  # that a worker has counted and not told yet
_SECONDS = 1.0  # after which it tells them at the latest
_SHOWN = 20  # columns that have metrics of their own

Rows = tuple[Arrays, NDArray[np.float64], NDArray[np.str_]]


class Tally:
    """A worker's counts since it last told them."""

    def __init__(self, reference: Reference) -> None:
        self._cells = reference.cells
        self._held: tuple[Rows, Sequence[str]]
        self._waiting: list[Rows] = []
        self._rows = 0
        self._counts = self._cells.empty()
        self._told = time.monotonic()

    def hold(self, arrays: Arrays, scores: NDArray[np.float64], answers: Sequence[Mapping[str, Any]]) -> None:
        """Rows of a batch that may still fail, with what is answered."""
        levels = np.array([answer["risk_level"] for answer in answers], str)
        self._held = (arrays, scores, levels), _strongest(answers)

    def keep(self) -> None:
        """Count what is held: it is answered."""
        rows, reasons = self._held
        self._waiting.append(rows)
        self._rows += len(rows[1])
        self._counts.reasons.update(reasons)
        if self._rows >= _ROWS:
            self._count()

    def due(self) -> dict[str, Any] | None:
        """The counts, if it is time to tell them; from then on they are counted anew."""
        new = self._counts.rows + self._rows
        if not new or (new < _MOST_ROWS and time.monotonic() - self._told < _SECONDS):
            return None
        self._count()
        told, self._counts = self._counts, self._cells.empty()
        self._told = time.monotonic()
        return told.to_dict()

    def _count(self) -> None:
        if not self._waiting:
            return
        arrays, scores, levels = zip(*self._waiting, strict=True)
        together = Arrays(*(np.concatenate(part) for part in zip(*arrays, strict=True)))
        self._counts.add(self._cells.count(together, np.concatenate(scores), np.concatenate(levels)))
        self._waiting, self._rows = [], 0


class LiveDrift:
    """The counts of all workers by hour, for the process that answers HTTP.

    Args:
        bundle: that is served.

    Raises:
        UserError: it has no reference statistics.
    """

    def __init__(self, bundle: Bundle) -> None:
        self._reference = Reference(bundle)
        self._like = self._reference.cells.empty()
        self._hours: deque[tuple[int, Counts]] = deque(maxlen=MOST_HOURS)

    def add(self, plain: Mapping[str, Any]) -> None:
        """Take in what :meth:`Tally.due` gave."""
        now = int(time.time()) // _HOUR
        if not self._hours or now > self._hours[-1][0]:  # a clock that was set back adds to the newest hour
            self._hours.append((now, self._reference.cells.empty()))
        self._hours[-1][1].add(Counts.from_dict(plain, self._like))

    def answer(self, hours: int) -> dict[str, Any]:
        """The report of the last ``hours`` clock hours, the present one among them, with its counts."""
        first = int(time.time()) // _HOUR - hours + 1
        total = self._reference.cells.empty()
        for hour, counts in self._hours:
            if hour >= first:
                total.add(counts)
        return self._reference.of_hours(total, None, hours, datetime.fromtimestamp(first * _HOUR, UTC))

    def scores(self, hours: int) -> dict[str, Any]:
        """How many scores of the last ``hours`` clock hours, the present one among them, lie between the edges.

        Beside them those of the rows that the thresholds were chosen on. A score that equals an edge lies above it.
        """
        first = int(time.time()) // _HOUR - hours + 1
        own = [counts.scores for hour, counts in self._hours if hour >= first]
        total = np.sum([np.zeros_like(self._like.scores), *own], axis=0)
        return {
            "bundle_version": self._reference.version,
            "hours": hours,
            "since": datetime.fromtimestamp(first * _HOUR, UTC).isoformat(),
            "rows": int(total.sum()),
            "edges": self._reference.scores["edges"],
            "counts": total.astype(int).tolist(),
            "reference": self._reference.score_counts.astype(int).tolist(),
        }

    def collect(self) -> "list[GaugeMetricFamily]":
        """Metrics of the last day; of columns those that are nearest to an alarm or beyond it."""
        said = self.answer(USUAL_HOURS)
        found = [
            GaugeMetricFamily("fraudlab_drift_rows", "Rows scored in the last day", said["rows"]),
            GaugeMetricFamily("fraudlab_drift_alarm", "1 while there is an alarm", said["alarm"]),
        ]
        if not said["rows"]:
            return found
        beyond = sum(column["alarm"] for column in said["columns"].values())
        found.append(GaugeMetricFamily("fraudlab_drift_columns", "Columns beyond their limit", beyond))
        index = GaugeMetricFamily("fraudlab_drift_index", "Stability index of what moved most", labels=["column"])
        limit = GaugeMetricFamily("fraudlab_drift_limit", "The index from which on it is an alarm", labels=["column"])
        for name, column in list(said["columns"].items())[:_SHOWN]:
            index.add_metric([name], column["psi"])
            limit.add_metric([name], column["limit"])
        alerts = GaugeMetricFamily(
            "fraudlab_alerts_per_1000",
            "Alerts of a level in the last day, with a 95 % interval",
            labels=["level", "of"],
        )
        for level, it in (said["alerts_per_1000"] or {}).items():  # none where an earlier version's money decides
            for of in ("estimate", "low", "high", "budget"):
                alerts.add_metric([level, of], it[of])
        return [*found, index, limit, alerts]


def _strongest(answers: Sequence[Mapping[str, Any]]) -> list[str]:
    """The strongest reasons of the alerts among a worker's answers, where reasons were asked for."""
    return [each["reasons"][0]["field"] for each in answers if each.get("reasons") and each["risk_level"] != "low"]
