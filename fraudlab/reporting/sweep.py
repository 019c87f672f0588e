"""A sweep as plain text and as one self-contained HTML page."""

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import optuna
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike
from optuna.trial import FrozenTrial, TrialState

from fraudlab.config.overrides import override, text
from fraudlab.files import write_text
from fraudlab.reporting.comparison import aligned
from fraudlab.reporting.svg import FIRST, MUTED, SECOND, STYLE, Plot, draw
from fraudlab.reporting.template import environment
from fraudlab.tuning.definition import Definition
from fraudlab.tuning.space import Setting
from fraudlab.tuning.stages import Candidate
from fraudlab.tuning.study import state_of

_SHOWN = 10  # trials of the printed table


def trials_table(trials: Sequence[FrozenTrial], definition: Definition, *, simulated: bool) -> str:
    """How many trials ended how, the best of them, and why others failed."""
    states = Counter(map(state_of, trials))
    ordered = ranked(trials, definition)
    metrics = [metric.name for metric in definition.metrics]
    rows = [["trial", *metrics, "seconds", "settings"]]
    for trial in ordered[:_SHOWN]:
        rows.append(
            [str(trial.number), *(f"{value:.4f}" for value in trial.values), f"{_seconds(trial):.0f}", settings(trial)]
        )
    _left(rows)
    counts = ", ".join(f"{number} {state}" for state, number in states.items())
    caption = f"{len(trials)} trials: {counts}" + ("; simulated data" if simulated else "")
    lines = [caption, "", *(aligned(rows) if ordered else [])]
    for trial in trials:
        if trial.state == TrialState.FAIL:
            lines.append(f"trial {trial.number} failed: {trial.user_attrs.get('reason', 'its process died')}")
    return "\n".join(lines)


def candidates_table(
    candidates: Sequence[Candidate], definition: Definition, best: Candidate, *, simulated: bool, tested: bool = False
) -> str:
    """The candidates as mean ± deviation over the seeds, the best marked.

    Args:
        candidates: in the order of the table.
        definition: of the search.
        best: chosen on validation.
        simulated: whether the data are.
        tested: the values are average precision on the test window instead of the search's metrics.
    """
    names = ["test.average_precision"] if tested else [metric.name for metric in definition.metrics]
    rows = [["", *names, "settings"]]
    for candidate in candidates:
        metrics = [mean_and_std(candidate, figure) for figure in range(len(names))]
        rows.append([candidate_name(candidate, best, definition), *metrics, settings_of(candidate.drawn)])
    _left(rows)
    where = "the test window; the best was chosen on validation" if tested else "validation"
    seeds = f"over seeds {', '.join(map(str, definition.seeds))}" if tested or definition.finalists else "of one run"
    caption = f"Mean ± deviation {seeds} on {where}" + ("; simulated data" if simulated else "")
    lines = [caption, "", *aligned(rows)]
    if said := against_start(candidates, best, definition, tested=tested):
        lines += ["", said]
    return "\n".join(lines)


def against_start(
    candidates: Sequence[Candidate], best: Candidate, definition: Definition, *, tested: bool = False
) -> str | None:
    """What the best has over the point that the search started from, and whether seeds alone could give as much.

    ``tested``: the values are of the test window, which had no part in choosing the best.

    None where the start is the best itself or did not run, or where there is one seed.
    """
    found = {candidate.trial: candidate for candidate in candidates}
    start = next((c for c in candidates if is_start(c, definition) and c.trial != best.trial), None)
    if start is None or best.trial not in found or len(start.values) < 2:
        return None
    best_again = found[best.trial]
    difference = best_again.mean() - start.mean()
    said = f"The best against the search's start: {difference:+.4f}"
    if not best_again.std() and not start.std():
        return f"{said}. Every seed gives the same value, so there is no interval."
    low, high = best_again.interval_above(start)
    said = f"{said}, 95 % interval {low:+.4f} to {high:+.4f} (Welch)"
    said += "; it contains 0: these seeds show no difference." if low <= 0 <= high else "."
    if not tested:
        said += f" The best of {len(candidates)} was chosen on these seeds, so the difference is too favourable to it."
    return said


def write_sweep_page(
    path: Path,
    study: optuna.Study,
    trials: Sequence[FrozenTrial],
    candidates: Sequence[Candidate],
    best: Candidate,
    definition: Definition,
    *,
    simulated: bool,
) -> None:
    """Write the page to ``path``; it loads nothing from elsewhere."""
    pages = environment()
    pages.globals |= {"mean_and_std": mean_and_std, "candidate_name": candidate_name, "state_of": state_of}
    pages.globals |= {"seconds": _seconds, "text": text}
    with mpl.rc_context(STYLE):
        plots = _plots(study, trials, definition)
    page = pages.get_template("sweep.html.jinja").render(
        definition=definition,
        trials=[*ranked(trials, definition), *(trial for trial in trials if trial.state != TrialState.COMPLETE)],
        states=Counter(map(state_of, trials)),
        candidates=candidates,
        best=best,
        against_start=against_start(candidates, best, definition),
        seconds_in_all=sum(map(_seconds, trials)),
        simulated=simulated,
        plots=plots,
    )
    write_text(path, page)


