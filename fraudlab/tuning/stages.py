"""The stages of a sweep: the search itself, the best again over seeds, and, if asked, the best on the test window."""

import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState
from scipy.stats import ttest_ind

from fraudlab.config import SweepConfig, TrainConfig
from fraudlab.config.boosting import BoostingConfig
from fraudlab.errors import UserError
from fraudlab.tuning.definition import Definition
from fraudlab.tuning.process import Ended
from fraudlab.tuning.progress import Progress
from fraudlab.tuning.samplers import make_pruner, make_sampler
from fraudlab.tuning.search import Stop, work_off
from fraudlab.tuning.space import Value
from fraudlab.tuning.worklist import WorkList, is_first_start, open_study

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Candidate:
    """A trial run again over seeds.

    Attributes:
        trial: its number in the search.
        drawn: its point of the space.
        values: of each seed and each figure, [seeds, figures].
    """

    trial: int
    drawn: Mapping[str, Value]
    values: np.ndarray

    def mean(self, figure: int = 0) -> float:
        return float(self.values[:, figure].mean())

    def std(self, figure: int = 0) -> float | None:
        """Over the seeds (n - 1); None for a single one."""
        return float(self.values[:, figure].std(ddof=1)) if len(self.values) > 1 else None

    def above(self, other: "Candidate") -> tuple[float, float, float]:
        """How far the first figure's mean is above another's, and the 95 % interval (Welch 1947), for several seeds."""
        interval = ttest_ind(self.values[:, 0], other.values[:, 0], equal_var=False).confidence_interval(0.95)
        return self.mean() - other.mean(), float(interval.low), float(interval.high)


