"""A search as it runs: workers, each a thread that runs one trial after the other as a process and follows it.

Each worker calls Optuna's ``Study.optimize`` for one trial at a time, so that Optuna takes the trial, records its
heartbeat and ends it. A trial that finished while its search died is reported from its run folder.
"""

import contextlib
import logging
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import optuna
from optuna import Trial, TrialPruned
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import fail_stale_trials
from optuna.trial import FrozenTrial, TrialState

from fraudlab.config.overrides import Value
from fraudlab.errors import UserError
from fraudlab.tuning.process import METRICS, Ended, TrialProcess, values_of
from fraudlab.tuning.space import Space
from fraudlab.tuning.stop import Stop, Stopped
from fraudlab.tuning.storage import ERRORS, first_heartbeat, first_line, patiently
from fraudlab.tuning.study import (
    OWNER,
    THERE_BEFORE,
    Unsigned,
    counted,
    frozen,
    is_first_start,
    requeue,
    retry,
    surplus,
    tries,
)

log = logging.getLogger(__name__)

_FAILURES_IN_A_ROW = 3  # after so many, a search stops: the cause is not in the points
_OWNER_FILE = "worker"  # in a trial's folder: the process that ran it
_ATTEMPTS = 5  # of what the storage refuses, some seconds apart
_REDRAWS = 10  # of a point that was drawn before

Overrides = Callable[[FrozenTrial, Mapping[str, Value]], Sequence[str]]
OnEnd = Callable[[FrozenTrial, Ended], None]


@dataclass(frozen=True)
class Stage:
    """What the trials of one study are.

    Attributes:
        folder: gets a run folder for each trial, by its number.
        overrides: the settings of a trial, from itself and its point.
        metrics: those of ``metrics.json`` that are told.
        space: what a fresh trial is drawn from; None where all trials are queued.
        budget: trials that are wanted over all processes; 0 where all are queued.
        prunes: whether points of the curve are stored and may end a trial.
        threads: of each trial.
        retries: how often a trial that died is tried again.
        grace: seconds without a heartbeat that make a trial stale.
    """

    folder: Path
    overrides: Overrides
    metrics: Sequence[str]
    space: Space | None
    budget: int
    prunes: bool
    threads: int
    retries: int
    grace: float


def run_trials(
    stage: Stage,
    open_: Callable[[], optuna.Study],
    *,
    jobs: int,
    stop: Stop,
    on_end: Callable[[FrozenTrial, Ended], None],
) -> None:
    """Run trials, ``jobs`` at once, until nothing is left for anybody.

    Args:
        stage: what they are.
        open_: opens the study, which other processes may work at too; each worker has its own sampler.
        jobs: trials at once.
        stop: ends everything when set.
        on_end: called for each trial that ended here, with its state in the study.

    Raises:
        Stopped: by a signal.
        UserError: the storage fails, or trial after trial does.
    """
    shared = _Shared(stage, stop, on_end)
    workers: list[threading.Thread] = []
    try:
        workers += [threading.Thread(target=_Worker(shared, open_()).work, daemon=True) for _ in range(jobs)]
        for worker in workers:
            worker.start()
        while any(worker.is_alive() for worker in workers) and not stop.event.is_set() and shared.broken is None:
            shared.wait(0.2)
    except ERRORS as error:
        shared.broken = shared.broken or error
    finally:
        stopped = stop.event.is_set()
        stop.event.set()
        shared.end(workers)
        if not stopped:
            stop.event.clear()
    if isinstance(shared.broken, ERRORS):
        raise UserError(
            f"the study's storage failed: {first_line(shared.broken)}; fix it (is the disk full, the server down?) and "
            "start the search again: it continues"
        ) from shared.broken
    if shared.broken is not None:
        raise shared.broken
    if stopped:
        raise Stopped(stop.number)


