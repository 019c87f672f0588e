"""The plots of a backtest, of the content of its ``metrics.json``."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from fraudlab.metrics.bootstrap import FEWEST_GROUPS
from fraudlab.metrics.registry import headings
from fraudlab.reporting.svg import FIRST, MUTED, SECOND, STYLE, Plot, draw

_COLUMNS = 4  # columns whose drift is drawn
_PARTS = {
    "selection_train": ("training rows of the chosen model", "--muted", 0.35),
    "validation": ("validation: epoch and threshold", "--second", 0.45),
    "train": ("training rows of the tested model", "--first", 0.45),
    "test": ("test", "--first", 1.0),
}


def plots_of(found: Mapping[str, Any]) -> list[Plot]:
    """Every plot that the content of ``metrics.json`` allows, in the order of the page."""
    with mpl.rc_context(STYLE):
        drawn = [_by_step(found, "average_precision", wide=True), _by_step(found, "roc_auc")]
        if found["admin_cost"] is not None:
            drawn.append(_by_step(found, "saved"))
        drawn.append(_drift(found))
        if len(found["ages"]) > 1:
            drawn.append(_ages(found))
    return drawn


def _by_step(found: Mapping[str, Any], key: str, *, wide: bool = False) -> Plot:
    steps, heading = found["steps"], {**headings(), "saved": "saved"}[key]

    def paint(figure: Figure) -> None:
        axes = _axes(figure, steps, wide=wide)
        x = np.arange(len(steps))
        _line(axes, [step[key] for step in steps], color=FIRST, marker="o", markersize=4, label=_own(found))
        bands = [step["intervals"][key] or [np.nan, np.nan] for step in steps]
        low, high = np.array(bands, float).T
        axes.fill_between(x, low, high, color=FIRST, alpha=0.15, linewidth=0)
        dashes = [(0, (4, 2)), (0, (1, 1.5))]
        for choice, dash, colour in zip(_others(found), dashes, (SECOND, MUTED), strict=False):
            label = f"trained {choice['name']}"
            _line(axes, choice["by_step"][key], color=colour, linestyle=dash, linewidth=1.3, label=label)
        axes.set_ylabel(heading)
        if key == "saved":
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
            figure.subplots_adjust(left=0.18)
        axes.legend(loc="best", fontsize=8)

    money = f"{_capital(saved_words(found))}; " if key == "saved" else ""
    caption = f"{money}{_capital(f'95 % bootstrap interval: {drawn_words(found)}')}."
    return draw(f"step-{key}", f"{_capital(heading)} by window", f"{heading} of each window", caption, paint, wide=wide)


def _line(axes: Axes, values: Sequence[float | None], **how: Any) -> None:
    axes.plot(np.arange(len(values)), [np.nan if value is None else value for value in values], **how)


def _own(found: Mapping[str, Any]) -> str:
    return {
        "fresh": "trained for each window",
        "warm": "continued for each window",
        "frozen": "all models so far together",
        "none": "trained once",
    }[found["policy"]]


def _others(found: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The ways to go that stand beside the one that was tested: trained once and, of an ensemble, its last member."""
    if len(found["steps"]) < 2 or found["policy"] == "none":
        return []
    once = next(c for c in found["choices"] if c["every"] == len(found["steps"]))
    return [once, *([found["choices"][0]] if found["policy"] == "frozen" else [])]


def _axes(figure: Figure, steps: Sequence[Mapping[str, Any]], *, wide: bool = False) -> Axes:
    axes = figure.add_subplot()
    if wide:
        figure.subplots_adjust(left=0.07, right=0.985)
    shown = np.unique(np.linspace(0, len(steps) - 1, min(len(steps), 12 if wide else 5)).astype(int))
    axes.set_xticks(shown, [str(steps[i]["start"]).removeprefix("20") for i in shown])
    axes.set_xlim(-0.3, len(steps) - 0.7)
    return axes


def drawn_words(found: Mapping[str, Any]) -> str:
    """What intervals come from, in words."""
    drawn = found["drawn"]
    return (
        f"{drawn['groups']:,} {drawn['by']}s drawn with replacement {drawn['resamples']:,} times, "
        f"{drawn['with_fraud']:,} of them with a fraud{_without(found)}"
    )


def _without(found: Mapping[str, Any]) -> str:
    """Why some windows have no interval, in words."""
    less = [step for step in found["steps"] if step["intervals"]["average_precision"] is None]
    if not less:
        return ""
    by, fewest = found["drawn"]["by"], min(step["drawn"]["groups"] for step in less)
    drawn = min(step["drawn"]["resamples"] for step in less)
    return (
        f"; none for {len(less)} of {len(found['steps'])} windows: it takes {FEWEST_GROUPS} {by}s in a window and "
        f"frauds in 9 of 10 draws, and the least are {fewest:,} {by}s and {drawn:,} draws"
    )


def saved_words(found: Mapping[str, Any]) -> str:
    """What ``saved`` is, in words."""
    share = "" if found["recovery_share"] == 1 else f"{100 * found['recovery_share']:g} % of "
    return f"{share}the amounts of the frauds alerted less {found['admin_cost']:g} for each alert"


def most_moved(found: Mapping[str, Any], most: int) -> list[str]:
    """Columns by how far they have moved at most, furthest first."""
    steps = found["steps"]
    far = {name: max(step["drift"]["columns"][name] for step in steps) for name in steps[0]["drift"]["columns"]}
    return sorted(far, key=lambda name: -far[name])[:most]