class Sweep:
    """A sweep in this process, which may be one of many.

    Args:
        definition: what is searched.
        config: of the command.
        base: the settings that the fixed ones make.
        storage: where the studies lie.
        config_dir: ``--config-dir`` of the command, which trials get too.
    """

    def __init__(
        self,
        definition: Definition,
        config: SweepConfig,
        base: TrainConfig,
        storage: optuna.storages.BaseStorage,
        config_dir: str | None,
    ) -> None:
        self.definition = definition
        self.folder = Path(config.paths.output_dir)
        self._config = config
        self._storage = storage
        self._config_dir = [f"--config-dir={config_dir}"] if config_dir else []
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self._jobs = definition.jobs or cores
        self._threads = max(1, cores // self._jobs)
        self._most_steps = most_steps(base)
        self._metrics = [metric.name for metric in definition.metrics]
        self.study = self._open(definition.name, search=True)
        self._work = self._list(self.study, search=True)

    def search(self, stop: Stop) -> list[FrozenTrial]:
        """Run the search to its end; gives all trials that count, those of other processes too."""
        for number, point in enumerate(self.definition.start):
            self._work.put(f"start {number}", point, {"start": number})
        progress = Progress(self._work, self.definition.trials, self.definition.metrics, "trial")

        def overrides(trial: FrozenTrial, drawn: Mapping[str, Value]) -> list[str]:
            return self._overrides(drawn, "test=false")

        prunes = self.definition.pruner["name"] != "none"
        self._work_off(self._work, "trials", overrides, self._metrics, prunes, stop, progress)
        return self._work.trials()

    def finalists(self) -> list[FrozenTrial]:
        """The best trials, and the first point that the search started from; the best one alone where none are wanted.

        Raises:
            UserError: no trial finished.
        """
        finished = self._work.trials(TrialState.COMPLETE)
        if not finished:
            raise UserError("no trial finished, so there is no best one; their reasons stand above")
        front = finished
        if len(self.definition.metrics) > 1:
            numbers = {trial.number for trial in self.study.best_trials}
            front = [trial for trial in finished if trial.number in numbers]
        sign = -1 if self.definition.metrics[0].direction == "maximize" else 1
        best = sorted(front, key=lambda trial: (sign * trial.values[0], trial.number))
        if not self.definition.finalists:
            return best[:1]
        best = best[: self.definition.finalists]
        return best + [trial for trial in finished if is_first_start(trial) and trial not in best]

    def once(self, trial: FrozenTrial) -> Candidate:
        """A trial as the search ran it."""
        return Candidate(trial.number, self._point(trial), np.array([trial.values]))

    def repeat(
        self,
        stage: str,
        trials: Sequence[FrozenTrial],
        metrics: Sequence[str],
        stop: Stop,
        *extra: str,
    ) -> list[Candidate]:
        """Run trials again, each over the seeds.

        Args:
            stage: names the study and the folder.
            trials: of the search.
            metrics: figures of ``metrics.json``.
            stop: ends everything when set.
            extra: further settings.
        """
        study = self._open(f"{self.definition.name} {stage}", search=False, directions=["maximize"] * len(metrics))
        work = self._list(study, search=False)
        points = {trial.number: self._point(trial) for trial in trials}
        for trial in trials:
            for seed in self.definition.seeds:
                facts = {"finalist": trial.number, "seed": seed}
                before = [known for known in work.trials() if facts.items() <= known.user_attrs.items()]
                if all(known.state == TrialState.FAIL for known in before):  # none yet, or started again since
                    tries = f" try {len(before) + 1}" if before else ""
                    work.put(f"trial {trial.number} seed {seed}{tries}", {}, facts)

        def overrides(trial: FrozenTrial, _: Mapping[str, Value]) -> list[str]:
            number, seed = trial.user_attrs["finalist"], trial.user_attrs["seed"]
            drawn = points[number] if number in points else self._point(self._search_trial(number))
            return self._overrides(drawn, *extra, f"seed={seed}")

        progress = Progress(
            work, len(work.trials()), self.definition.metrics, {"finalists": "finalist"}.get(stage, stage)
        )
        self._work_off(work, stage, overrides, metrics, False, stop, progress)
        values = {
            (trial.user_attrs["finalist"], trial.user_attrs["seed"]): trial.values
            for trial in work.trials(TrialState.COMPLETE)
        }
        whole = [number for number in points if all((number, seed) in values for seed in self.definition.seeds)]
        for number in points.keys() - whole:
            log.warning("trial %d is left out of %s: it did not run to its end with every seed", number, stage)
        return [
            Candidate(number, points[number], np.array([values[number, seed] for seed in self.definition.seeds]))
            for number in whole
        ]

    def best(self, candidates: Sequence[Candidate]) -> Candidate:
        """By the mean of the first figure over the seeds.

        Raises:
            UserError: none of them ran over every seed.
        """
        if not candidates:
            raise UserError("no finalist ran to its end with every seed; see output.txt in the folders of finalists/")
        pick = max if self.definition.metrics[0].direction == "maximize" else min
        return pick(candidates, key=Candidate.mean)

    def run_of(self, stage: str, number: int) -> Path:
        """Run folder of a trial, if it ran here."""
        return self.folder / stage / str(number)

    def _point(self, trial: FrozenTrial) -> dict[str, Value]:
        """In the order of the space."""
        return {key: trial.params[key] for key in self.definition.space.keys if key in trial.params}

    def _search_trial(self, number: int) -> FrozenTrial:
        return next(trial for trial in self._work.trials() if trial.number == number)

    def _overrides(self, drawn: Mapping[str, Value], *extra: str) -> list[str]:
        quiet = ["report=false", "trainer.enable_progress_bar=false"]
        where = f"paths.data_dir={self._config.paths.data_dir}"
        return [*self._config_dir, *quiet, *self.definition.overrides(drawn), where, *extra]

    def _open(self, name: str, *, search: bool, directions: Sequence[str] | None = None) -> optuna.Study:
        return open_study(
            self._storage,
            name,
            directions or [metric.direction for metric in self.definition.metrics],
            json.dumps(self.definition.identity(), sort_keys=True),
            make_sampler(self.definition.sampler, self._config.seed) if search else None,
            make_pruner(self.definition.pruner, self._most_steps) if search else None,
        )

    def _list(self, study: optuna.Study, *, search: bool) -> WorkList:
        space = self.definition.space if search else None
        return WorkList(study, space, self.definition.trials, self._config.retries, self._config.grace)

    def _work_off(
        self,
        work: WorkList,
        stage: str,
        overrides: Any,
        metrics: Sequence[str],
        prunes: bool,
        stop: Stop,
        progress: Progress,
    ) -> None:
        def on_end(trial: FrozenTrial, ended: Ended) -> None:
            progress.ended(trial.number, ended)

        work_off(
            work,
            self.folder / stage,
            overrides,
            metrics,
            jobs=self._jobs,
            threads=self._threads,
            prunes=prunes,
            grace=self._config.grace,
            stop=stop,
            on_end=on_end,
        )


def most_steps(base: TrainConfig) -> int:
    """Epochs of a network, rounds of boosting, of a trial that runs to its end."""
    if isinstance(base.model, BoostingConfig):
        return base.model.n_estimators
    return int(base.trainer["max_epochs"])
