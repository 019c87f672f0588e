"""Tasks of a Ray cluster, and the connection to one."""

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from fraudlab.engines import Item, Result, in_order
from fraudlab.errors import UserError


class OnRay:
    """Tasks of the Ray cluster that this process is connected to.

    Args:
        cpus: of one task; its libraries use as many threads.
        gpus: of one task.
        retries: how often a task is done again whose worker was killed.
        before: called in the worker before a task is read there, each time.
        settings: by which the user chose ``cpus`` and ``gpus``, for errors.
    """

    apart = True

    def __init__(
        self,
        cpus: float = 1,
        gpus: float = 0,
        retries: int = 3,
        before: Callable[[], None] | None = None,
        settings: tuple[str, str] = ("ray.cpus_per_task", "GPUs a task"),
    ) -> None:
        import ray

        self._cpus = cpus
        self._asked = {"CPU": cpus, "GPU": gpus}
        self._settings = settings
        self._before = before
        self._task = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=retries)(_do)

    def map(
        self, work: Callable[[Item], Result], items: Iterable[Item], *, at_once: int = 1, memory: float = 0.0
    ) -> Iterator[Result]:
        import ray

        at_once = max(1, int(ray.cluster_resources().get("CPU", 1) / self._cpus))
        start = self.starting(work, memory)
        yield from in_order(start, self.result, items, 2 * at_once)

    def starting(self, work: Callable[[Item], Any], memory: float = 0.0) -> Callable[[Item], Any]:
        """What starts ``work`` on an item, and gives what :meth:`result` takes; ``work`` is sent once.

        Raises:
            UserError: no machine has the CPUs and GPUs of a task.
        """
        import ray

        # More than any machine has would wait for ever.
        machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        self._check(machines)
        most = max(each.get("memory", 0.0) for each in machines)
        task, sent = self._task.options(memory=int(min(memory, most))), [ray.put(work)]
        return lambda item: task.remote(self._before, sent, item)

    def _check(self, machines: Sequence[Mapping[str, float]]) -> None:
        if any(all(each.get(kind, 0) >= asked for kind, asked in self._asked.items()) for each in machines):
            return
        named = zip(self._settings, self._asked.values(), strict=True)
        asked = " with ".join(f"{setting}={value:g}" for setting, value in named if value)
        first = ("GPU", "CPU") if self._asked["GPU"] else ("CPU", "GPU")
        largest = max(machines, key=lambda each: [each.get(kind, 0) for kind in first])
        raise UserError(
            f"{asked} is more than any machine of the Ray cluster has; its largest has {largest.get('CPU', 0):g} CPUs "
            f"and {largest.get('GPU', 0):g} GPUs"
        )

    def result(self, started: Any) -> Any:
        """What the task gave.

        Raises:
            UserError: it could not be done, as where its worker was killed again and again.
        """
        import ray

        try:
            return ray.get(started)
        except ray.exceptions.RayError as error:
            cause = getattr(error, "cause", None)
            if isinstance(cause, Exception) and not isinstance(cause, ray.exceptions.RayError):
                raise cause from error  # what the task itself raised
            said = str(cause or error).strip().splitlines()[0]
            raise UserError(
                f"a task could not be done on the Ray cluster: {said}\nIf its worker was killed, its machine's memory "
                "may have been full: fewer tasks at once take less (more CPUs a task)"
            ) from error


@contextmanager
def ray_cluster(
    address: str | None, cpus: int | None, object_store_mb: int | None, cpus_per_task: float = 1
) -> Iterator[None]:
    """A connection to a Ray cluster.

    Args:
        address: of the cluster, ``auto`` for that of this machine; None: one is started here, and ends with this
            context.
        cpus: of a cluster that is started here; None: all.
        object_store_mb: MB of the memory through which tasks exchange data, of a cluster that is started here; None:
            Ray's own choice.
        cpus_per_task: of a cluster that is started here: as many threads Polars takes in each worker.

    Raises:
        UserError: Ray is not installed, no cluster answers, or it does not take this process.
    """
    try:
        import ray
    except ImportError:
        raise UserError("Ray is not installed: pip install 'fraudlab[ray]'") from None
    variables = {"RAY_USAGE_STATS_ENABLED": "0"}
    own: dict[str, Any] = {}
    if address is None:
        store = None if object_store_mb is None else object_store_mb * 10**6
        own = {"include_dashboard": False, "num_cpus": cpus, "object_store_memory": store}
        # Workers, which stand side by side, take the variables of this process; what the user has set holds.
        threads = str(max(1, int(cpus_per_task)))
        variables["POLARS_MAX_THREADS"] = os.environ.get("POLARS_MAX_THREADS", threads)
    with _environment(variables):
        try:
            ray.init(address or "local", logging_level=logging.WARNING, **own)
        except ConnectionError as error:
            raise UserError(
                f"no Ray cluster answers at the address {address}: start one with ray start --head, or leave the "
                "address out to have one on this machine for this command"
            ) from error
        except Exception as error:  # another version there, an address of no form; Ray has no kind for them
            place = "on this machine cannot be started" if address is None else f"at {address} cannot be joined"
            raise UserError(f"the Ray cluster {place}: {' '.join(str(error).split())}") from error
        try:
            yield
        finally:
            ray.shutdown()


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """These variables of this process, until the context ends."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _do(before: Callable[[], None] | None, sent: Sequence[Any], item: Any) -> Any:
    """One task, in a worker."""
    import ray

    if before is not None:
        before()
    try:
        return ray.get(sent[0])(item)
    except UserError as error:
        raise UserError(str(error)) from None  # kinds of it that take more than a message would not be read again
