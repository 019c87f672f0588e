"""A backtest as plain text and as one self-contained HTML page, from the content of its ``metrics.json``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fraudlab.files import write_text
from fraudlab.metrics.registry import headings
from fraudlab.metrics.slices import FEWEST_FRAUDS
from fraudlab.reporting.backtest_plots import drawn_words, most_moved, plots_of, saved_words, windows_svg
from fraudlab.reporting.comparison import aligned
from fraudlab.reporting.template import environment

_POLICIES = {
    "fresh": "a new model for each window",
    "warm": "a model that continues from the previous one",
    "frozen": "all models so far averaged, without retraining",
    "none": "one model, trained once",
}
_SHOWN = ("roc_auc", "average_precision", "card_precision_at_100", "recall_at_fpr_0.01")


def backtest_table(found: Mapping[str, Any]) -> str:
    """The steps, then the ways to go with differences to the first of them."""
    money = found["admin_cost"] is not None
    heading = headings()
    keys = [key for key in _SHOWN if any(step[key] is not None for step in found["steps"])]
    head = ["tested from", "learnt", "rows", "frauds", *(heading[key] for key in keys), "95 % of AP"]
    rows = [
        [
            step["start"],
            f"{step['train_rows']:,}",
            f"{step['rows']:,}",
            f"{step['frauds']:,}",
            *(number(step[key]) for key in keys),
            interval(step["intervals"]["average_precision"]),
            *([number(step["saved"], 0)] if money else []),
        ]
        for step in found["steps"]
    ]
    head += ["saved"] if money else []
    caption = f"Backtest{', simulated data' if found['simulated'] else ''}: {_POLICIES[found['policy']]}"
    out = [caption, "", *aligned([head, *rows])]
    if len(found["choices"]) > 1:
        name = f"difference to {found['choices'][0]['name']}"
        cells = [["trained", "times", "seconds", "mean AP", name, *(["saved", name] if money else [])]]
        for i, choice in enumerate(found["choices"]):
            ap, saved = choice["average_precision"], choice["saved"]
            cells.append(
                [
                    choice["name"],
                    str(choice["fits"]),
                    f"{choice['seconds']:.1f}",
                    number(ap["value"]),
                    difference(ap) if i else "",
                    *([number(saved["value"], 0), difference(saved, 0) if i else ""] if money else []),
                ]
            )
        out += ["", "Cost of training less often:", "", *aligned(cells)]
    return "\n".join(out)


def write_backtest_page(path: Path, found: Mapping[str, Any], provenance: Mapping[str, Any]) -> None:
    """Write the page to ``path``; it loads nothing from elsewhere.

    Args:
        path: of the page.
        found: the content of ``metrics.json``.
        provenance: what stands at its end, by name.
    """
    pages = environment()
    pages.globals |= {"number": number, "interval": interval, "difference": difference, "tells": tells}
    page = pages.get_template("backtest.html.jinja").render(
        found=found,
        policy=_POLICIES[found["policy"]],
        title=f"{found['data'] if found['experiment'] in (None, 'none') else found['experiment']}, {found['model']}",
        columns={key: headings()[key] for key in _SHOWN if any(step[key] is not None for step in found["steps"])},
        money=found["admin_cost"] is not None,
        means=_means(found),
        drawn=drawn_words(found),
        saved=saved_words(found) if found["admin_cost"] is not None else None,
        fewest_frauds=FEWEST_FRAUDS,
        moved=most_moved(found, 8),
        windows=windows_svg(found["steps"]),
        plots=plots_of(found),
        provenance=provenance,
    )
    write_text(path, page)


def _means(found: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Name, value and interval of what is told first."""
    own = found["choices"][-1] if found["policy"] == "frozen" else found["choices"][0]
    heading = headings()
    told = [
        (f"mean {heading[key]}", number(own[key]["value"]), interval(own[key]["interval"]))
        for key in ("average_precision", "roc_auc")
    ]
    worst = min(found["steps"], key=lambda step: step["average_precision"])
    told.append(
        (f"lowest {heading['average_precision']}", number(worst["average_precision"]), f"from {worst['start']} on")
    )
    if found["admin_cost"] is not None:
        told.append(("saved, all windows", number(own["saved"]["value"], 0), interval(own["saved"]["interval"], 0)))
    return told


def number(value: float | None, decimals: int = 4) -> str:
    """A value or a dash."""
    return "–" if value is None else f"{value:,.{decimals}f}"


def interval(value: Sequence[float] | None, decimals: int = 3) -> str:
    """``0.612 to 0.745``."""
    return "–" if value is None else f"{value[0]:,.{decimals}f} to {value[1]:,.{decimals}f}"


def difference(value: Mapping[str, Any], decimals: int = 4) -> str:
    """``-0.0123 [-0.0245, -0.0010]``."""
    if value["difference"] is None:
        return "–"
    if value["difference_interval"] is None:
        return f"{value['difference']:+,.{decimals}f}"
    low, high = value["difference_interval"]
    return f"{value['difference']:+,.{decimals}f} [{low:+,.{decimals}f}, {high:+,.{decimals}f}]"


def tells(value: Mapping[str, Any]) -> bool:
    """Whether the interval of a difference leaves out zero."""
    apart = value["difference_interval"]
    return apart is not None and (apart[0] > 0 or apart[1] < 0)
