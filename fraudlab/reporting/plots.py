"""The report's plots."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator
from numpy.typing import NDArray

from fraudlab.metrics.calibration import reliability_curve
from fraudlab.metrics.cards import card_days
from fraudlab.metrics.ranking import Ranking
from fraudlab.reporting.published import Benchmark
from fraudlab.reporting.svg import FIRST, MUTED, SECOND, STYLE, Plot, draw

_LINES: Mapping[str, dict[str, Any]] = {
    "val": {"color": MUTED, "linestyle": (0, (4, 2)), "linewidth": 1.2},
    "test": {"color": FIRST},
}
_POINTS = 300  # points of a drawn curve: more than the eye can tell apart; metrics are never computed from them


@dataclass(frozen=True)
class ScoredSplit:
    """Predictions of one split: ``[N]`` each; ``day`` and ``card`` are None where unknown."""

    label: NDArray[np.bool_]
    score: NDArray[np.float64]
    day: NDArray[np.int32] | None  # days since 1970-01-01
    card: NDArray[Any] | None

    @cached_property
    def ranking(self) -> Ranking:
        return Ranking(self.label, self.score)


def draw_plots(splits: Mapping[str, ScoredSplit], benchmark: Benchmark | None, history: Path, step: str) -> list[Plot]:
    """Every plot that the splits (``val`` and, if there, ``test``) allow, in the order of the page.

    ``history`` is the CSV of the training curves, which may be absent; ``benchmark`` gives published metrics to name;
    ``step`` is what the curves go by, ``epoch`` or ``round``.
    """
    last = splits.get("test") or splits["val"]
    name = "test" if "test" in splits else "validation"
    drawn: list[Plot] = []
    with mpl.rc_context(STYLE):
        if 0 < last.ranking.frauds < last.ranking.rows:
            drawn += [_roc(splits), _precision_recall(splits, benchmark), _budget(last, name)]
        drawn += [_scores(last, name), _reliability(splits)]
        if last.day is not None and last.card is not None:
            drawn.append(_cards(last, last.day, last.card, name))
        if history.is_file() and history.stat().st_size and (learning := _learning(history, step)):
            drawn.append(learning)
    return drawn


def _percent(share: float, _: float) -> str:
    return f"{100 * share:g}%"


def _log(axis: Axis, form: str | Callable[[float, float], str]) -> None:
    """Plain labels at the powers of ten; mathematical ones take most of the time of a plot."""
    axis.set_major_formatter(form)
    axis.set_minor_locator(NullLocator())


def _roc(splits: Mapping[str, ScoredSplit]) -> Plot:
    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        lowest = min(10.0 ** np.floor(np.log10(10 / split.ranking.rows)) for split in splits.values())
        rate = np.geomspace(lowest, 1, _POINTS)
        axes.plot(rate, rate, color=MUTED, linewidth=0.8, linestyle=":", label="chance")
        for name, split in splits.items():
            axes.plot(
                rate,
                np.interp(rate, split.ranking.false_positive_rate, split.ranking.recall),
                **_LINES[name],
                label=name,
            )
            if name == "test":
                marks = np.array([0.001, 0.01])
                axes.plot(marks, [split.ranking.recall_at_fpr(mark) for mark in marks], "o", color=FIRST, markersize=4)
        axes.set(xscale="log", xlim=(lowest, 1), ylim=(0, 1.02), xlabel="false positive rate", ylabel="recall")
        _log(axes.xaxis, _percent)
        axes.legend(loc="upper left")

    return draw(
        "roc",
        "ROC at low false positive rates",
        "ROC curve: recall against false positive rate on a logarithmic axis",
        "Recall against the share of genuine transactions alerted. The axis is logarithmic since fraud teams work "
        "at its left; dots mark 0.1% and 1% on test.",
        paint,
    )


def _precision_recall(splits: Mapping[str, ScoredSplit], benchmark: Benchmark | None) -> Plot:
    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        for name, split in splits.items():
            caught = np.unique(np.linspace(1, split.ranking.frauds, _POINTS).astype(int))
            reached = np.searchsorted(split.ranking.caught, caught)  # the fewest alerts that catch as many
            precision = split.ranking.caught[reached] / split.ranking.alerts[reached]
            axes.plot(split.ranking.recall[reached], precision, **_LINES[name], label=name)
        axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="recall", ylabel="precision")
        axes.legend(loc="lower left")

    caption = "Share of frauds among the alerts against the share of all frauds caught; the area below is the AP."
    if benchmark:
        listed = ", ".join(f"{model.metrics['average_precision']} ({model.name})" for model in benchmark.models)
        caption += f" Published AP: {listed}."
    return draw(
        "precision-recall",
        "Precision and recall",
        "Precision against recall",
        caption,
        paint,
    )


def _budget(split: ScoredSplit, name: str) -> Plot:
    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        alerts = np.geomspace(max(1, split.ranking.rows / 1e4), split.ranking.rows, _POINTS)
        caught = np.interp(alerts, split.ranking.alerts, split.ranking.caught)
        share = alerts / split.ranking.rows
        axes.plot(share, caught / alerts, color=FIRST, label="precision")
        axes.plot(share, caught / split.ranking.frauds, color=SECOND, label="recall")
        axes.set(xscale="log", xlim=(share[0], 1), ylim=(0, 1.02), xlabel="transactions alerted")
        _log(axes.xaxis, _percent)
        axes.legend(loc="center right")

    return draw(
        "budget",
        "Precision and recall by alert budget",
        f"Precision and recall against the share of transactions alerted, on {name}",
        f"Precision and recall where only the most suspicious share of the transactions is looked at ({name}).",
        paint,
    )


def _scores(split: ScoredSplit, name: str) -> Plot:
    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        edges = np.linspace(0, 1, 51)
        for rows, kind, colour in ((~split.label, "genuine", FIRST), (split.label, "fraud", SECOND)):
            axes.stairs(
                np.histogram(split.score[rows], edges)[0], edges, color=colour, label=kind, fill=True, alpha=0.35
            )
            axes.stairs(np.histogram(split.score[rows], edges)[0], edges, color=colour, linewidth=1.2)
        axes.set(yscale="log", xlim=(0, 1), ylim=(0.7, None), xlabel="score", ylabel="transactions")
        _log(axes.yaxis, "{x:,.0f}")
        axes.legend(loc="upper right")

    return draw(
        "scores",
        "Scores by class",
        f"Histogram of the scores of genuine and fraudulent transactions, on {name}",
        f"Transactions by score, 50 bins, counts on a logarithmic axis ({name}).",
        paint,
    )


def _reliability(splits: Mapping[str, ScoredSplit]) -> Plot:
    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        curves = {name: reliability_curve(split.label, split.score, bins=15) for name, split in splits.items()}
        lowest = min(0.5 / rows.max() for _, _, rows in curves.values())
        axes.plot([lowest, 1], [lowest, 1], color=MUTED, linewidth=0.8, linestyle=":", label="perfect")
        for name, (mean_score, fraud_rate, _) in curves.items():
            at = np.clip([mean_score, fraud_rate], lowest, 1)
            axes.plot(*at, **_LINES[name] | {"linewidth": 1}, marker="o", markersize=3.5, label=name, clip_on=False)
        axes.set(xscale="log", yscale="log", xlim=(lowest, 1), ylim=(lowest, 1))
        axes.set(xlabel="mean score", ylabel="share of frauds")
        _log(axes.xaxis, _percent)
        _log(axes.yaxis, _percent)
        axes.legend(loc="upper left")

    return draw(
        "reliability",
        "Reliability",
        "Share of frauds against mean score, in bins of equally many transactions",
        "Share of frauds against mean score in 15 bins of equally many transactions, both axes logarithmic; bins "
        "without a fraud stand at the lower edge.",
        paint,
    )


def _cards(split: ScoredSplit, day: NDArray[np.int32], card: NDArray[Any], name: str) -> Plot:
    days = card_days(day, card, split.label, split.score)
    alt = f"Compromised cards found among the first {days.k} and missed, by day, on {name}"

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        at = days.day.astype("datetime64[D]")
        axes.bar(at, days.detected, color=FIRST, label=f"found in the first {days.k}", width=0.7)
        axes.bar(
            at,
            days.compromised - days.detected,
            bottom=days.detected,
            color=MUTED,
            alpha=0.35,
            label="missed",
            width=0.7,
        )
        axes.set(ylabel="compromised cards", ylim=(0, 1.25 * max(1, days.compromised.max())))
        axes.set_xlim(at[0] - 1, at[-1] + 1)
        axes.grid(visible=False, axis="x")
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        axes.xaxis.set_major_locator(AutoDateLocator(minticks=1, maxticks=8))
        axes.xaxis.set_major_formatter(ConciseDateFormatter(axes.xaxis.get_major_locator()))
        axes.legend(loc="upper right", ncols=2)

    perfect = card_days(day, card, split.label, split.label.astype(np.float64)).precision.mean()
    return draw(
        "cards",
        "Cards found each day",
        alt,
        f"Of each day's compromised cards, those among the {days.k} most suspicious ({name}). Found cards are left "
        f"out on later days. Card precision {days.precision.mean():.3f}; a perfect ranking would reach {perfect:.3f}.",
        paint,
    )


def _learning(history: Path, step: str) -> Plot | None:
    table = pl.read_csv(history, infer_schema_length=None, glob=False)
    named = {"train/loss": "training loss", "val/average_precision": "AP on validation"}
    columns = [name for name in named if name in table.columns and table[name].dtype.is_numeric()]
    if "epoch" not in table.columns or not columns:
        return None
    epochs = table.group_by("epoch").agg(pl.col(columns).drop_nulls().mean()).drop_nulls("epoch").sort("epoch")

    def paint(figure: Figure) -> None:
        for axes, name, colour in zip(_stacked(figure, len(columns)), columns, (FIRST, SECOND), strict=False):
            known = epochs.drop_nulls(name)
            axes.plot(known["epoch"].to_numpy() + 1, known[name].to_numpy(), color=colour, marker=".", markersize=4)
            axes.set_ylabel(named[name])
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel(step)

    return draw(
        "learning",
        "Learning curve",
        " and ".join(named[name] for name in columns) + f", by {step}",
        "Mean over each epoch." if step == "epoch" else f"Value after each {step}.",
        paint,
    )


def _stacked(figure: Figure, rows: int) -> list[Axes]:
    return list(figure.subplots(rows, 1, sharex=True, squeeze=False)[:, 0])
