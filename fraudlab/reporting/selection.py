"""A selection of features as a table in the terminal and as one self-contained HTML page."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from fraudlab.feature_selection.redundancy import MOST_ROWS
from fraudlab.feature_selection.selection import Selection
from fraudlab.files import write_text
from fraudlab.reporting.svg import FIRST, MUTED, SECOND, STYLE, Plot, draw
from fraudlab.reporting.template import environment

_MOST_PRINTED = 15


def selection_table(selection: Selection, *, simulated: bool) -> str:
    """How many features are left out and why, and those that do not last, the worst first."""
    train, first, last = selection.rows
    left_out = [len(names) for names in (selection.inconsistent, selection.redundant, selection.leave_out)]
    lines = [
        f"rows       {train:,} for training; {first:,} in the first part, {last:,} in the last",
        f"features   {len(selection.consistency):,}{', of simulated data' if simulated else ''}",
        f"left out   {left_out[2]:,}: {left_out[0]:,} do not last, {left_out[1]:,} repeat others",
    ]
    if worst := _worst_first(selection)[: min(left_out[0], _MOST_PRINTED)]:
        width = max(map(len, worst))
        lines += ["", f"{'does not last'.ljust(width)}  AUC first  AUC last"]
        lines += [
            f"{name.ljust(width)}  {selection.consistency[name].first_auc:9.4f}  "
            f"{selection.consistency[name].last_auc:8.4f}"
            for name in worst
        ]
        if left_out[0] > len(worst):
            lines.append(f"and {left_out[0] - len(worst)} more, in the report")
    return "\n".join(lines)


def write_selection_report(
    path: Path, selection: Selection, settings: Mapping[str, Any], *, simulated: bool, use: str | None
) -> None:
    """Write the page to ``path``; it loads nothing from elsewhere.

    Args:
        path: of the HTML file.
        selection: what was found.
        settings: shown on the page.
        simulated: whether the data were simulated; the page says so.
        use: the command that trains without the features left out, if there is one.
    """
    pages = environment()
    with mpl.rc_context(STYLE):
        plot = _scatter(selection)
    page = pages.get_template("selection.html.jinja").render(
        selection=selection,
        worst_first=_worst_first(selection),
        redundant=set(selection.redundant),
        plot=plot,
        settings=settings,
        simulated=simulated,
        use=use,
        most_rows=MOST_ROWS,
    )
    write_text(path, page)


def _worst_first(selection: Selection) -> list[str]:
    return sorted(selection.consistency, key=lambda name: min(selection.consistency[name]))


def _scatter(selection: Selection) -> Plot:
    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        names, auc = list(selection.consistency), np.array(list(selection.consistency.values()))
        lasts = np.array([name not in selection.inconsistent for name in names])
        low, high = min(0.48, auc.min() - 0.01), auc.max() + 0.02
        axes.plot((low, high), (low, high), color=MUTED, linewidth=0.8, linestyle=":", label="the same")
        axes.axhline(selection.least_auc, color=MUTED, linewidth=0.8)
        axes.axvline(selection.least_auc, color=MUTED, linewidth=0.8)
        axes.plot(*auc[lasts].T, "o", color=FIRST, markersize=3, linestyle="none", label="lasts")
        axes.plot(*auc[~lasts].T, "X", color=SECOND, markersize=5, linestyle="none", label="does not last")
        axes.set(xlim=(low, high), ylim=(low, high), xlabel="AUC, first part", ylabel="AUC, last part")
        axes.legend(loc="upper left")

    return draw(
        "lasting",
        "Do features keep their relation to fraud?",
        "Scatter of every feature: AUC on the first part of the training rows against AUC on the last part",
        "One dot a feature: the AUC of a model of that feature alone, on the part it was fitted on and on the last "
        "part. Far below the dotted line, the feature's relation to fraud did not last.",
        paint,
    )
