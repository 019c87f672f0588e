"""``hydra/launcher=ray``: the jobs of a multirun as tasks of a Ray cluster, beside joblib's and submitit's launchers.

Hydra's own plugin for Ray asks for packages older than these.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, configure_log, filter_overrides, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from fraudlab.config.engine import RayConfig
from fraudlab.engines import OnRay
from fraudlab.errors import UserError

_NAME = "hydra_plugins.fraudlab"
"""By which Hydra finds the launcher: it takes those of its own namespace alone."""
sys.modules[_NAME] = sys.modules[__name__]


class RayLauncher(Launcher):
    """Runs each job as a task.

    Args:
        cpus_per_job: of one job; its libraries use as many threads.
        gpus_per_job: of one job.
        cluster: the other settings of :class:`fraudlab.config.engine.RayConfig`.
    """

    __module__ = _NAME

    def __init__(self, cpus_per_job: float, gpus_per_job: float, **cluster: Any) -> None:
        self._cpus, self._gpus, self._cluster = cpus_per_job, gpus_per_job, cluster

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self._context, self._task, self._config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        try:
            from hydra_plugins.hydra_joblib_launcher._core import execute_job
        except ImportError:
            raise UserError("hydra/launcher=ray needs more packages: pip install 'fraudlab[ray]'") from None
        setup_globals()
        configure_log(self._config.hydra.hydra_logging, self._config.hydra.verbose)
        Path(str(self._config.hydra.sweep.dir)).mkdir(parents=True, exist_ok=True)
        context, config, task, state = self._context, self._config, self._task, Singleton.get_state()
        here = Path.cwd()

        def job(numbered: tuple[int, Sequence[str]]) -> JobReturn:
            if here.is_dir():  # workers are started in other folders, and paths may count from this one
                os.chdir(here)
            return execute_job(*numbered, context, config, task, state)

        with RayConfig(cpus_per_task=self._cpus, **self._cluster).cluster():
            # A killed job is told, not done again: it goes on from its last checkpoint where resume= is typed.
            engine = OnRay(self._cpus, self._gpus, retries=0)
            start = engine.starting(job)
            started = [(some, start((initial_job_idx + i, some))) for i, some in enumerate(job_overrides)]
            return [_ended(engine, some, each) for some, each in started]


def _ended(engine: OnRay, overrides: Sequence[str], started: Any) -> JobReturn:
    """What a job gave; one whose worker was killed has failed, and the others have not."""
    try:
        return engine.result(started)
    except UserError as error:
        said = UserError(f"the job {' '.join(filter_overrides(overrides))} failed: {error}")
        return JobReturn(overrides=overrides, status=JobStatus.FAILED, _return_value=said)
