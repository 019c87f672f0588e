"""``hydra/launcher=ray``: the jobs of a multirun as tasks of a Ray cluster, beside joblib's and submitit's launchers.

Hydra's own plugin for Ray asks for packages older than these.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, configure_log, filter_overrides, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from fraudlab.config.checks import at_least, number
from fraudlab.config.engine import check_cluster
from fraudlab.errors import UserError

if TYPE_CHECKING:
    from fraudlab.engines.on_ray import OnRay

_GROUP = "hydra.launcher"
_NAME = "hydra_plugins.fraudlab"
"""By which Hydra finds the launcher: it takes those of its own namespace alone."""
sys.modules[_NAME] = sys.modules[__name__]


class RayLauncher(Launcher):
    """Runs each job as a task.

    Args:
        cpus_per_job: of one job; its libraries use as many threads.
        gpus_per_job: of one job.
        address: as those of :class:`fraudlab.config.engine.RayConfig`, and so the next two.
        cpus: of a cluster that is started here.
        object_store_mb: likewise.
    """

    __module__ = _NAME

    def __init__(
        self,
        cpus_per_job: float,
        gpus_per_job: float,
        address: str | None = None,
        cpus: int | None = None,
        object_store_mb: int | None = None,
    ) -> None:
        self._cpus, self._gpus = cpus_per_job, gpus_per_job
        self._address, self._of_cluster, self._store = address, cpus, object_store_mb

    def check(self) -> None:
        """Refuse settings that no cluster can have; Hydra knows no types of them.

        Raises:
            UserError: a setting of the launcher, by its name.
        """
        number(f"{_GROUP}.cpus_per_job", self._cpus, float)
        number(f"{_GROUP}.gpus_per_job", self._gpus, float)
        for key, value in (("cpus", self._of_cluster), ("object_store_mb", self._store)):
            if value is not None:
                number(f"{_GROUP}.{key}", value, int)
        check_cluster(_GROUP, self._address, self._of_cluster, self._store, ("cpus_per_job", self._cpus))
        at_least(f"{_GROUP}.gpus_per_job", self._gpus, 0)
        if self._gpus > 1 and self._gpus != int(self._gpus):
            raise UserError(f"{_GROUP}.gpus_per_job={self._gpus}: above 1 it is a whole number")

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self._context, self._task, self._config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        try:
            from hydra_plugins.hydra_joblib_launcher._core import execute_job
        except ImportError:
            raise UserError("hydra/launcher=ray needs more packages: pip install 'fraudlab[ray]'") from None
        from fraudlab.engines.on_ray import OnRay, ray_cluster

        self.check()
        setup_globals()
        configure_log(self._config.hydra.hydra_logging, self._config.hydra.verbose)
        Path(str(self._config.hydra.sweep.dir)).mkdir(parents=True, exist_ok=True)
        context, config, task, state = self._context, self._config, self._task, Singleton.get_state()
        here = Path.cwd()

        def job(numbered: tuple[int, Sequence[str]]) -> JobReturn:
            if here.is_dir():  # workers are started in other folders, and paths may count from this one
                os.chdir(here)
            return execute_job(*numbered, context, config, task, state)

        with ray_cluster(self._address, self._of_cluster, self._store, self._cpus):
            # A killed job is told, not done again: it goes on from its last checkpoint where resume= is typed.
            engine = OnRay(self._cpus, self._gpus, 0, settings=(f"{_GROUP}.cpus_per_job", f"{_GROUP}.gpus_per_job"))
            start = engine.starting(job)
            started = [(some, start((initial_job_idx + i, some))) for i, some in enumerate(job_overrides)]
            return [_ended(engine, some, each) for some, each in started]


def _ended(engine: "OnRay", overrides: Sequence[str], started: Any) -> JobReturn:
    """What a job gave; one whose worker was killed has failed, and the others have not."""
    try:
        return engine.result(started)
    except UserError as error:
        said = UserError(f"the job {' '.join(filter_overrides(overrides))} failed: {error}")
        return JobReturn(overrides=overrides, status=JobStatus.FAILED, _return_value=said)
