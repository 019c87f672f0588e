"""How plots are drawn: inline SVG that follows the page's light and dark scheme."""

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup
from matplotlib.figure import Figure

# Colours that stand for CSS variables of the page, so that the plots follow its light and dark scheme.
INK, MUTED, GRID, FIRST, SECOND = "#0a0b01", "#0a0b02", "#0a0b03", "#0a0b04", "#0a0b05"
_VARIABLES = {INK: "--ink", MUTED: "--muted", GRID: "--line", FIRST: "--first", SECOND: "--second"}
STYLE: Any = {
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "text.color": INK,
    "font.size": 9,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "svg.fonttype": "none",  # text stays text: small, searchable, in the page's font
    "svg.hashsalt": "fraudlab",  # the same run gives the same page
}


@dataclass(frozen=True)
class Plot:
    """One drawn plot."""

    title: str
    svg: Markup
    caption: str
    wide: bool = False


def draw(
    key: str,
    title: str,
    alt: str,
    caption: str,
    paint: Callable[[Figure], None],
    height: float = 3.2,
    *,
    wide: bool = False,
) -> Plot:
    """One plot as inline SVG: ids unique on the page, colours as CSS variables, named for screen readers.

    ``height`` is in inches of 4.8 across, or of 10 for one that is ``wide``: as wide as the page.
    """
    figure = Figure(figsize=(10 if wide else 4.8, height))
    figure.subplots_adjust(left=0.145, right=0.955, bottom=0.14, top=0.97)  # a layout engine would double the time
    paint(figure)
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'^<svg .*?viewBox="(.*?)".*?>', rf'<svg viewBox="\1" role="img" aria-label="{alt}">', svg, flags=re.S)
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{key}-", svg)
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, f"var({variable})")
    return Plot(title, Markup(svg), caption, wide)  # noqa: S704 (made here of numbers and fixed words)
