"""The stages of a sweep: the search itself, the best again over seeds, and, if asked, the best on the test window."""

import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState
from scipy.stats import ttest_ind

from fraudlab.config import SweepConfig, TrainConfig
from fraudlab.config.commands import PathsConfig
from fraudlab.config.overrides import Value, literal, to_type
from fraudlab.errors import UserError
from fraudlab.features.threads import cores
from fraudlab.files import write_text
from fraudlab.models.registry import MODELS
from fraudlab.tuning.composition import experiment
from fraudlab.tuning.definition import Definition
from fraudlab.tuning.progress import SearchProgress
from fraudlab.tuning.samplers import make_pruner, make_sampler
from fraudlab.tuning.search import Stage, run_trials
from fraudlab.tuning.stop import Stop
from fraudlab.tuning.study import counted, is_first_start, open_study, queue

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Candidate:
    """A trial run again over seeds.

    Attributes:
        trial: its number in the search.
        drawn: its point of the space.
        values: of each seed and each metric, [seeds, metrics].
    """

    trial: int
    drawn: Mapping[str, Value]
    values: np.ndarray

    def mean(self, metric: int = 0) -> float:
        return float(self.values[:, metric].mean())

    def std(self, metric: int = 0) -> float | None:
        """Over the seeds (n - 1); None for a single one."""
        return float(self.values[:, metric].std(ddof=1)) if len(self.values) > 1 else None

    def interval_above(self, other: "Candidate") -> tuple[float, float]:
        """95 % interval of how far the first metric's mean is above another's (Welch 1947); several seeds that vary."""
        interval = ttest_ind(self.values[:, 0], other.values[:, 0], equal_var=False).confidence_interval(0.95)
        return float(interval.low), float(interval.high)


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
        self._base = base
        self._storage = storage
        self._config_dir = [f"--config-dir={config_dir}"] if config_dir else []
        self._jobs = definition.jobs or cores()
        share = max(1, cores() // self._jobs)
        self._threads = min(share, int(os.environ.get("OMP_NUM_THREADS") or share))
        self._most_steps = most_steps(base)
        self._metrics = [metric.name for metric in definition.metrics]
        self._identity = json.dumps(definition.identity(), sort_keys=True)
        self.study = self._open_search()

    def search(self, stop: Stop) -> list[FrozenTrial]:
        """Run the search to its end; gives all trials that count, those of other processes too."""
        for number, point in enumerate(self.definition.start):
            self.study.enqueue_trial(dict(point), user_attrs={"start": number}, skip_if_exists=True)
        stage = Stage(
            self.folder / "trials",
            lambda _, drawn: self._overrides(drawn, "test=false"),
            self._metrics,
            self.definition.space,
            self.definition.trials,
            self.definition.pruner["name"] != "none",
            self._threads,
            self._config.retries,
            self._config.grace,
        )
        progress = SearchProgress(self.study, self.definition.trials, self.definition.metrics, "trial")
        run_trials(stage, self._open_search, jobs=self._jobs, stop=stop, on_end=progress.ended)
        return counted(self.study)

    def finalists(self) -> list[FrozenTrial]:
        """The best trials, and the first point that the search started from; the best one alone where none are wanted.

        Raises:
            UserError: no trial finished.
        """
        finished = counted(self.study, TrialState.COMPLETE)
        if not finished:
            raise UserError("no trial finished, so there is no best one; see the reasons above")
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
            metrics: metrics of ``metrics.json``.
            stop: ends everything when set.
            extra: further settings.
        """
        name, directions = f"{self.definition.name} {stage}", ["maximize"] * len(metrics)

        def open_() -> optuna.Study:
            return open_study(self._storage, name, directions, self._identity)

        study = open_()
        points = {trial.number: self._point(trial) for trial in trials}
        for trial in trials:
            for seed in self.definition.seeds:
                queue(study, {"finalist": trial.number, "seed": seed})

        def overrides(trial: FrozenTrial, _: Mapping[str, Value]) -> list[str]:
            number, seed = trial.user_attrs["finalist"], trial.user_attrs["seed"]
            drawn = points[number] if number in points else self._point(self._search_trial(number))
            return self._overrides(drawn, *extra, f"seed={seed}")

        what = {"finalists": "finalist"}.get(stage, stage)
        progress = SearchProgress(study, len(counted(study)), self.definition.metrics, what)
        run_trials(
            Stage(
                self.folder / stage,
                overrides,
                metrics,
                None,
                0,
                False,
                self._threads,
                self._config.retries,
                self._config.grace,
            ),
            open_,
            jobs=self._jobs,
            stop=stop,
            on_end=progress.ended,
        )
        values = {
            (trial.user_attrs["finalist"], trial.user_attrs["seed"]): trial.values
            for trial in counted(study, TrialState.COMPLETE)
        }
        whole = [number for number in points if all((number, seed) in values for seed in self.definition.seeds)]
        for number in points.keys() - whole:
            log.warning("trial %d is left out of %s: it did not finish with every seed", number, stage)
        return [
            Candidate(number, points[number], np.array([values[number, seed] for seed in self.definition.seeds]))
            for number in whole
        ]

    def best(self, candidates: Sequence[Candidate]) -> Candidate:
        """By the mean of the first metric over the seeds.

        Raises:
            UserError: none of them ran over every seed.
        """
        if not candidates:
            raise UserError("no finalist finished with every seed; see output.txt in the folders of finalists/")
        pick = max if self.definition.metrics[0].direction == "maximize" else min
        return pick(candidates, key=Candidate.mean)

    def _point(self, trial: FrozenTrial) -> dict[str, Value]:
        """In the order of the space."""
        return {key: trial.params[key] for key in self.definition.space.keys if key in trial.params}

    def _search_trial(self, number: int) -> FrozenTrial:
        return next(trial for trial in counted(self.study) if trial.number == number)

    def _overrides(self, drawn: Mapping[str, Value], *extra: str) -> list[str]:
        quiet = ["report=false", "trainer.enable_progress_bar=false"]
        return [*self._config_dir, *quiet, f"threads={self._threads}", *self.definition.overrides(drawn), *extra]

    def best_overrides(self, best: Candidate) -> list[str]:
        """The settings that train the best candidate again, to the same draw as its first seed or its trial had."""
        seed = [f"seed={self.definition.seeds[0]}"] if self.definition.finalists else []
        return [f"threads={self._threads}", *self.definition.overrides(best.drawn), *seed]

    def candidates(self, stop: Stop) -> list[Candidate]:
        """The finalists over the seeds, or what the search itself measured of them where there are none."""
        chosen = self.finalists()
        if not self.definition.finalists:
            return [self.once(trial) for trial in chosen]
        return self.repeat("finalists", chosen, [metric.name for metric in self.definition.metrics], stop, "test=false")

    def test(self, trials: Sequence[FrozenTrial], best: Candidate, stop: Stop) -> list[Candidate]:
        """The best of ``trials`` and the search's first start on the test window, over the seeds."""
        asked = [trial for trial in trials if trial.number == best.trial]
        finished = [trial for trial in trials if trial.state == TrialState.COMPLETE]
        asked += [trial for trial in finished if is_first_start(trial) and trial not in asked]
        return self.repeat("test", asked, ["test.average_precision"], stop, "test=true")

    def write_best(self, folder: Path, best: Candidate, trials: int) -> str:
        """Write the best candidate's settings as an experiment below ``folder``; gives the command that trains it."""
        name = f"{self.definition.name}_best"
        tried = f"trial {best.trial} of {trials} of the sweep {self.definition.name}, chosen on validation"
        # In a folder of its own: Hydra takes every folder beside experiment/ for a config group.
        write_text(folder / "best" / "experiment" / f"{name}.yaml", experiment(self.best_overrides(best), tried))
        data_dir = self._base.paths.data_dir
        where = [] if data_dir == PathsConfig.data_dir else [literal("paths.data_dir", data_dir)]
        return to_type("train", "--config-dir", str(folder / "best"), literal("experiment", name), *where)

    def _open_search(self) -> optuna.Study:
        return open_study(
            self._storage,
            self.definition.name,
            [metric.direction for metric in self.definition.metrics],
            self._identity,
            make_sampler(self.definition.sampler, self._config.seed),
            make_pruner(self.definition.pruner, self._most_steps),
        )


def most_steps(base: TrainConfig) -> int:
    """Epochs of a network, rounds of boosting, of a trial that runs to its end."""
    part = MODELS[base.model.name]
    return int(getattr(base.model, part.rounds) if part.rounds else base.trainer["max_epochs"])
