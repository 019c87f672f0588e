"""A comparison of models as plain text, as JSON and as one self-contained HTML page."""

import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fraudlab.files import write_text
from fraudlab.metrics.bootstrap import RESAMPLED_METRICS
from fraudlab.metrics.ranking import Ranking
from fraudlab.metrics.registry import METRICS, headings
from fraudlab.reporting.svg import FIRST, MUTED, SECOND, STYLE, Plot, draw
from fraudlab.reporting.template import environment
from fraudlab.runs.comparison import ComparedModel, Difference, Resamples

UNPAIRED = "scored other rows: not comparable"
_LINES = [(colour, dash) for dash in ("-", (0, (4, 2)), (0, (1, 1.5))) for colour in (FIRST, SECOND, MUTED)]


def comparison_table(compared: Sequence[ComparedModel], found: Resamples, part: str, confidence: float) -> str:
    """Metrics with their deviation over a model's runs and over resamples, then differences to the first model."""
    simulated = ", simulated data" if any(model.simulated for model in compared) else ""
    caption = f"Metrics on {part}{simulated}: mean ± deviation over the runs (seeds) of a model"
    head = ["", "runs", *headings().values()]
    rows = [[model.name, str(len(model.runs)), *(mean_and_std(model, key) for key in headings())] for model in compared]
    resampled = ["", *(headings()[key] for key in RESAMPLED_METRICS)]
    errors = [
        [model.name, *([UNPAIRED] if std is None else [f"± {std[key]:.4f}" for key in RESAMPLED_METRICS])]
        for model, std in zip(compared, found.deviations, strict=True)
    ]
    against = [
        [model.name, *([UNPAIRED] if apart is None else [interval(apart[key]) for key in RESAMPLED_METRICS])]
        for model, apart in zip(compared[1:], found.differences, strict=True)
    ]
    sampled = f"Deviation over other samples like {part}, which seeds do not show: {drawn(found)}"
    paired = f"Difference to {compared[0].name}, {100 * confidence:g} % interval over the same resamples"
    tables = [(caption, [head, *rows]), (sampled, [resampled, *errors]), (paired, [resampled, *against])]
    return "\n\n".join("\n".join([title, "", *aligned(cells)]) for title, cells in tables)


def drawn(found: Resamples) -> str:
    """What was drawn with replacement, in words."""
    return f"{found.groups:,} {found.by}s drawn with replacement, {found.with_fraud:,} of them with a fraud"


def to_json(compared: Sequence[ComparedModel], found: Resamples) -> dict[str, Any]:
    """All that the table shows, with the values of each run."""
    return {
        "simulated": any(model.simulated for model in compared),
        "drawn": {"by": found.by, "groups": found.groups, "with_fraud": found.with_fraud},
        "models": [
            {
                "name": model.name,
                "runs": [str(run.path) for run in model.runs],
                "seeds": list(model.seeds),
                "rows": len(model.rows),
                "metrics": {
                    key: {"mean": model.mean(key), "std": model.std(key), "values": model.values(key)}
                    for key in model.metrics[0]
                },
                "resampled_std": std,
            }
            for model, std in zip(compared, found.deviations, strict=True)
        ],
        "differences": [
            {
                "model": model.name,
                "against": compared[0].name,
                "paired": apart is not None,
                **({key: vars(value) for key, value in apart.items()} if apart else {}),
            }
            for model, apart in zip(compared[1:], found.differences, strict=True)
        ],
    }


def write_comparison_page(
    path: Path, compared: Sequence[ComparedModel], found: Resamples, part: str, confidence: float
) -> None:
    """Write the page to ``path``; it loads nothing from elsewhere."""
    pages = environment()
    pages.globals |= {"interval": interval, "apart_from_zero": _apart_from_zero}
    with mpl.rc_context(STYLE):
        apart = [_apart(compared, found)] if any(found.differences) else []
        plots = [_by_run(compared), *apart, _precision_recall(compared)]
    page = pages.get_template("comparison.html.jinja").render(
        models=compared,
        apart=list(zip(compared[1:], found.differences, strict=True)),
        deviations=dict(zip([model.name for model in compared], found.deviations, strict=True)),
        drawn=drawn(found),
        columns=headings(),
        lower=[heading for key, heading in headings().items() if METRICS[key].higher_is_better is False],
        best={key: _best(compared, key) for key in headings()},
        paired=RESAMPLED_METRICS,
        unpaired=UNPAIRED,
        part=part,
        confidence=confidence,
        simulated=any(model.simulated for model in compared),
        plots=plots,
    )
    write_text(path, page)


