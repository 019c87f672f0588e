"""``engine=local`` or ``ray``: where ``python -m fraudlab.prepare`` and ``predict`` compute."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial

from fraudlab.config.checks import above, at_least, one_of
from fraudlab.config.plugins import load_plugins
from fraudlab.engines import Engine, InThreads, OnRay, ray_cluster
from fraudlab.errors import UserError

_LEAST_STORE = 80  # MB; Ray takes no less


@dataclass
class RayConfig:
    """The cluster of ``engine=ray``."""

    address: str | None = None  # of a Ray cluster: auto or host:port; null: one on this machine, for this command
    cpus: int | None = None  # of a cluster that is started for this command; null: all
    cpus_per_task: float = 1.0  # by which tasks are placed; their libraries use as many threads
    object_store_mb: int | None = None  # memory that tasks exchange data through, likewise; null: Ray's own choice

    def __post_init__(self) -> None:
        above("ray.cpus_per_task", self.cpus_per_task, 0)
        if self.cpus is not None:
            at_least("ray.cpus", self.cpus, 1)
            if self.cpus_per_task > self.cpus:
                raise UserError(f"ray.cpus_per_task={self.cpus_per_task} is more than ray.cpus={self.cpus}")
        if self.object_store_mb is not None:
            at_least("ray.object_store_mb", self.object_store_mb, _LEAST_STORE)
        if self.address is not None and (self.cpus, self.object_store_mb) != (None, None):
            raise UserError(
                f"ray.cpus and ray.object_store_mb are of a cluster that this command starts; that of "
                f"ray.address={self.address} has its own: leave them out"
            )

    def cluster(self) -> AbstractContextManager[None]:
        """A connection to it; see :func:`fraudlab.engines.ray_cluster`."""
        return ray_cluster(self.address, self.cpus, self.object_store_mb)


def check_engine(engine: str) -> None:
    one_of("engine", engine, ("local", "ray"))


@contextmanager
def engine_of(engine: str, ray: RayConfig, plugins: Sequence[str]) -> Iterator[Engine]:
    """What the settings of a command name; workers import its ``plugins``, too.

    Raises:
        UserError: Ray is not installed, or no cluster answers.
    """
    if engine == "local":
        yield InThreads()
        return
    with ray.cluster():
        yield OnRay(ray.cpus_per_task, before=partial(load_plugins, tuple(plugins)))