class _Shared:
    """What the workers of one search share."""

    def __init__(self, stage: Stage, stop: Stop, on_end: OnEnd) -> None:
        self.stage = stage
        self.stop = stop
        self.me = uuid.uuid4().hex[:12]
        self.broken: BaseException | None = None
        self.unsigned = Unsigned(stage.retries, stage.grace)
        self.lock = threading.Lock()
        self.running: dict[int, TrialProcess] = {}
        self._on_end = on_end
        self._failures: list[str] = []
        self._changed = threading.Event()

    def wait(self, seconds: float) -> None:
        """Until a worker ends, or for so long."""
        self._changed.wait(seconds)
        self._changed.clear()

    def worker_ended(self, error: BaseException | None) -> None:
        self.broken = self.broken or error  # the main thread raises it
        self._changed.set()

    def trial_ended(self, trial: FrozenTrial, ended: Ended) -> None:
        """Report it, and stop the search where failure follows failure."""
        with self.lock:
            self._on_end(trial, ended)
            if ended.how == "failed" and not ended.diverged:
                self._failures.append(ended.reason)
            else:
                self._failures.clear()
            if len(self._failures) >= _FAILURES_IN_A_ROW and self.broken is None:
                self.broken = UserError(
                    f"{len(self._failures)} trials failed one after the other, the last one: {self._failures[-1]}\n"
                    "The search stops here; fix the cause and start it again: it continues."
                )

    def end(self, workers: Sequence[threading.Thread]) -> None:
        """End all trials; their workers queue them again."""
        for act in (TrialProcess.end, TrialProcess.kill):
            with self.lock:
                running = list(self.running.values())
            for process in running:
                act(process)
        for worker in workers:
            if worker.ident is not None:
                worker.join()


class _NotCompleted(Exception):
    """Ends a trial in the study as failed."""


