"""A description of a table: a few lines for the terminal, and a page with a plot of each column."""

from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup, escape

from fraudlab.data.description.describe import Description
from fraudlab.data.description.facts import MOST_ROWS, Bar, by_role
from fraudlab.data.description.written import one_line
from fraudlab.data.sources.table.database import shown
from fraudlab.files import write_text
from fraudlab.reporting.template import environment

_WIDTH, _HEIGHT, _FOOT = 240, 90, 14
_SHOWN = 8


def description_table(found: Description) -> str:
    """Rows, label, time, roles and what to look at."""
    words = ", ".join(f"{word} {rows:,}" for word, rows in list(found.words.items())[:_SHOWN])
    guessed = f" ({found.why['label']})" if "label" in found.why else ""
    sampled = f", described by a sample of {found.sampled:,}" if found.sampled < found.rows else ""
    duplicates = f", {found.duplicates:,} duplicates" if found.duplicates else ""
    lines = [
        f"rows       {found.rows:,}{sampled}{duplicates}",
        f"frauds     {found.frauds:,} ({found.frauds / found.rows:.3%})",
        f"label      {found.config.label}{guessed}: {words}",
        f"split      {found.split}, label_delay_days={found.label_delay_days}",
    ]
    if "where" in found.why:
        lines.append(f"where      {found.config.where} ({found.why['where']})")
    for role, columns in by_role(found.columns).items():
        if role != "label":
            names = [facts.column.name for facts in columns]
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            lines.append(f"{role:10} {', '.join(names[:_SHOWN])}{more}")
    if found.maturity is not None:
        late = found.maturity
        lines.append(
            f"look       {late.last:.3%} of the rows of the last {late.days:.3g} days are frauds, "
            f"{late.before:.3%} before"
        )
    return "\n".join(map(one_line, [*lines, *(f"look       {doubt}" for doubt in found.doubts)]))


def write_description_page(path: Path, found: Description, use: str) -> None:
    """Write the page to ``path``; it loads nothing from elsewhere.

    Args:
        path: of the HTML file.
        found: the description.
        use: the command that trains with it.
    """
    pages = environment()
    share = found.frauds / found.rows
    page = pages.get_template("description.html.jinja").render(
        found=found,
        address=shown(found.config.path),
        use=use,
        by_role=by_role(found.columns),
        sampled=min(found.sampled, MOST_ROWS),
        plot=lambda facts: plot(facts.bars, share, f"Rows and share of fraud by {facts.column.name}"),
    )
    write_text(path, page)


def plot(bars: Sequence[Bar], share: float, alt: str) -> Markup:
    """Bars of the share of rows and, as dots, of the share of fraud, with a line at that of the whole table.

    Args:
        bars: from left to right.
        share: of fraud in the whole table.
        alt: what a screen reader says.
    """
    if not bars:
        return Markup("")
    step = _WIDTH / len(bars)
    most = max(bar.rows for bar in bars)
    top = max([share, *(bar.fraud for bar in bars if bar.fraud is not None)]) or 1.0
    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT + _FOOT}" role="img" aria-label="{escape(alt)}">']
    for number, bar in enumerate(bars):
        height = (_HEIGHT - 4) * bar.rows / most
        said = f"{escape(bar.name)}: {bar.rows:.2%} of the rows"
        said += "" if bar.fraud is None else f", {bar.fraud:.2%} of them frauds"
        parts.append(
            f'<g><title>{said}</title><rect x="{number * step:.1f}" y="{_HEIGHT - height:.1f}" '
            f'width="{max(step - 1, 0.5):.1f}" height="{height:.1f}" fill="var(--first)" opacity="0.55"/>'
        )
        if bar.fraud is not None:
            y = _HEIGHT - (_HEIGHT - 4) * bar.fraud / top
            parts.append(f'<circle cx="{(number + 0.5) * step:.1f}" cy="{y:.1f}" r="2.2" fill="var(--second)"/>')
        parts.append("</g>")
    y = _HEIGHT - (_HEIGHT - 4) * share / top
    parts.append(f'<path d="M0 {y:.1f}H{_WIDTH}" stroke="var(--muted)" stroke-width="0.7" stroke-dasharray="2 2"/>')
    for x, anchor, bar in ((0, "start", bars[0]), (_WIDTH, "end", bars[-1])):
        parts.append(
            f'<text x="{x}" y="{_HEIGHT + 11}" text-anchor="{anchor}" font-size="9" fill="var(--muted)">'
            f"{escape(bar.name if len(bar.name) <= 22 else bar.name[:21] + '…')}</text>"
        )
    return Markup("".join([*parts, "</svg>"]))  # noqa: S704 (made here; names are escaped)
