"""``drift.json`` and ``drift.html``: a page without scripts; its plots are SVG and follow the colour scheme."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fraudlab.bundle.cloud import put
from fraudlab.files import write_json, write_text
from fraudlab.monitoring.counts import Counts
from fraudlab.monitoring.drift import Reference, by_score

_PLOTTED = 24  # columns
_WIDTH, _HEIGHT, _FOOT = 320, 130, 16
_LONGEST = 12  # characters of a label under a plot


def publish(out: str, report: Mapping[str, Any], reference: Reference, counts: Counts) -> None:
    """:func:`write` into a folder, or to a ``gs://`` address: the report last, which is what others read.

    Raises:
        UserError: the bucket cannot be written.
    """
    if not out.startswith("gs://"):
        write(Path(out), report, reference, counts)
        return
    with TemporaryDirectory(prefix="fraudlab-") as folder:
        write(Path(folder), report, reference, counts)
        put(Path(folder), [Path(folder) / name for name in ("drift.html", "drift.json")], out)


def write(folder: Path, report: Mapping[str, Any], reference: Reference, counts: Counts) -> None:
    """Write both into ``folder``, each whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "drift.json", {"made_at": datetime.now(UTC).isoformat(timespec="seconds"), **report})
    write_text(folder / "drift.html", page(report, reference, counts))


def page(report: Mapping[str, Any], reference: Reference, counts: Counts) -> str:
    """The report as HTML."""
    return document("Drift", _body(report, reference, counts))


def document(title: str, body: Iterable[str]) -> str:
    """A page of its own, with the style of these reports."""
    style = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>'
    head += f"<style>{style}</style>"
    lines = "\n".join(body)
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n{lines}\n</body></html>\n'


def _body(report: Mapping[str, Any], reference: Reference, counts: Counts) -> Iterator[str]:
    if not report["rows"]:
        yield f"<h1>Drift: no rows</h1><p>Bundle {escape(report['bundle_version'])} has scored nothing since "
        yield f"{escape(report['since'])}.</p>"
        return
    alarm = '<span class="alarm">alarm</span>' if report["alarm"] else "no alarm"
    yield f"<h1>Drift: {alarm}</h1>"
    yield (
        f"<p>{report['rows']:,} rows, scored by bundle {escape(report['bundle_version'])}, compared with its "
        "training rows. An index beyond its limit is an alarm. Limits come from windows of the training rows, "
        f"for this number of rows; without any change {report['level']:.0%} of windows have an alarm.</p>"
    )
    yield "<h2>Alerts</h2>"
    if report["alerts_per_1000"] is None:
        yield f"<p>Not judged: {escape(report['alerts_not_judged'])}.</p>"
    else:
        yield from _alerts(report["alerts_per_1000"])
    told = np.array(reference.scores["told"])
    both = [np.add.reduceat(each, np.r_[0, told + 1]) for each in (reference.score_counts, counts.scores)]
    labels = ["lowest", *(f"≥ {reference.scores['edges'][i]:.3g}" for i in told)]
    yield '<h2>Scores and the columns that moved most</h2><p>Share of rows, <span style="color:var(--first)">■</span> '
    yield 'training and <span style="color:var(--second)">■</span> now.</p><div class="plots">'
    yield _figure("scores", both[0], both[1], labels, report["scores"])
    numbers = {name: i for i, name in enumerate(reference.cells.names)}
    for name in list(report["columns"])[:_PLOTTED]:
        i, width = numbers[name], reference.cells.widths[numbers[name]]
        labels = _labels(reference.columns[name])
        yield _figure(name, reference.counts[i, :width], counts.cells[i, :width], labels, report["columns"][name])
    yield "</div>"
    if report["reasons"]:
        yield "<h2>Strongest reasons of explained alerts</h2><ul>"
        yield from (f"<li>{escape(name)}: {share:.1%}</li>" for name, share in list(report["reasons"].items())[:10])
        yield "</ul>"
    yield "<h2>All columns</h2>"
    yield from _table(report["columns"])
    if report["not_judged"]:
        yield "<h2>Not judged</h2><ul>"
        yield from (f"<li>{escape(name)}: {escape(why)}</li>" for name, why in report["not_judged"].items())
        yield "</ul>"


