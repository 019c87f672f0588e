"""Whether rows that were scored differ from those that the model learnt from, and what they do to the alerts."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fraudlab.bundle import Bundle
from fraudlab.errors import UserError
from fraudlab.features.joined import parts_of
from fraudlab.metrics.calibration import log_odds, sigmoid
from fraudlab.metrics.drift import LEVEL, Null, adjusted, jensen_shannon, stability_index
from fraudlab.monitoring.cells import Cells, score_parts
from fraudlab.monitoring.counts import Counts

Array = NDArray[Any]
_Z = 1.959964  # of an interval of 95 %
_LEVELS = ("high", "medium")
_BY_MONEY = (
    "levels are decided by money, and an earlier version exported the bundle, without how far its alerts vary; export "
    "its run again: python -m fraudlab.export run=<run> medium_money=true out=<folder>"
)


class Reference:
    """What a bundle's ``reference.json`` says, ready to judge counts by.

    Attributes:
        cells: what counts rows.
        counts: of the training rows, by column and cell, [D, K].
        columns: content of ``reference.json``'s ``columns``.
        scores: content of its ``scores``.
        fewest_rows: without so many there is no alarm: how much fewer vary is not known.
        score_counts: of the rows that those are of, between their edges.

    Raises:
        UserError: the bundle has no reference statistics.
    """

    def __init__(self, bundle: Bundle) -> None:
        content = bundle.reference
        if content["columns"] is None:
            raise UserError(
                f"bundle {bundle.path} has no reference statistics to judge drift by: an earlier version exported it. "
                "Export its run again: python -m fraudlab.export run=<run> out=<folder>"
            )
        self._decision = bundle.decision
        self.version = bundle.version
        self.columns: dict[str, Any] = content["columns"]
        self.scores: dict[str, Any] = content["scores"]
        self.cells = Cells(parts_of(bundle.encoder)[0], self.columns, self.scores["edges"])
        self.counts = np.zeros(self.cells.empty().cells.shape)
        for row, name, width in zip(self.counts, self.cells.names, self.cells.widths, strict=True):
            row[:width] = self.columns[name]["counts"]
        self._needed = float(content["needed"])
        nulls = [self.columns[name]["null"] for name in self.cells.names]
        self._null = Null.from_dict(content["rows"], content["sizes"], content["windows"], nulls)
        of_scores = [self.scores["null"][name] for name in ("scores", *_LEVELS)]
        self._score_null = Null.from_dict(self.scores["rows"], self.scores["sizes"], self.scores["windows"], of_scores)
        self.fewest_rows = max(content["sizes"][0], self.scores["sizes"][0])
        edges = np.array(self.scores["edges"])
        self._thresholds = np.searchsorted(edges, [self._decision.thresholds[level] for level in _LEVELS])
        self.score_counts = np.array(self.scores["counts"], float)
        by_thresholds = [self.score_counts[threshold + 1 :].sum() for threshold in self._thresholds]
        self._judges_alerts = self._decision.money is None or "alerts" in self.scores
        alerts = np.array(self.scores.get("alerts", by_thresholds), float)
        self._score_parts = score_parts(self.score_counts, self.scores["told"], alerts)

    def of_hours(
        self, counts: Counts, left_out: Mapping[str, str] | None, hours: int, since: datetime
    ) -> dict[str, Any]:
        """:meth:`judge` of rows from ``since`` on, with their counts, as ``GET /drift`` answers it; also of no rows."""
        about = {"hours": hours, "since": since.isoformat(), "bundle_version": self.version, "rows": counts.rows}
        report = self.judge(counts, left_out) if counts.rows else {"alarm": False}
        return {**about, **report, "counts": counts.to_dict()}

    def judge(self, counts: Counts, left_out: Mapping[str, str] | None = None) -> dict[str, Any]:
        """The report of rows that were counted, as ``drift.json`` has it.

        Args:
            counts: by :attr:`cells`.
            left_out: columns that are not judged, and why.

        Raises:
            UserError: there are no rows.
        """
        if not counts.rows:
            raise UserError("no rows to judge: the records, the file or the time span has none of this bundle")
        left_out = dict(left_out or {})
        rows, scale = counts.effective, counts.effective / counts.weight
        now, scores = counts.cells * scale, counts.scores * scale
        alerts = counts.alerts * scale
        parts = score_parts(scores, self.scores["told"], alerts)
        kept = np.array([name not in left_out for name in self.cells.names], bool)
        index = np.concatenate([stability_index(self.counts, now), stability_index(self._score_parts, parts)])
        distance = np.concatenate([jensen_shannon(self.counts, now), jensen_shannon(self._score_parts, parts)])
        nulls = self._null, self._score_null
        where = np.r_[kept, True, self._judges_alerts, self._judges_alerts]
        enough = rows >= self.fewest_rows
        split = len(self.counts)
        p = np.concatenate([nulls[0].p_values(index[:split], rows), nulls[1].p_values(index[split:], rows)])
        alarms = np.zeros(len(p), bool)
        alarms[where] = (adjusted(p[where]) <= self._needed) & enough
        needed = self._needed * max(int(alarms.sum()), 1) / int(where.sum())
        limits = np.concatenate([null.limits(needed, rows) for null in nulls])
        told = [
            {"psi": float(i), "js": float(d), "limit": float(t), "p_value": float(v), "alarm": bool(a)}
            for i, d, t, v, a in zip(index, distance, limits, p, alarms, strict=True)
        ]
        unseen, names = counts.unseen * scale, self.cells.names
        order = sorted(np.flatnonzero(kept).tolist(), key=lambda i: (not alarms[i], p[i], -index[i]))
        return {
            "bundle_version": self.version,
            "rows": counts.rows,
            "effective_rows": rows,
            "fewest_rows": self.fewest_rows,
            "level": LEVEL,
            "alarm": bool(alarms.any()),
            "alerts_per_1000": {
                level: self._alerts(level, i, scores, float(alerts[i] / rows), rows, told[split + 1 + i])
                for i, level in enumerate(_LEVELS)
            }
            if self._judges_alerts
            else None,
            "alerts_not_judged": None if self._judges_alerts else _BY_MONEY,
            "scores": told[split],
            "columns": {names[i]: self._column(i, now, unseen, told[i]) for i in order},
            "not_judged": left_out,
            "reasons": self._reasons(counts),
        }

    def _column(self, i: int, now: Array, unseen: Array, told: dict[str, Any]) -> dict[str, Any]:
        about = self.columns[self.cells.names[i]]
        missing = self.cells.widths[i] - 1
        found = {**told, "missing": {"before": _share(self.counts[i], missing), "now": _share(now[i], missing)}}
        if about["kind"] == "category":
            found["unseen"] = {"before": about["unseen"], "now": float(unseen[i] / now[i].sum())}
        return found

    def _alerts(
        self, level: str, i: int, scores: Array, share: float, rows: float, told: dict[str, Any]
    ) -> dict[str, Any]:
        """Alerts per 1,000 rows with an interval of 95 % (Wilson 1927), widened by how much windows differ."""
        inflation = max(float(self._score_null.inflation(rows)[1 + i]), 1.0)
        low, high = _wilson(share, rows / inflation)
        budget, by_scores = self._decision.budget[level], self._decision.money is None
        return {
            "estimate": 1000 * share,
            "low": 1000 * low,
            "high": 1000 * high,
            "budget": budget,
            "threshold": self._decision.thresholds[level] if by_scores else None,
            "threshold_for_budget": self._threshold(scores, budget / 1000) if by_scores else None,
            **{name: told[name] for name in ("p_value", "alarm")},
        }

    def _threshold(self, scores: Array, share: float) -> float:
        """The score that so large a share of the rows reaches, between two edges by the log-odds."""
        edges = np.array(self.scores["edges"])
        above = scores[::-1].cumsum()[::-1][1:] / scores.sum()  # the share from each edge on
        place = int((above >= share).sum())  # edges that too many reach
        if place in (0, len(edges)):
            return float(edges[min(place, len(edges) - 1)])
        pair, odds = above[place - 1 : place + 1], log_odds(edges[place - 1 : place + 1])
        part = (pair[0] - share) / max(pair[0] - pair[1], 1e-300)
        return float(sigmoid(odds[0] + part * (odds[1] - odds[0])))

    def _reasons(self, counts: Counts) -> dict[str, Any]:
        """Shares of the explained alerts whose strongest reason is the column, largest first."""
        total = sum(counts.reasons.values())
        order = sorted(counts.reasons, key=lambda name: (-counts.reasons[name], name))
        return {name: counts.reasons[name] / total for name in order}


def _share(counts: Array, cell: int) -> float:
    return float(counts[cell] / counts.sum()) if counts.sum() else 0.0


def _wilson(share: float, rows: float) -> tuple[float, float]:
    middle = (share + _Z**2 / (2 * rows)) / (1 + _Z**2 / rows)
    half = _Z * np.sqrt(share * (1 - share) / rows + _Z**2 / (4 * rows**2)) / (1 + _Z**2 / rows)
    return max(float(middle - half), 0.0), min(float(middle + half), 1.0)


def by_score(threshold: float | None) -> str:
    """A threshold in words."""
    return "by money" if threshold is None else f"{threshold:.6f}"


def summary(report: Mapping[str, Any], most: int = 20) -> str:
    """The report as plain text: alerts, then the columns that moved most."""
    if not report["rows"]:
        none = f" of this bundle, {report['others']:,} of others" if report.get("others") else ""
        return f"rows     0{none}: this bundle has scored nothing since {report['since']}\nalarm    no"
    alarmed = sum(each["alarm"] for each in report["columns"].values())
    rows = f"rows     {report['rows']:,} (equivalent to {report['effective_rows']:,.0f} of weight 1)"
    if report["effective_rows"] < report["fewest_rows"]:
        rows += f"; fewer than {report['fewest_rows']:,.0f}: not judged"
    lines = [
        rows,
        f"alarm    {'yes' if report['alarm'] else 'no'} ({report['level']:.0%} of windows without change have one)",
        "",
    ]
    alerts = report["alerts_per_1000"]
    if alerts is None:
        lines.append(f"alerts per 1,000: not judged: {report['alerts_not_judged']}")
    else:
        lines += ["alerts per 1,000   seen   95 % interval  budget  threshold  for the budget", "-" * 74]
    for level, it in (alerts or {}).items():
        interval = f"{it['low']:.1f} to {it['high']:.1f}"
        thresholds = [by_score(it[name]) for name in ("threshold", "threshold_for_budget")]
        cells = f"{it['estimate']:8.1f}  {interval:>14}  {it['budget']:6.1f}  {thresholds[0]:>9}  {thresholds[1]:>14}"
        lines.append(f"{level:15}{cells}{'  alarm' if it['alarm'] else ''}")
    count = len(report["columns"])
    lines += ["", f"{alarmed} of {count} columns beyond their limit", ""]
    lines += ["column                     psi      js   limit   p-value  missing", "-" * 65]
    lines.append(_row("(scores)", report["scores"], ""))
    for name, it in list(report["columns"].items())[:most]:
        lines.append(_row(name, it, f"{it['missing']['before']:7.1%} -> {it['missing']['now']:.1%}"))
    if count > most:
        lines.append(f"... and {count - most} more: drift.json")
    for name, why in report["not_judged"].items():
        lines.append(f"not judged: {name}: {why}")
    return "\n".join(lines)


def _row(name: str, it: Mapping[str, Any], missing: str) -> str:
    cells = f"{name[:22]:22} {it['psi']:7.4f} {it['js']:7.4f} {it['limit']:7.4f}  {it['p_value']:8.2g}  {missing}"
    return f"{cells}{'  alarm' if it['alarm'] else ''}".rstrip()
