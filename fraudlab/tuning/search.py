"""A search as it runs: threads that take trials off the list and follow one process each, and a watch over them."""

import contextlib
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType

from optuna import Trial
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from fraudlab.errors import UserError
from fraudlab.tuning.process import Ended, TrialProcess, values_of
from fraudlab.tuning.space import Value
from fraudlab.tuning.storage import ERRORS, first_line
from fraudlab.tuning.worklist import WorkList, is_first_start

log = logging.getLogger(__name__)

_FAILURES_IN_A_ROW = 3  # after so many, a search stops: the cause is not in the points
_OWNER = "worker"  # in a trial's folder: the work list that ran it
_TELLS = 5  # attempts to tell how a trial ended, a few seconds apart

Overrides = Callable[[FrozenTrial, Mapping[str, Value]], Sequence[str]]
OnEnd = Callable[[FrozenTrial, Ended], None]


class Stopped(Exception):
    """A signal asked the search to stop; its trials are back on the list."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


class Stop:
    """What a signal sets and everything watches."""

    def __init__(self) -> None:
        self.event = threading.Event()
        self.number = 0

    @contextlib.contextmanager
    def on_signals(self) -> Iterator["Stop"]:
        """Set on SIGINT, SIGTERM and SIGHUP, which otherwise do as before again afterwards."""

        def stop(number: int, _: FrameType | None) -> None:
            self.number = number
            self.event.set()

        names = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        # nohup has SIGHUP ignored.
        before = {name: signal.signal(name, stop) for name in names if signal.getsignal(name) != signal.SIG_IGN}
        try:
            yield self
        finally:
            for name, handler in before.items():
                signal.signal(name, handler)


def work_off(
    work: WorkList,
    folder: Path,
    overrides: Overrides,
    metrics: Sequence[str],
    *,
    jobs: int,
    threads: int,
    prunes: bool,
    grace: float,
    stop: Stop,
    on_end: OnEnd,
) -> None:
    """Run trials, ``jobs`` at once, until nothing is left on the list for anybody.

    Args:
        work: the list, which other processes may work off too.
        folder: gets a run folder for each trial, by its number.
        overrides: the settings of a trial, from itself and its point.
        metrics: figures of ``metrics.json`` that are told.
        jobs: trials at once.
        threads: of each trial.
        prunes: whether points of the curve are stored and may end a trial.
        grace: as the list's; signs of life come six times as often.
        stop: ends everything when set.
        on_end: called for each trial that ended here.

    Raises:
        Stopped: by a signal.
        UserError: the storage fails, or trial after trial does.
    """
    crew = _Crew(work, folder, overrides, metrics, threads, prunes, stop, on_end)
    hands = [threading.Thread(target=crew.work, daemon=True) for _ in range(jobs)]
    try:
        work.live()
        crew.tell_what_finished()
        for hand in hands:
            hand.start()
        next_sign = 0.0
        while any(hand.is_alive() for hand in hands) and not stop.event.is_set() and crew.broken is None:
            if time.monotonic() >= next_sign:
                crew.watch()
                next_sign = time.monotonic() + grace / 6
            crew.wait(0.2)
    except ERRORS as error:
        crew.broken = crew.broken or error
    finally:
        stopped = stop.event.is_set()
        stop.event.set()
        crew.end(hands)
        if not stopped:
            stop.event.clear()
    if isinstance(crew.broken, ERRORS):
        raise UserError(
            f"the study's storage failed: {first_line(crew.broken)}; mend it (is the disk full, the server down?) and "
            "start the search again: it goes on where it stood"
        ) from crew.broken
    if crew.broken is not None:
        raise crew.broken
    if stopped:
        raise Stopped(stop.number)


class _Crew:
    """What the threads of one search share."""

    def __init__(
        self,
        work: WorkList,
        folder: Path,
        overrides: Overrides,
        metrics: Sequence[str],
        threads: int,
        prunes: bool,
        stop: Stop,
        on_end: OnEnd,
    ) -> None:
        self.broken: BaseException | None = None
        self._work = work
        self._folder = folder
        self._overrides = overrides
        self._metrics = metrics
        self._threads = threads
        self._prunes = prunes
        self._stop = stop
        self._on_end = on_end
        self._running: dict[int, TrialProcess] = {}
        self._failures: list[str] = []
        self._lock = threading.Lock()
        self._changed = threading.Event()

    def work(self) -> None:
        """One thread: trial after trial, and where there is none, wait for what others leave."""
        try:
            while not self._stop.event.is_set() and self.broken is None:
                taken = self._work.take()
                if taken is not None:
                    self._run(*taken)
                elif self._work.done():
                    return
                else:
                    self._stop.event.wait(0.5)
        except BaseException as error:  # the main thread raises it
            self.broken = self.broken or error
        finally:
            self._changed.set()

    def wait(self, seconds: float) -> None:
        """Until a thread ends, or for so long."""
        self._changed.wait(seconds)
        self._changed.clear()

    def watch(self) -> None:
        """Give a sign of life, and put back the trials of processes that gave none."""
        self._work.live()
        self.tell_what_finished()
        for trial in self._work.bury():
            if self._work.put_back(trial, "the process that ran it died"):
                log.warning("trial %d: the process that ran it died; it is put back", trial.number)

    def tell_what_finished(self) -> None:
        """Tell of trials that finished here while the search that ran them died."""
        for trial in self._work.others_running():
            folder = self._folder / str(trial.number)
            owner = folder / _OWNER
            if not owner.is_file() or owner.read_text(encoding="utf-8") != trial.user_attrs.get("worker"):
                continue  # it runs on another machine, or another study left this folder
            with contextlib.suppress(KeyError):
                values = values_of(folder, self._metrics)
                if values is not None:
                    self._work.finish(trial.number, values)

    def end(self, hands: Sequence[threading.Thread]) -> None:
        """End all trials; their threads put them back."""
        for act in (TrialProcess.end, TrialProcess.kill):
            with self._lock:
                running = list(self._running.values())
            for process in running:
                act(process)
        for hand in hands:
            if hand.ident is not None:
                hand.join()

    def _run(self, trial: Trial, drawn: Mapping[str, Value]) -> None:
        frozen = next(known for known in self._work.trials() if known.number == trial.number)
        folder = self._folder / str(trial.number)
        try:
            with self._lock:
                if self._stop.event.is_set():
                    self._work.put_back(frozen, "the search was stopped", its_fault=False)
                    return
                folder.mkdir(parents=True)
                (folder / _OWNER).write_text(self._work.me, encoding="utf-8")
                process = TrialProcess(self._overrides(frozen, drawn), folder, self._threads)
                self._running[trial.number] = process
        except FileExistsError as error:
            self._work.put_back(frozen, f"{folder} was there before", its_fault=False)
            raise UserError(
                f"{folder} is a run of another study. Remove {folder.parent}, or choose another folder for this sweep "
                "by hydra.run.dir=..."
            ) from error
        except OSError as error:  # no room for its folder, no memory for its process
            self._tell(frozen, Ended("failed", f"cannot be started: {error.strerror}"))
            return
        # The first start is held against the best at the end: it runs to its own.
        prunes = self._prunes and not is_first_start(frozen)
        ended = process.follow(lambda step, value: self._point(trial, step, value, prunes))
        with self._lock:
            del self._running[trial.number]
        self._tell(frozen, ended)

    def _point(self, trial: Trial, step: int, value: float, prunes: bool) -> bool:
        """Store a point; True, and the trial is told as pruned, where the others say so."""
        if not self._prunes:
            return False
        try:
            trial.report(value, step)
            if not prunes or not trial.should_prune():
                return False
            self._work.prune(trial.number)
        except UpdateFinishedTrialError:
            log.warning("trial %d: another process took this one for dead and put it back; it ends here", trial.number)
            return True
        except ERRORS as error:  # the trial is worth more than a point of its curve
            log.warning("trial %d: a point of its curve was not stored: %s", trial.number, first_line(error))
            return False
        return True

    def _tell(self, trial: FrozenTrial, ended: Ended) -> None:
        for attempt in range(_TELLS):
            try:
                ended = self._told(trial, ended)
                break
            except ERRORS:
                if attempt + 1 == _TELLS or self._stop.event.wait(2):
                    raise
        self._on_end(trial, ended)
        with self._lock:
            if ended.how == "failed" and not ended.diverged:
                self._failures.append(ended.reason)
            else:
                self._failures.clear()
            if len(self._failures) >= _FAILURES_IN_A_ROW and self.broken is None:
                self.broken = UserError(
                    f"{len(self._failures)} trials failed one after the other, the last since: {self._failures[-1]}\n"
                    "The search stops here; mend the cause and start it again: it goes on where it stood."
                )

    def _told(self, trial: FrozenTrial, ended: Ended) -> Ended:
        if ended.how == "pruned":  # and told already
            return ended
        values = None
        try:  # also of one that was killed: its figures come last, so it had finished
            values = values_of(self._folder / str(trial.number), self._metrics)
        except KeyError as error:
            ended = Ended("failed", str(error.args[0]))
        else:
            if values is None and ended.how == "finished":
                ended = Ended("failed", "it ended without metrics.json")
        if values is not None:
            ended = Ended("finished")
            self._work.finish(trial.number, values)
        elif self._stop.event.is_set():
            self._work.put_back(trial, "the search was stopped", its_fault=False)
            return Ended("stopped")
        elif ended.how == "died":
            if not self._work.put_back(trial, ended.reason):
                return Ended("failed", ended.reason)
            return Ended("died", f"{ended.reason}; it is put back")
        else:
            self._work.fail(trial, ended.reason)
        return ended


def state_of(trial: FrozenTrial) -> str:
    """A trial's state in a word, as tables show it."""
    return {
        TrialState.COMPLETE: "finished",
        TrialState.PRUNED: "pruned",
        TrialState.FAIL: "failed",
        TrialState.RUNNING: "running",
        TrialState.WAITING: "waiting",
    }[trial.state]