def _alerts(alerts: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    names = ("level", "alerts per 1,000", "95 % interval", "budget", "threshold", "threshold for the budget", "")
    yield f'<div class="scroll"><table><tr>{"".join(f"<th>{name}</th>" for name in names)}</tr>'
    for level, it in alerts.items():
        cells = [level, f"{it['estimate']:.1f}", f"{it['low']:.1f} to {it['high']:.1f}", f"{it['budget']:g}"]
        cells += [by_score(it["threshold"]), by_score(it["threshold_for_budget"]), _mark(it)]
        yield _line(cells)
    yield "</table></div>"


def _table(columns: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    names = ("column", "psi", "js", "limit", "p-value", "missing before", "now", "unseen before", "now", "")
    yield f'<div class="scroll"><table><tr>{"".join(f"<th>{name}</th>" for name in names)}</tr>'
    for name, it in columns.items():
        shares = [*it["missing"].values(), *it.get("unseen", {"before": None, "now": None}).values()]
        cells = [escape(name), f"{it['psi']:.4f}", f"{it['js']:.4f}", f"{it['limit']:.4f}", f"{it['p_value']:.2g}"]
        yield _line([*cells, *("" if share is None else f"{share:.1%}" for share in shares), _mark(it)])
    yield "</table></div>"


def _line(cells: Sequence[str]) -> str:
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _mark(it: Mapping[str, Any]) -> str:
    return '<span class="alarm">alarm</span>' if it["alarm"] else ""


def _labels(column: Mapping[str, Any]) -> list[str]:
    if column["kind"] == "category":
        return [*(str(value) for value in column["values"]), "other", "missing"]
    edges = [f"{edge:.4g}" for edge in column["edges"]]
    return [*(f"≤ {edge}" for edge in edges), f"> {edges[-1]}" if edges else "any", "missing"]


def _figure(name: str, before: NDArray[Any], now: NDArray[Any], labels: Sequence[str], told: Mapping[str, Any]) -> str:
    """Two bars a cell, the training's and today's; a cell's label and shares are its title."""
    shares = [each / max(each.sum(), 1) for each in (before, now)]
    most = max(float(np.max(shares)), 1e-9)
    step = _WIDTH / len(labels)
    bars = []
    for i, label in enumerate(labels):
        says = escape(f"{label}: {shares[0][i]:.2%} -> {shares[1][i]:.2%}")
        rects = []
        for kind, share, at in (("before", shares[0][i], 0.08), ("now", shares[1][i], 0.5)):
            height = round(_HEIGHT * float(share) / most, 1)
            place = f'x="{(i + at) * step:.1f}" y="{_HEIGHT - height:.1f}" width="{0.42 * step:.1f}" height="{height}"'
            rects.append(f'<rect class="{kind}" {place}/>')
        bars.append(f"<g><title>{says}</title>{''.join(rects)}</g>")
    ends = ((0, "start", labels[0]), (_WIDTH, "end", labels[-1]))
    texts = "".join(
        f'<text x="{x}" y="{_HEIGHT + 12}" text-anchor="{anchor}">{escape(text[:_LONGEST])}</text>'
        for x, anchor, text in ends
    )
    alt = escape(f"{name}, shares of rows before and now", quote=True)
    size = f'viewBox="0 0 {_WIDTH} {_HEIGHT + _FOOT}" role="img" aria-label="{alt}"'
    caption = f"psi {told['psi']:.4f}, limit {told['limit']:.4f}, p {told['p_value']:.2g} {_mark(told)}"
    svg = f"<svg {size}>{''.join(bars)}{texts}</svg>"
    return f"<figure><b>{escape(name)}</b>{svg}<figcaption>{caption}</figcaption></figure>"
