"""Steps one after the other in this process, or some at once: in processes that end with the one that started them."""

import contextlib
import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from tqdm import tqdm

from fraudlab.backtesting.plan import Backtest
from fraudlab.config import BacktestConfig
from fraudlab.config.plugins import load_plugins
from fraudlab.data.sources.contract import Source
from fraudlab.errors import UserError
from fraudlab.features.threads import cores
from fraudlab.files import lock
from fraudlab.models.registry import MODELS

Task = tuple[str, int]  # "fit" or "score", and the number of a step


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep other backtests out of ``folder``.

    Raises:
        UserError: another one works there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as held:
        if not lock(held.fileno(), wait=False):
            raise UserError(f"another backtest is running in {folder}; wait for it, or give this one a name: "
                            "backtest.name=<name>")  # fmt: skip
        yield


class Workers:
    """What fits and scores steps: processes, which do not outlive this context, or of one job this process itself.

    Args:
        backtest: what they work at.
        source: its table.
        jobs: how many; 0 for one a core, or one where an accelerator is shared; never more than there are steps.
    """

    def __init__(self, backtest: Backtest, source: Source, jobs: int) -> None:
        self._count = min(jobs or _most(backtest.config), len(backtest.steps))
        self._backtest = backtest
        self._source = source
        self._workers: list[tuple[BaseProcess, Connection]] = []

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, error: type[BaseException] | None, *about: object) -> None:
        for process, connection in self._workers:
            connection.close()
            if error is not None:
                process.kill()
        for process, _ in self._workers:
            process.join()

    def run(self, tasks: Sequence[Task], on_end: Callable[[Task], None], *, in_order: bool = False) -> None:
        """Do all tasks, one after the other if ``in_order``.

        After a failure those that have begun are ended, and no other is begun.

        Raises:
            UserError: a task failed, or its process died.
        """
        if self._count == 1:
            with _quiet():
                for task in tasks:
                    try:
                        _do(self._backtest, self._source, task, 0)
                    except UserError as error:
                        raise self._failed(task, str(error)) from error
                    on_end(task)
            return
        left, busy, failed = list(tasks), dict[Connection, Task](), list[UserError]()
        while left or busy:
            most = 1 if in_order else self._count
            while left and len(busy) < most and not failed:
                connection = self._free(busy)
                busy[connection] = left.pop(0)
                connection.send(busy[connection])
            if not busy:
                break
            ready = wait(list(busy))
            for connection in [each for each in busy if each in ready]:
                task = busy.pop(connection)
                try:
                    said = connection.recv()
                except EOFError:
                    said = self._death_of(connection)
                if said is None:
                    on_end(task)
                else:
                    failed.append(self._failed(task, said))
        if failed:
            raise failed[0]

    def _failed(self, task: Task, said: str) -> UserError:
        return UserError(
            f"the step tested from {self._backtest.steps[task[1]].start} on failed: {said}\n"
            "Finished steps are kept: the same command continues from there."
        )

    def _death_of(self, connection: Connection) -> str:
        process = next(process for process, ours in self._workers if ours is connection)
        process.join()
        if process.exitcode == -signal.SIGKILL:
            return "its process was killed, perhaps because memory was full; backtest.jobs=1 needs less"
        return f"its process ended with status {process.exitcode}; see its output above"

    def _free(self, busy: dict[Connection, Task]) -> Connection:
        """The connection of a worker that has nothing to do; of a new one if need be."""
        for _, connection in self._workers:
            if connection not in busy:
                return connection
        context = multiprocessing.get_context("spawn")  # a fork would inherit threads of Polars that do not run
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(self._backtest, self._count, theirs), daemon=True)
        process.start()
        theirs.close()
        self._workers.append((process, ours))
        return ours


def _most(config: BacktestConfig) -> int:
    """How many steps this machine can take at once: an accelerator has memory for one."""
    accelerator = (config.trainer or {}).get("accelerator", "auto")
    if MODELS[config.model.name].kind == "network" and accelerator != "cpu":
        import torch

        if torch.cuda.is_available() or torch.backends.mps.is_available():
            return 1
    return cores()


def _work(backtest: Backtest, count: int, tasks: Connection) -> None:
    """Do what the first process asks for, until it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the first process, which ends this one
    threading.Thread(target=_end_with_parent, daemon=True).start()
    tqdm.set_lock(threading.RLock())  # its own is shared with other processes, and left behind where this one is killed
    logging.basicConfig(format="[%(asctime)s][%(name)s][%(levelname)s] - %(message)s")
    load_plugins(backtest.config.plugins)

    from fraudlab.data.sources.registry import load_source

    config = backtest.config
    source = load_source(config.data, Path(config.paths.data_dir))
    with _quiet():
        while True:
            try:
                task = tasks.recv()
            except EOFError:
                return
            try:
                _do(backtest, source, task, max(1, cores() // count))
                said = None
            except (UserError, OSError) as error:
                said = str(error)
            tasks.send(said)


def _do(backtest: Backtest, source: Source, task: Task, threads: int) -> None:
    from fraudlab.backtesting.steps import fit_step, score_step, with_threads

    kind, number = task
    (fit_step if kind == "fit" else score_step)(with_threads(backtest, threads), source, number)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Let steps tell warnings alone, each once: every step says the same."""
    ours, handlers, once = logging.getLogger("fraudlab"), list(logging.getLogger().handlers), _Once()
    level = ours.level
    ours.setLevel(logging.WARNING)
    for handler in handlers:
        handler.addFilter(once)
    try:
        yield
    finally:
        ours.setLevel(level)
        for handler in handlers:
            handler.removeFilter(once)


def _end_with_parent() -> None:
    parent: Any = multiprocessing.parent_process()
    wait([parent.sentinel])
    os._exit(1)


class _Once(logging.Filter):
    def __init__(self) -> None:
        super().__init__()
        self._said: dict[str, logging.LogRecord] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        # Each handler asks of the same record.
        return self._said.setdefault(record.getMessage(), record) is record