def _drift(found: Mapping[str, Any]) -> Plot:
    steps = found["steps"]

    def paint(figure: Figure) -> None:
        axes = _axes(figure, steps)
        _line(axes, [step["drift"]["scores"] for step in steps], color=SECOND, marker="o", markersize=4, label="scores")
        dashes = ["-", (0, (4, 2)), (0, (1, 1.5)), (0, (6, 1.5, 1, 1.5))]
        for name, dash in zip(most_moved(found, _COLUMNS), dashes, strict=False):
            values = [step["drift"]["columns"][name] for step in steps]
            short = name if len(name) <= 30 else name[:29] + "…"
            _line(axes, values, color=FIRST, linestyle=dash, linewidth=1.1, label=short)
        axes.set_ylabel("population stability index")
        axes.set_ylim(bottom=0)
        figure.subplots_adjust(bottom=0.27)
        axes.legend(loc="upper center", bbox_to_anchor=(0.46, -0.1), ncol=2, fontsize=7, columnspacing=1)

    return draw(
        "drift",
        "Drift by window",
        "Population stability index of scores and columns by window",
        "How far the first model's scores are from those of its own window, and the columns that changed most from its "
        "training rows.",
        paint,
    )


def _ages(found: Mapping[str, Any]) -> Plot:
    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        days = found["step_days"]
        older = found["ages"][1:]
        age = [days * each["age"] for each in older]
        axes.axhline(0, color=MUTED, linewidth=0.8)
        axes.bar(age, [each["average_precision"] for each in older], width=0.6 * days, color=FIRST, alpha=0.7)
        for each, at in zip(older, age, strict=True):
            value = each["average_precision"]
            place: dict[str, Any] = {"ha": "center", "fontsize": 7, "color": MUTED}
            axes.annotate(str(each["windows"]), (at, value), (0, 3 if value >= 0 else -9),
                          textcoords="offset points", **place)  # fmt: skip
        axes.margins(y=0.15)
        axes.set_xlim(0, age[-1] + days)
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        axes.set(xlabel="days since the model would have been retrained", ylabel="difference of AP")

    return draw(
        "age",
        "Loss of a model with age",
        "Difference of average precision to a model fitted for the window, by the model's age",
        "Mean over the windows (their number is at each bar) of an older model's AP minus that of the window's own.",
        paint,
    )


def windows_svg(steps: Sequence[Mapping[str, Any]], *, alone: bool = False) -> Markup:
    """What each step learns from, is chosen on and is tested on, a row a step.

    Args:
        steps: each with ``start`` and with ``days``, by part its first day and the day after its last as numbers.
        alone: for a file of its own, which no page gives colours.
    """
    first = min(days[0] for step in steps for days in step["days"].values())
    last = max(days[1] for step in steps for days in step["days"].values())
    left, width, row, top = 96, 860, 30, 34
    scale = width / max(last - first, 1)
    height = top + row * len(steps) + 8
    out = []
    x = float(left)
    for label, colour, opacity in _PARTS.values():
        out.append(f'<rect x="{x:g}" y="6" width="12" height="12" fill="var({colour})" fill-opacity="{opacity}"/>')
        out.append(f'<text x="{x + 17:g}" y="16">{label}</text>')
        x += 40 + 6.4 * len(label)
    for i, step in enumerate(steps):
        y = top + row * i
        out.append(f'<text x="{left - 8}" y="{y + 16}" text-anchor="end">{step["start"]}</text>')
        out.append(f'<line x1="{left}" x2="{left + width}" y1="{y + row - 4}" y2="{y + row - 4}" class="rule"/>')
        for part, (label, colour, opacity) in _PARTS.items():
            if part not in step["days"]:
                continue
            start, stop = step["days"][part]
            # Two lanes: a tested model may learn from the rows that its settings were chosen on.
            lane = y + (2 if part in ("selection_train", "validation") else 12)
            tall = 22 if part == "test" else 9
            out.append(
                f'<rect x="{left + (start - first) * scale:.1f}" y="{y + 1 if part == "test" else lane}" '
                f'width="{max((stop - start) * scale, 1):.1f}" height="{tall}" fill="var({colour})" '
                f'fill-opacity="{opacity}"><title>{label}</title></rect>'
            )
    light = "--paper:#fff;--ink:#1d2530;--muted:#5d6878;--line:#dfe3e9;--first:#1f6feb;--second:#cf4b12"
    dark = "--paper:#12161c;--ink:#e4e8ee;--muted:#9aa5b4;--line:#323b47;--first:#6cabff;--second:#ff8f5c"
    style = (
        f"svg{{{light};font-family:system-ui,sans-serif;background:var(--paper)}}"
        f"@media (prefers-color-scheme:dark){{svg{{{dark}}}}}"
        if alone
        else ""
    )
    look = ".windows text{font-size:12px;fill:var(--ink)}.windows .rule{stroke:var(--line)}"
    head = 'xmlns="http://www.w3.org/2000/svg" ' if alone else ""
    size = f'viewBox="0 0 {left + width + 10} {height}"'
    return Markup(  # noqa: S704 (made here of numbers, days and fixed words)
        f'<svg {head}{size} class="windows" role="img" aria-label="The windows of each step">'
        f"<style>{style}{look}</style>{''.join(out)}</svg>"
    )


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
