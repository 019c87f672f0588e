"""``performance.json`` and ``performance.html``: metrics by week, estimated and final; a page without scripts."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from fraudlab.files import write_json, write_text
from fraudlab.monitoring.page import document
from fraudlab.monitoring.performance import notes

_PLOTTED = {
    "average_precision": "Average precision",
    "precision": "Precision of the alerts",
    "recall": "Recall of the alerts",
    "value_recall": "Share of the defrauded amount alerted",
    "frauds": "Frauds",
    "saved": "Amount saved by the alerts, less their cost",
}
_WIDTH, _HEIGHT, _LEFT, _FOOT, _HEAD = 420, 160, 44, 18, 8


def write(folder: Path, report: Mapping[str, Any]) -> None:
    """Write both into ``folder``, each whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "performance.json", report)
    write_text(folder / "performance.html", page(report))


def page(report: Mapping[str, Any]) -> str:
    """The report as HTML."""
    return document("Performance", _body(report))


def _body(report: Mapping[str, Any]) -> Iterator[str]:
    weeks = report["weeks"]
    yield "<h1>Performance by week</h1>"
    yield (
        f"<p>{report['transactions']:,} transactions, as known at {escape(report['as_of'][:16])} UTC. A transaction "
        f"without a label counts as genuine {report['mature_days']} days after it. Weeks whose labels are final have "
        f'metrics <span style="color:var(--first)">■</span>; younger ones are '
        f'estimated <span style="color:var(--second)">■</span>, with an interval that is to hold the later value in '
        f"{report['level']:.0%}. An alert costs {report['admin_cost']:g} and saves {report['recovery_share']:.0%} of a "
        "fraud's amount.</p>"
    )
    yield '<div class="plots">'
    for name in _PLOTTED:
        values = [_value(week, name) for week in weeks]
        if any(value is not None for value in values):
            yield _figure(name, [week["week"] for week in weeks], values, [week["mature"] for week in weeks])
    yield "</div>"
    yield "<h2>All weeks</h2>"
    yield from _table(weeks)
    yield from _notes(report)


def _value(week: Mapping[str, Any], name: str) -> Mapping[str, float] | None:
    found: Mapping[str, float | None] | None = (week["realised"] or week["estimated"] or {}).get(name)
    if found is None or found["value"] is None:
        return None
    given = {of: found.get(of) for of in ("value", "low", "high")}
    return {of: found["value"] if number is None else number for of, number in given.items()}


def _table(weeks: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    names = ("week", "bundle", "transactions", "alerts", "frauds told", "of all", *_PLOTTED.values())
    yield f'<div class="scroll"><table><tr>{"".join(f"<th>{name}</th>" for name in names)}</tr>'
    for week in weeks:
        share = week["told_share"]
        cells = [week["week"], escape(week["bundle_version"]), f"{week['rows']:,.0f}", f"{week['alerts']:,.0f}"]
        cells += [f"{week['frauds_told']:,.0f}", "" if share is None else f"{share['value']:.0%}"]
        cells += [_cell(name, _value(week, name), mature=week["mature"]) for name in _PLOTTED]
        yield f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
    yield "</table></div>"


def _cell(name: str, it: Mapping[str, float] | None, *, mature: bool) -> str:
    if it is None:
        return ""
    said, low, high = (_number(name, it[of]) for of in ("value", "low", "high"))
    return said if mature else f"≈ {said} ({low} to {high})"


def _number(name: str, value: float) -> str:
    """Frauds in whole ones, amounts without cents where they are large, shares to three decimals."""
    if name == "frauds" or (name == "saved" and abs(value) >= 10):
        return f"{value:,.0f}"
    return f"{value:.2f}" if name == "saved" else f"{value:.3f}"


def _notes(report: Mapping[str, Any]) -> Iterator[str]:
    why = {week["bundle_version"]: week["why_not"] for week in report["weeks"] if "why_not" in week}
    said = [f"No estimates for {escape(version)}: {escape(text)}." for version, text in why.items()]
    said += [f"{escape(text)}." for text in notes(report)]
    past = report["past_estimates"]
    if past:
        yield "<h2>Past estimates</h2>"
        yield "<p>How many of the kept intervals, of weeks that are final now, hold what came.</p><ul>"
        for name, each in past.items():
            yield f"<li>{escape(_PLOTTED.get(name, name))}: {each['held']:.0%} of {each['estimates']:,}</li>"
        yield "</ul>"
    if said:
        yield f"<h2>Notes</h2><ul>{''.join(f'<li>{text}</li>' for text in said)}</ul>"


def _figure(
    name: str, weeks: Sequence[str], values: Sequence[Mapping[str, float] | None], mature: Sequence[bool]
) -> str:
    """A dot a week, with its interval; the numbers are its title."""
    known = [each for each in values if each is not None]
    top = max(max(each["high"] for each in known), 0.0)
    bottom = min(min(each["low"] for each in known), 0.0)
    scale = (_HEIGHT - _HEAD) / ((top - bottom) or 1.0)
    step = (_WIDTH - _LEFT) / len(weeks)
    marks = []
    for n, (week, it, final) in enumerate(zip(weeks, values, mature, strict=True)):
        if it is None:
            continue
        x, kind = _LEFT + (n + 0.5) * step, "before" if final else "now"
        low, value, high = (round(_HEIGHT - (it[of] - bottom) * scale, 1) for of in ("low", "value", "high"))
        says = escape(f"{week}: {_cell(name, it, mature=final)}")
        bar = f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{high}" y2="{low}" stroke="currentColor" stroke-width="2"/>'
        dot = f'<circle cx="{x:.1f}" cy="{value}" r="3.5" fill="currentColor"/>'
        color = "var(--first)" if final else "var(--second)"
        marks.append(f'<g class="{kind}" style="color:{color}"><title>{says}</title>{bar}{dot}</g>')
    axis = "".join(
        f'<text x="{_LEFT - 6}" y="{y}" text-anchor="end">{_number(name, number)}</text>'
        for y, number in ((10, top), (_HEIGHT, bottom))
    )
    ends = ((_LEFT, "start", weeks[0]), (_WIDTH, "end", weeks[-1]))
    labels = "".join(
        f'<text x="{x}" y="{_HEIGHT + 14}" text-anchor="{anchor}">{text}</text>' for x, anchor, text in ends
    )
    title = _PLOTTED[name]
    size = f'viewBox="0 0 {_WIDTH} {_HEIGHT + _FOOT}" role="img" aria-label="{escape(title, quote=True)} by week"'
    return f"<figure><b>{escape(title)}</b><svg {size}>{''.join(marks)}{axis}{labels}</svg></figure>"