def _best(compared: Sequence[ComparedModel], figure: str) -> ComparedModel | None:
    """The model with the best mean, of several that have one; None where no way is better."""
    known = [model for model in compared if model.mean(figure) is not None]
    metric = METRICS[figure]
    if metric.higher_is_better is None or len(known) < 2:
        return None
    best = max if metric.higher_is_better else min
    return best(known, key=lambda model: model.mean(figure) or 0.0)


def _apart_from_zero(value: Difference) -> bool:
    return value.low > 0 or value.high < 0


def mean_and_std(model: ComparedModel, figure: str) -> str:
    """``0.6850 ± 0.0040``, without the deviation where there is one run; a dash where there is no figure."""
    mean, std = model.mean(figure), model.std(figure)
    return "-" if mean is None else f"{mean:.4f}" + ("" if std is None else f" ± {std:.4f}")


def interval(value: Difference) -> str:
    """``+0.0123 [-0.0045, +0.0290]``."""
    return f"{value.difference:+.4f} [{value.low:+.4f}, {value.high:+.4f}]"


def aligned(cells: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table with a rule below its head; the last cell of a short row runs on."""
    columns = max(map(len, cells))
    widths = [max(len(row[i]) for row in cells if len(row) == columns) for i in range(columns)]
    widths[0] = max(len(row[0]) for row in cells)
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=False))]).rstrip()
        for row in cells
    ]
    return [lines[0], "-" * (sum(widths) + 2 * (columns - 1)), *lines[1:]]


def _rows(figure: Figure, names: Sequence[str], paint: Callable[[Axes, str], None]) -> None:
    """A panel for each of :data:`RESAMPLED_METRICS` side by side, a row a model."""
    panels = figure.subplots(1, len(RESAMPLED_METRICS), sharey=True)
    inches = figure.get_figheight()
    figure.subplots_adjust(left=0.3, wspace=0.18, bottom=0.35 / inches, top=1 - 0.25 / inches)
    for axes, key in zip(panels, RESAMPLED_METRICS, strict=True):
        paint(axes, key)
        axes.set_title(headings()[key], fontsize=9)
        axes.set_yticks(range(len(names)), ["\n".join(textwrap.wrap(name, 22)[:2]) for name in names], fontsize=8)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.locator_params(axis="x", nbins=3)


def _height(rows: int) -> float:
    """Inches of a plot with so many rows."""
    return max(1.6, 0.8 + 0.36 * rows)


def _by_run(compared: Sequence[ComparedModel]) -> Plot:
    def paint(axes: Axes, key: str) -> None:
        for row, model in enumerate(compared):
            axes.plot(model.values(key), [row] * len(model.values(key)), "o", color=FIRST, markersize=4, alpha=0.6)
            if (mean := model.mean(key)) is not None:
                axes.plot([mean, mean], [row - 0.25, row + 0.25], color=SECOND)

    return draw(
        "runs",
        "Every run",
        "AUC ROC and average precision of every run, a row a model",
        "A dot a run, a bar at the mean of a model's runs.",
        lambda figure: _rows(figure, [model.name for model in compared], paint),
        _height(len(compared)),
    )


def _apart(compared: Sequence[ComparedModel], found: Resamples) -> Plot:
    known = [(model.name, apart) for model, apart in zip(compared[1:], found.differences, strict=True) if apart]

    def paint(axes: Axes, key: str) -> None:
        axes.axvline(0, color=MUTED, linewidth=0.8)
        for row, (_, apart) in enumerate(known):
            axes.plot([apart[key].low, apart[key].high], [row, row], color=FIRST)
            axes.plot(apart[key].difference, row, "o", color=FIRST, markersize=5)

    return draw(
        "apart",
        f"Difference to {compared[0].name}",
        "Difference of AUC ROC and average precision to the first model with bootstrap intervals",
        "Right of zero is better than the first model; lines are bootstrap intervals.",
        lambda figure: _rows(figure, [name for name, _ in known], paint),
        _height(len(known)),
    )


def _precision_recall(compared: Sequence[ComparedModel]) -> Plot:
    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        recall = np.linspace(0.005, 1, 200)
        for model, (colour, dash) in zip(compared, _LINES, strict=False):
            curves = []
            for score in model.scores:
                ranking = Ranking(model.rows["label"].to_numpy(), score)
                alerts = np.interp(recall, ranking.recall, ranking.alerts)
                curves.append(recall * ranking.frauds / alerts)
            axes.plot(recall, np.mean(curves, axis=0), color=colour, linestyle=dash, label=model.name, linewidth=1.3)
        axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="recall", ylabel="precision")
        axes.legend(loc="upper right")

    return draw(
        "precision-recall",
        "Precision and recall",
        "Precision against recall of each model",
        "Mean over the runs of a model"
        + (f"; the first {len(_LINES)} models only." if len(compared) > len(_LINES) else "."),
        paint,
    )
