"""A line for each trial that ends: what it was, what it reached, how far the sweep is."""

import time
from collections.abc import Sequence

from optuna.trial import FrozenTrial, TrialState

from fraudlab.tuning.definition import Metric
from fraudlab.tuning.process import Ended
from fraudlab.tuning.space import override
from fraudlab.tuning.worklist import WorkList


class Progress:
    """Prints; of one stage.

    Args:
        work: its list.
        total: how many trials it has.
        metrics: what their values are.
        what: a trial of it is called.
    """

    def __init__(self, work: WorkList, total: int, metrics: Sequence[Metric], what: str) -> None:
        self._work = work
        self._total = total
        self._metrics = metrics
        self._what = what
        self._began = time.monotonic()
        self._ended_before = self._ended()
        if self._ended_before:
            print(f"{what}: {self._ended_before} of {total} ended before", flush=True)

    def ended(self, number: int, ended: Ended) -> None:
        """Print the line of a trial that ended here."""
        trial = next((known for known in self._work.trials() if known.number == number), None)
        cells = [f"{self._what} {number:>3}", f"{ended.how:<8}", self._value(trial)]
        if trial is not None and trial.duration is not None:
            cells.append(f"{trial.duration.total_seconds():5.0f} s")
        done = self._ended()
        cells.append(f"[{done}/{self._total}{self._left(done)}]")
        if trial is not None:
            cells.append(" ".join(override(*item) for item in _rounded(trial)))
        if ended.reason:
            cells.append(f"({ended.reason})")
        print("  ".join(cell for cell in cells if cell), flush=True)

    def _ended(self) -> int:
        return sum(trial.state.is_finished() for trial in self._work.trials())

    def _value(self, trial: FrozenTrial | None) -> str:
        if trial is None or trial.values is None:
            return " " * 6
        return " ".join(f"{value:.4g}" if value > 10 else f"{value:.4f}" for value in trial.values)

    def _left(self, done: int) -> str:
        here = done - self._ended_before
        if here < 1 or done >= self._total:
            return ""
        seconds = (time.monotonic() - self._began) / here * (self._total - done)
        return f", {seconds / 60:.0f} min left" if seconds >= 90 else f", {seconds:.0f} s left"


def _rounded(trial: FrozenTrial) -> list[tuple[str, float | int | str | bool | None]]:
    if trial.state == TrialState.WAITING:
        return []
    values = trial.params or {key: trial.user_attrs[key] for key in ("finalist", "seed") if key in trial.user_attrs}
    return [(key, float(f"{value:.3g}") if isinstance(value, float) else value) for key, value in values.items()]