def ranked(trials: Sequence[FrozenTrial], definition: Definition) -> list[FrozenTrial]:
    """The finished trials, by their first figure, best first."""
    sign = -1 if definition.metrics[0].direction == "maximize" else 1
    finished = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    return sorted(finished, key=lambda trial: (sign * trial.values[0], trial.number))


def mean_and_std(candidate: Candidate, figure: int = 0) -> str:
    """``0.6850 ± 0.0040``, without the deviation where there is one seed."""
    std = candidate.std(figure)
    return f"{candidate.mean(figure):.4f}" + ("" if std is None else f" ± {std:.4f}")


def candidate_name(candidate: Candidate, best: Candidate, definition: Definition) -> str:
    """Its trial, and whether it is the best one, or where the search started from."""
    marks = ["best"] if candidate.trial == best.trial else []
    if is_start(candidate, definition):
        marks.append("the search's start")
    return f"trial {candidate.trial}" + (f" ({', '.join(marks)})" if marks else "")


def is_start(candidate: Candidate, definition: Definition) -> bool:
    """Whether it is the first point that the search started from."""
    return bool(definition.start) and dict(definition.start[0]) == dict(candidate.drawn)


def _left(rows: Sequence[list[str]]) -> None:
    """Pad the last cells, so that they stand at the left of their column."""
    width = max(len(row[-1]) for row in rows)
    for row in rows:
        row[-1] = row[-1].ljust(width)


def settings(trial: FrozenTrial) -> str:
    """What a trial drew, rounded to read."""
    return settings_of(trial.params)


def settings_of(drawn: Mapping[str, Any]) -> str:
    """A point, rounded to read."""
    rounded = {key: float(f"{value:.3g}") if isinstance(value, float) else value for key, value in drawn.items()}
    return " ".join(override(*item) for item in rounded.items())


def _seconds(trial: FrozenTrial) -> float:
    return trial.duration.total_seconds() if trial.duration is not None else 0.0


# ------------------------------------------------------------------------------------------------- what is drawn


def _plots(study: optuna.Study, trials: Sequence[FrozenTrial], definition: Definition) -> list[Plot]:
    finished = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    plots = [_history(trials, definition)]
    importances = _importances(study, finished, definition)
    if importances:
        plots.append(importances)
    if finished:
        plots.append(_parallel(finished, definition))
    if curves := [trial for trial in trials if len(trial.intermediate_values) > 1]:
        plots.append(_curves(curves, definition))
    if len(definition.metrics) > 1:
        plots.append(_front(study, finished, definition))
    return plots


def _history(trials: Sequence[FrozenTrial], definition: Definition) -> Plot:
    metric = definition.metrics[0]

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        pick = np.maximum if metric.direction == "maximize" else np.minimum
        finished = [trial for trial in trials if trial.state == TrialState.COMPLETE]
        numbers, values = [t.number for t in finished], [t.values[0] for t in finished]
        pruned = [trial for trial in trials if trial.state == TrialState.PRUNED and trial.values]
        low, high = (min(values), max(values)) if values else (-np.inf, np.inf)
        room = 0.15 * (high - low) or 0.01
        if pruned:
            lasts = np.clip([t.values[0] for t in pruned], low - 0.9 * room, high + 0.9 * room)
            axes.plot([t.number for t in pruned], lasts, "x", color=MUTED, label="pruned", ms=4)
        axes.plot(numbers, values, "o", color=FIRST, label="finished", ms=4)
        best: ArrayLike = pick.accumulate(values) if values else []
        axes.step(numbers, best, where="post", color=SECOND, label="best so far")
        axes.set(xlabel="trial", ylabel=metric.name)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if values:
            axes.set_ylim(low - room, high + room)
        figure.subplots_adjust(top=0.9)
        axes.legend(loc="lower right", bbox_to_anchor=(1.02, 0.98), ncols=3)

    caption = "Pruned trials are shown with their last value, at the edge if it is outside the plot."
    return draw("history", "History", f"{metric.name} by trial", caption, paint)


