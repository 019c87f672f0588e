"""``challenger.json``, ``challenger.html`` and ``swap.csv``; a page without scripts."""

from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any

import polars as pl

from fraudlab.files import replacing, write_json, write_text
from fraudlab.monitoring.challenger import notes
from fraudlab.monitoring.page import document

_TITLES = {"champion_only": "Champion only", "both": "Both", "challenger_only": "Challenger only"}
_COLORS = {"champion_only": "var(--first)", "both": "var(--muted)", "challenger_only": "var(--second)"}
_WIDTH, _BAR, _LINE, _LEFT = 640, 28, 26, 120


def write(folder: Path, report: Mapping[str, Any], alerts: pl.DataFrame) -> None:
    """Write all into ``folder``, each whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "challenger.json", report)
    with replacing(folder / "swap.csv") as aside:
        alerts.write_csv(aside)
    write_text(folder / "challenger.html", document("Challenger", _body(report)))


def _body(report: Mapping[str, Any]) -> Iterator[str]:
    decision = report["decision"]
    yield f"<h1>Challenger: {escape(decision['verdict'])}</h1>"
    yield (
        f"<p>{report['transactions']:,} transactions since {escape(report['since'][:16])} UTC, as known at "
        f"{escape(report['as_of'][:16])} UTC. Bundle {escape(report['champion'])} answered, bundle "
        f"{escape(report['challenger'])} scored in the shadow.</p>"
    )
    yield f"<p><b>Rule, stated beforehand.</b> {escape(decision['rule'])}</p><p>Now: {escape(decision['why'])}.</p>"
    yield f"<h2>Alerts at {report['budget_per_1000']:g} per 1,000 of either</h2>"
    yield _bar(report["swap"])
    yield from _swap(report)
    yield "<h2>Strongest reasons</h2>"
    for name, it in report["swap"].items():
        said = ", ".join(f"{escape(reason)} {share:.0%}" for reason, share in it["reasons"].items())
        yield f"<p>{_TITLES[name]}: {said or 'none recorded (serving.record_reasons)'}</p>"
    yield "<h2>At the thresholds of each</h2>"
    yield '<div class="scroll"><table><tr><th></th><th>high per 1,000</th><th>high and medium per 1,000</th></tr>'
    for side, it in report["alerts"].items():
        served = it["served_per_1000"]
        yield f"<tr><td>{side}</td><td>{served['high']:.1f}</td><td>{served['medium']:.1f}</td></tr>"
    yield "</table></div>"
    labels = report["labels"]
    if labels is not None:
        yield "<h2>With final labels</h2>"
        yield (
            f"<p>{labels['rows']:,} transactions of {report['mature_days']} days and more, {labels['frauds']:,} of "
            "them frauds. Cards are drawn again whole, both sides on the same draws.</p>"
        )
        if labels["metrics"]:
            yield _differences(labels["metrics"])
            yield from _table(labels["metrics"])
    if told := list(notes(report)):
        yield f"<h2>Notes</h2><ul>{''.join(f'<li>{escape(text)}.</li>' for text in told)}</ul>"


def _swap(report: Mapping[str, Any]) -> Iterator[str]:
    names = ("alerts of", "count", "amount", "with final labels", "frauds", "amount of frauds")
    yield f'<div class="scroll"><table><tr>{"".join(f"<th>{name}</th>" for name in names)}</tr>'
    for name, it in report["swap"].items():
        money = ["" if it[of] is None else f"{it[of]:,.0f}" for of in ("amount", "fraud_amount")]
        counts = [f"{it[of]:,.0f}" for of in ("count", "labelled", "frauds")]
        cells = [_TITLES[name], counts[0], money[0], *counts[1:], money[1]]
        yield f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
    yield "</table></div>"


def _table(metrics: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    names = ("metric", "champion", "challenger", "difference", "from", "to")
    yield f'<div class="scroll"><table><tr>{"".join(f"<th>{name}</th>" for name in names)}</tr>'
    for name, it in metrics.items():
        cells = [f"{it[of]:.4f}" for of in ("champion", "challenger")]
        cells += [f"{it[of]:+.4f}" for of in ("difference", "low", "high")]
        yield f"<tr><td>{_said(name)}</td>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
    yield "</table></div>"


def _said(name: str) -> str:
    return name.replace("_", " ")


def _bar(swap: Mapping[str, Mapping[str, Any]]) -> str:
    """One bar of all alerts, cut by who makes them."""
    total = sum(it["count"] for it in swap.values()) or 1
    at, parts = 0.0, []
    for name, it in swap.items():
        width = _WIDTH * it["count"] / total
        says = f"{_TITLES[name]}: {it['count']:,.0f}"
        parts.append(
            f'<g><title>{says}</title><rect x="{at:.1f}" y="0" width="{width:.1f}" height="{_BAR}" '
            f'style="fill:{_COLORS[name]}"/></g>'
        )
        at += width
    label = '<text x="0" y="42">champion only</text>'
    label += f'<text x="{_WIDTH}" y="42" text-anchor="end">challenger only</text>'
    size = f'viewBox="0 0 {_WIDTH} 46" role="img" aria-label="Alerts by who makes them"'
    return f"<figure><svg {size}>{''.join(parts)}{label}</svg></figure>"


def _differences(metrics: Mapping[str, Mapping[str, float]]) -> str:
    """A line a metric: the difference as a dot, its interval as a bar, and where no difference is."""
    reach = max(max(abs(it["low"]), abs(it["high"])) for it in metrics.values()) or 1.0
    scale = (_WIDTH - _LEFT) / 2 / reach
    middle = _LEFT + (_WIDTH - _LEFT) / 2
    height = _LINE * len(metrics)
    parts = [f'<line x1="{middle}" x2="{middle}" y1="0" y2="{height}" stroke="var(--line)"/>']
    for n, (name, it) in enumerate(metrics.items()):
        y = (n + 0.5) * _LINE
        low, value, high = (middle + it[of] * scale for of in ("low", "difference", "high"))
        says = f"{_said(name)}: {it['difference']:+.4f} ({it['low']:+.4f} to {it['high']:+.4f})"
        parts.append(
            f'<g style="color:var(--second)"><title>{says}</title><text x="0" y="{y + 3}">{_said(name)}</text>'
            f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{y}" y2="{y}" stroke="currentColor" stroke-width="2"/>'
            f'<circle cx="{value:.1f}" cy="{y}" r="3.5" fill="currentColor"/></g>'
        )
    size = f'viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="Differences, challenger less champion"'
    return f"<figure><svg {size}>{''.join(parts)}</svg></figure>"
