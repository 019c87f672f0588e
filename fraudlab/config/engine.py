"""``engine=local`` or ``ray``: where ``python -m fraudlab.prepare`` and ``predict`` compute."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, fields
from functools import partial
from typing import TYPE_CHECKING

from fraudlab.config.checks import above, at_least, one_of
from fraudlab.config.plugins import load_plugins
from fraudlab.errors import UserError

if TYPE_CHECKING:
    from fraudlab.engines import Engine

log = logging.getLogger(__name__)

_LEAST_STORE = 80  # MB; Ray takes no less


@dataclass
class RayConfig:
    """The cluster of ``engine=ray``."""

    address: str | None = None  # of a Ray cluster: auto or host:port; null: one on this machine, for this command
    cpus: int | None = None  # of a cluster that is started for this command; null: all
    cpus_per_task: float = 1.0  # by which tasks are placed; their libraries use as many threads
    object_store_mb: int | None = None  # memory that tasks exchange data through, likewise; null: Ray's own choice

    def __post_init__(self) -> None:
        check_cluster("ray", self.address, self.cpus, self.object_store_mb, ("cpus_per_task", self.cpus_per_task))

    def cluster(self) -> AbstractContextManager[None]:
        """A connection to it; see :func:`fraudlab.engines.on_ray.ray_cluster`."""
        from fraudlab.engines.on_ray import ray_cluster

        return ray_cluster(self.address, self.cpus, self.object_store_mb, self.cpus_per_task)


def check_cluster(
    group: str, address: str | None, cpus: int | None, object_store_mb: int | None, per_task: tuple[str, float]
) -> None:
    """Refuse what no cluster can have; ``per_task`` is the key and the value of a task's CPUs.

    Raises:
        UserError: a setting of ``group``, by its name.
    """
    task, cpus_per_task = per_task
    above(f"{group}.{task}", cpus_per_task, 0)
    if cpus is not None:
        at_least(f"{group}.cpus", cpus, 1)
        if cpus_per_task > cpus:
            raise UserError(f"{group}.{task}={cpus_per_task} is more than {group}.cpus={cpus}")
    if object_store_mb is not None:
        at_least(f"{group}.object_store_mb", object_store_mb, _LEAST_STORE)
    if address is not None and (cpus, object_store_mb) != (None, None):
        raise UserError(
            f"{group}.cpus and {group}.object_store_mb are of a cluster that this command starts; that of "
            f"{group}.address={address} has its own: leave them out"
        )


def check_engine(engine: str) -> None:
    one_of("engine", engine, ("local", "ray"))


@contextmanager
def engine_of(engine: str, ray: RayConfig, plugins: Sequence[str]) -> Iterator["Engine"]:
    """What the settings of a command name; workers import its ``plugins``, too.

    Raises:
        UserError: Ray is not installed, or no cluster answers.
    """
    from fraudlab.engines import InThreads
    from fraudlab.engines.on_ray import OnRay

    if engine == "local":
        if given := [each.name for each in fields(ray) if getattr(ray, each.name) != each.default]:
            log.warning("not used without engine=ray: %s", ", ".join(f"ray.{name}" for name in given))
        yield InThreads()
        return
    with ray.cluster():
        yield OnRay(ray.cpus_per_task, before=partial(load_plugins, tuple(plugins)))