def _importances(study: optuna.Study, finished: Sequence[FrozenTrial], definition: Definition) -> Plot | None:
    sign = -1 if definition.metrics[0].direction == "maximize" else 1  # the evaluator takes low for good, and says so
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = optuna.importance.get_param_importances(study, target=lambda trial: sign * trial.values[0])
    except (ValueError, RuntimeError):  # too few trials
        return None
    if len(finished) < 4 or not found:
        return None

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        figure.subplots_adjust(left=0.42)
        names = list(found)[::-1]
        axes.barh(names, [found[name] for name in names], color=FIRST, height=0.6)
        axes.set_xlabel("importance")

    return draw(
        "importances",
        "Importance of settings",
        "Share of each setting in the quality of trials",
        f"For {definition.metrics[0].name}, by PED-ANOVA (Watanabe et al. 2023) over {len(finished)} finished trials: "
        "which settings separate the better trials from the others. With few trials it is only a hint.",
        paint,
    )


def _parallel(finished: Sequence[FrozenTrial], definition: Definition) -> Plot:
    used = [setting for setting in definition.space if any(setting.key in trial.params for trial in finished)]
    values = np.array([trial.values[0] for trial in finished])
    order = np.argsort(values if definition.metrics[0].direction == "maximize" else -values)
    best = set(order[-max(1, len(order) // 5) :].tolist())

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        figure.subplots_adjust(bottom=0.24, left=0.08, right=0.96)
        for index in order:  # the best last, on top
            heights = [_height(setting, finished[index].params.get(setting.key)) for setting in used]
            heights.append(_share(values, index))
            colour = SECOND if index in best else MUTED
            axes.plot(heights, color=colour, linewidth=1.2, alpha=0.9 if index in best else 0.4)
        _label(axes, [*(setting.key for setting in used), definition.metrics[0].name], used, values)

    return draw(
        "parallel",
        "Parallel coordinates",
        "Every finished trial as a line through its settings and its figure",
        "One line per trial, through the position of each setting between its bounds; the best fifth is highlighted.",
        paint,
        wide=True,
    )


def _height(setting: Setting, value: Any) -> float:
    """Where a value lies between its bounds, 0 to 1; NaN, a gap, where the setting was not drawn."""
    if value is None and None not in setting.choices:
        return np.nan
    if setting.kind == "choice":
        return setting.choices.index(value) / max(1, len(setting.choices) - 1)
    low, high = setting.corners()
    scale = np.log if setting.log else float
    span = scale(high) - scale(low)  # type: ignore[arg-type]
    return float((scale(value) - scale(low)) / span) if span else 0.5  # type: ignore[arg-type]


def _share(values: np.ndarray, index: int) -> float:
    span = float(np.ptp(values))
    return float(values[index] - values.min()) / span if span else 0.5


def _label(axes: Axes, names: Sequence[str], used: Sequence[Setting], values: np.ndarray) -> None:
    ends = [(setting.corners()[0], setting.corners()[-1]) for setting in used] + [(values.min(), values.max())]
    for column, (low, high) in enumerate(ends):
        axes.vlines(column, 0, 1, color=MUTED, linewidth=0.6)
        for height, end, side in ((-0.03, low, "top"), (1.03, high, "bottom")):
            shown = f"{end:.3g}" if isinstance(end, float) else text(end)
            axes.text(column, height, shown, ha="center", va=side, fontsize=8)
    axes.set_xticks(range(len(names)), names, rotation=15, ha="right")
    axes.tick_params(axis="x", length=0)
    axes.set_yticks([])
    axes.set_ylim(-0.12, 1.12)
    axes.spines[:].set_visible(False)
    axes.grid(visible=False)


def _curves(trials: Sequence[FrozenTrial], definition: Definition) -> Plot:
    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        for trial in trials:
            steps = sorted(trial.intermediate_values)
            pruned = trial.state == TrialState.PRUNED
            axes.plot(
                steps,
                [trial.intermediate_values[step] for step in steps],
                color=MUTED if pruned else FIRST,
                linewidth=0.8,
                alpha=0.6,
            )
        axes.set(xlabel="epoch or round", ylabel=definition.metrics[0].name)

    return draw("curves", "Curves", "Validation curve of every trial", "Grey: pruned.", paint)


def _front(study: optuna.Study, finished: Sequence[FrozenTrial], definition: Definition) -> Plot:
    first, second = definition.metrics[:2]
    on_front = {trial.number for trial in study.best_trials}

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        for chosen, colour, name in ((False, MUTED, "others"), (True, SECOND, "not dominated")):
            some = [trial for trial in finished if (trial.number in on_front) == chosen]
            axes.plot([t.values[1] for t in some], [t.values[0] for t in some], "o", color=colour, label=name, ms=4)
        axes.set(xlabel=second.name, ylabel=first.name)
        axes.legend(loc="lower left")

    return draw("front", "Trade-off", f"{first.name} against {second.name}", "One dot per finished trial.", paint)
