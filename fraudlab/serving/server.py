"""Run the server of a bundle until it is stopped: listen, look after its processes, reload on SIGHUP."""

import gc
import logging
import multiprocessing
import os
import resource
import signal
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import wait
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType

from fraudlab.config.plugins import load_plugins
from fraudlab.config.serve import ServingConfig
from fraudlab.errors import UserError
from fraudlab.serving import logs
from fraudlab.serving.addresses import Sockets, bind
from fraudlab.serving.generation import Generation
from fraudlab.serving.lifetime import end_with_parent

_FURTHER_FILES = 200  # beside the connections: queues, pipes, libraries
_LOOK = 0.2  # seconds between two looks at the processes

_log = logging.getLogger(__name__)


@dataclass
class _Asked:
    """What signals have asked for."""

    stop: bool = False
    reload: bool = False

    def listen(self) -> None:
        """Take the signals of this process: TERM, INT and QUIT end it in order, HUP reloads."""
        own = os.getpid()

        def take(number: int, frame: FrameType | None) -> None:
            if os.getpid() == own:  # a forked process inherits this and has its own way to end
                self.stop |= number != signal.SIGHUP
                self.reload |= number == signal.SIGHUP

        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
            signal.signal(number, take)


def run(path: str, settings: ServingConfig, plugins: Sequence[str] = ()) -> None:
    """Serve the bundle at ``path`` until SIGTERM, SIGINT or SIGQUIT; returns once all that was accepted is answered.

    Args:
        path: of the bundle.
        settings: of the server.
        plugins: modules to import for the bundle's features, here and in each worker.

    Raises:
        UserError: plugin, address, bundle, key or history cannot be used, the bundle does not give its golden scores,
            or a process without which there is no server has ended.
    """
    _allow_files(settings.max_connections + settings.probe_connections)
    logs.configure()
    load_plugins(plugins)
    asked = _Asked()
    asked.listen()
    sockets = bind(settings.host, settings.port)
    collected = None if settings.metrics_port is None else bind("127.0.0.1", settings.metrics_port, "metrics_port")[0]
    os.register_at_fork(after_in_child=partial(end_with_parent, os.getpid()))
    with TemporaryDirectory(prefix="fraudlab-") as folder:  # of this user alone
        start = partial(_started, path, settings, (sockets, collected), asked, Path(folder))
        current = start(0)
        try:
            while not asked.stop:
                wait(current.sentinels, timeout=_LOOK)
                if asked.reload:
                    asked.reload = False
                    current = _reloaded(current, start)
                current.tend(settings.worker_starts)
        finally:
            current.stop()
            for process in multiprocessing.active_children():
                process.terminate()


def _started(
    path: str,
    settings: ServingConfig,
    places: tuple[Sockets, socket.socket | None],
    asked: _Asked,
    folder: Path,
    number: int,
) -> Generation:
    """The bundle in service, once one worker is ready."""
    gc.unfreeze()
    made = Generation(path, settings, folder, number, places[1])
    gc.collect()
    gc.freeze()  # what lives as long as the server need not be looked through again
    try:
        made.start_workers()
        while not (made.can_score or asked.stop):
            wait(made.sentinels, timeout=_LOOK / 4)
            made.tend(1)
        made.start_http(places[0])
    except BaseException:
        made.stop()
        raise
    return made


def _reloaded(current: Generation, start: Callable[[int], Generation]) -> Generation:
    """What serves keys and bundle as they are now; ``current`` where they cannot be used."""
    try:
        made = start(current.number + 1)
    except (UserError, OSError) as error:
        _log.error("nothing is reloaded, the bundle %s stays in service: %s", current.version, error)
        return current
    current.retire()
    _log.warning("reloaded: the bundle %s is in service in place of %s", made.version, current.version)
    return made


def _allow_files(connections: int) -> None:
    """Raise the limit of open files, of which each connection is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = connections + _FURTHER_FILES
    if soft < needed:
        if hard != resource.RLIM_INFINITY and hard < needed:
            raise UserError(
                f"serving.max_connections and serving.probe_connections, {connections} together, need {needed} open "
                f"files, and this machine allows {hard}; raise its limit (ulimit -Hn), or set both to less: "
                f"{max(1, hard - _FURTHER_FILES)} together"
            )
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
