"""A line for each trial that ends: what it was, what it reached, how far the sweep is."""

import time
from collections.abc import Sequence

import optuna
from optuna.trial import FrozenTrial

from fraudlab.config.overrides import override
from fraudlab.tuning.definition import Metric
from fraudlab.tuning.process import Ended
from fraudlab.tuning.study import counted


class SearchProgress:
    """Prints; of one stage.

    Args:
        study: its study.
        total: how many trials it has.
        metrics: what their values are.
        what: a trial of it is called.
    """

    def __init__(self, study: optuna.Study, total: int, metrics: Sequence[Metric], what: str) -> None:
        self._study = study
        self._total = total
        self._metrics = metrics
        self._what = what
        self._began = time.monotonic()
        self._ended_before = self._ended()
        if self._ended_before:
            print(f"{what}: {self._ended_before} of {total} ended before", flush=True)

    def ended(self, trial: FrozenTrial, ended: Ended) -> None:
        """Print the line of a trial that ended here."""
        done = self._ended()
        cells = [f"{self._what} {trial.number:>3}", f"{ended.how:<8}", self._value(trial)]
        if trial.duration is not None:
            cells.append(f"{trial.duration.total_seconds():5.0f} s")
        cells.append(f"[{done}/{self._total}{self._left(done)}]")
        cells.append(" ".join(override(*item) for item in _rounded(trial)))
        if ended.reason:
            cells.append(f"({ended.reason})")
        print("  ".join(cell for cell in cells if cell), flush=True)

    def _ended(self) -> int:
        return sum(trial.state.is_finished() for trial in counted(self._study))

    def _value(self, trial: FrozenTrial) -> str:
        if trial.values is None:
            return " " * 6
        return " ".join(f"{value:.4g}" if value > 10 else f"{value:.4f}" for value in trial.values)

    def _left(self, done: int) -> str:
        here = done - self._ended_before
        if here < 1 or done >= self._total:
            return ""
        seconds = (time.monotonic() - self._began) / here * (self._total - done)
        return f", {seconds / 60:.0f} min left" if seconds >= 90 else f", {seconds:.0f} s left"


def _rounded(trial: FrozenTrial) -> list[tuple[str, float | int | str | bool | None]]:
    values = trial.params or {key: trial.user_attrs[key] for key in ("finalist", "seed") if key in trial.user_attrs}
    return [(key, float(f"{value:.3g}") if isinstance(value, float) else value) for key, value in values.items()]