class _Worker:
    """One thread: trial after trial, and where there is none, wait for what others leave."""

    def __init__(self, shared: _Shared, study: optuna.Study) -> None:
        self._shared = shared
        self._stage = shared.stage
        self._stop = shared.stop
        self._study = study
        self._redraws = 0
        self._ended: tuple[int, Ended] | None = None  # the trial that this worker ran last, until it is reported

    def work(self) -> None:
        broken: BaseException | None = None
        attempts = 0
        try:
            while not self._stop.event.is_set() and self._shared.broken is None:
                try:
                    if not self._next():
                        return
                    attempts = 0
                except ERRORS:
                    attempts += 1
                    if attempts >= _ATTEMPTS or self._stop.event.wait(2):
                        raise
        except BaseException as error:
            broken = error
        finally:
            self._shared.worker_ended(broken)

    def _next(self) -> bool:
        """Run a trial, or wait a moment where there is none now; False where none will come."""
        self._tell_finished()
        self._shared.unsigned.fail(self._study)
        fail_stale_trials(self._study)
        trials = counted(self._study)
        waiting = any(trial.state == TrialState.WAITING for trial in trials)
        if not waiting and len(trials) >= self._stage.budget:
            if all(trial.state.is_finished() for trial in trials):
                return False
            self._stop.event.wait(0.5)
            return True
        self._ended = None
        try:
            self._study.optimize(self._objective, n_trials=1, catch=(_NotCompleted,))
        except (ValueError, AssertionError, UpdateFinishedTrialError):
            # Another process ended the trial: it took this one for dead, as after Ctrl-Z, or told a finished run.
            if self._ended is None or not frozen(self._study, self._ended[0]).state.is_finished():
                raise
            log.warning("trial %d: another process considered this one dead and ended the trial", self._ended[0])
        if self._ended is not None:
            number, ended = self._ended
            self._shared.trial_ended(frozen(self._study, number), ended)
        return True

    def _tell_finished(self) -> None:
        """Tell of trials that finished in this folder while the search that ran them died."""
        for trial in counted(self._study, TrialState.RUNNING):
            folder = self._stage.folder / str(trial.number)
            owner, metrics = folder / _OWNER_FILE, folder / METRICS
            # worker: of studies that fraudlab 0.1 began
            name = trial.user_attrs.get(OWNER, trial.user_attrs.get("worker"))
            if not metrics.is_file() or not owner.is_file() or owner.read_text(encoding="utf-8") != name:
                continue  # it has not finished, runs on another machine, or another study left this folder
            if time.time() - metrics.stat().st_mtime < self._stage.grace / 3:
                continue  # its search lives and is about to tell
            with contextlib.suppress(KeyError, ValueError, UpdateFinishedTrialError):
                self._study.tell(trial.number, values_of(folder, self._stage.metrics), skip_if_finished=True)

    def _objective(self, trial: Trial) -> list[float]:
        patiently(lambda: first_heartbeat(self._study, trial))  # before the name: a named trial is stale without one
        patiently(lambda: trial.set_user_attr(OWNER, self._shared.me))
        drawn = {} if self._stage.space is None else self._stage.space.draw(trial)
        if why := surplus(self._study, trial.number, self._stage.budget, redraw=self._redraws < _REDRAWS):
            self._redraws += why == THERE_BEFORE
            trial.set_user_attr("surplus", why)
            raise _NotCompleted
        self._redraws = 0
        process = self._start(trial, drawn)
        # The first start is compared with the best at the end: it runs to its own.
        prunes = self._stage.prunes and not is_first_start(frozen(self._study, trial.number))
        ended = process.follow(lambda step, value: self._point(trial, step, value, prunes))
        with self._shared.lock:
            del self._shared.running[trial.number]
        self._ended = (trial.number, ended)
        if ended.how == "pruned":
            raise TrialPruned
        try:  # also of one that was killed: its metrics come last, so it had finished
            values = values_of(self._stage.folder / str(trial.number), self._stage.metrics)
        except KeyError as error:
            raise self._failed(trial, str(error.args[0])) from error
        if values is None:
            raise self._not_finished(trial, ended)
        self._ended = (trial.number, Ended("finished"))
        if frozen(self._study, trial.number).state.is_finished():
            raise _NotCompleted
        return values

    def _start(self, trial: Trial, drawn: Mapping[str, Value]) -> TrialProcess:
        folder = self._stage.folder / str(trial.number)
        known = frozen(self._study, trial.number)
        try:
            with self._shared.lock:
                if self._stop.event.is_set():
                    requeue(self._study, known)
                    raise _NotCompleted
                folder.mkdir(parents=True)
                (folder / _OWNER_FILE).write_text(self._shared.me, encoding="utf-8")
                process = TrialProcess(self._stage.overrides(known, drawn), folder, self._stage.threads)
                self._shared.running[trial.number] = process
                return process
        except FileExistsError as error:
            requeue(self._study, known)
            raise UserError(
                f"{folder} is a run of another study. Remove {folder.parent}, or choose another folder for this sweep "
                "by hydra.run.dir=..."
            ) from error
        except OSError as error:  # no room for its folder, no memory for its process
            raise self._failed(trial, f"cannot be started: {error.strerror}") from error

    def _point(self, trial: Trial, step: int, value: float, prunes: bool) -> bool:
        """Store a point; True where the trial is to end."""
        if not self._stage.prunes:
            return False
        try:
            trial.report(value, step)
            return prunes and bool(trial.should_prune())  # of some pruners it is NumPy's
        except UpdateFinishedTrialError:
            return True
        except ERRORS as error:  # the trial is worth more than a point of its curve
            log.warning("trial %d: a point of its curve was not stored: %s", trial.number, first_line(error))
            return False

    def _not_finished(self, trial: Trial, ended: Ended) -> Exception:
        known = frozen(self._study, trial.number)
        if self._stop.event.is_set():
            patiently(lambda: requeue(self._study, known))
            self._ended = (trial.number, Ended("stopped"))
            return _NotCompleted()
        if ended.how != "died":
            return self._failed(trial, ended.reason or "it ended without metrics.json")
        if not patiently(lambda: retry(self._study, known, self._stage.retries)):
            return self._failed(trial, f"{ended.reason}, {tries(known)} times")
        trial.set_user_attr("reason", ended.reason)
        self._ended = (trial.number, Ended("died", f"{ended.reason}; it is queued again"))
        return _NotCompleted()

    def _failed(self, trial: Trial, reason: str) -> Exception:
        """The trial failed by itself: it is not tried again."""
        patiently(lambda: trial.set_user_attr("reason", reason))
        self._ended = (trial.number, Ended("failed", reason))
        return _NotCompleted()
