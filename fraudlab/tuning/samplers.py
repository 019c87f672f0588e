"""Samplers and pruners by the names that ``sweeps/*.yaml`` use."""

import inspect
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from fraudlab.errors import UserError

_SAMPLERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "tpe": (optuna.samplers.TPESampler, {"multivariate": True, "group": True, "constant_liar": True}),
    "gp": (optuna.samplers.GPSampler, {}),
    "cmaes": (optuna.samplers.CmaEsSampler, {"warn_independent_sampling": False}),
    "random": (optuna.samplers.RandomSampler, {}),
    "qmc": (optuna.samplers.QMCSampler, {"scramble": True, "warn_independent_sampling": False}),
}


def make_sampler(settings: Mapping[str, Any], seed: int) -> BaseSampler:
    """The sampler that a search names.

    Raises:
        UserError: it has no such option.
    """
    settings = dict(settings)
    name = settings.pop("name")
    kind, defaults = _SAMPLERS[name]
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    _check_options("sampler", name, kind, settings)
    options: dict[str, Any] = {**defaults, **settings}

    def make(of_trial: int) -> BaseSampler:
        if name == "qmc":  # one sequence for all processes, who take its points in turn
            return kind(**options, seed=seed, independent_sampler=optuna.samplers.RandomSampler(of_trial))
        return kind(**options, seed=of_trial)

    return SeededByTrial(make, seed)


def make_pruner(settings: Mapping[str, Any], most_steps: int) -> optuna.pruners.BasePruner:
    """The pruner that a search names.

    Args:
        settings: its name and options.
        most_steps: epochs or rounds of a trial that runs to its end.

    Raises:
        UserError: it has no such option.
    """
    settings = dict(settings)
    name = settings.pop("name")
    if name == "none":
        return optuna.pruners.NopPruner()
    kind: Any = optuna.pruners.HyperbandPruner if name == "hyperband" else optuna.pruners.MedianPruner
    _check_options("pruner", name, kind, settings)
    if name == "hyperband":
        # Three brackets, of which the most eager stops trials after a ninth of their steps.
        settings = {"max_resource": most_steps, "min_resource": max(1, most_steps // 9), **settings}
    else:
        settings = {"n_startup_trials": 5, "n_warmup_steps": most_steps // 4, **settings}
    return kind(**settings)


def _check_options(what: str, name: str, kind: type, settings: Mapping[str, Any]) -> None:
    ours = ("seed", "constraints_func", "gamma", "weights")
    known = [key for key in inspect.signature(kind).parameters if key not in ours]
    for key in settings:
        if key not in known:
            raise UserError(f"{what}={name} has no option {key}; it has: {', '.join(known)}")


class SeededByTrial(BaseSampler):
    """A sampler drawn anew for each trial, from the seed and the trial's number.

    A search that is started again, or that many processes share, would otherwise draw its first points again.
    """

    def __init__(self, make: Any, seed: int) -> None:
        self._make = make
        self._seed = seed
        self._now: BaseSampler = make(seed)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        number = np.random.SeedSequence([self._seed, trial.number]).generate_state(1)[0]
        self._now = self._make(int(number))
        self._now.before_trial(study, trial)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._now.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._now.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._now.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Any) -> None:
        self._now.after_trial(study, trial, state, values)
