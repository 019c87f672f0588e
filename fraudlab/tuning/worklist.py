"""One list of trials that any number of processes work off together: a study, and who runs what of it.

A storage offers two things that no two processes can both do: to number a trial, and to end it. All else here follows:

- A trial may be put on the list twice by two processes; of one *key* only the trial with the lowest number counts.
- A trial may be drawn beyond the budget by two processes at once; those with the highest numbers do not count.
- Each process bumps a counter in the study every few seconds. One whose counter stands still for ``grace`` seconds, by
  the watcher's own clock, is dead; its trials are put back on the list and marked as failed, in that order.

What does not count is marked ``surplus`` and failed before it starts, as a study cannot forget a trial.
"""

import contextlib
import logging
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from fraudlab.errors import UserError
from fraudlab.tuning.space import Space, Value
from fraudlab.tuning.storage import patiently

log = logging.getLogger(__name__)

_WORKER = "worker "  # prefix of the study's attributes that count the signs of life
_REDRAWS = 10  # of a point that was drawn before


class WorkList:
    """A study as a list of work; its methods may be called from several threads.

    Args:
        study: with its sampler and pruner.
        space: what a fresh trial is drawn from; None for a list of put trials only.
        budget: how many fresh trials, put ones included, are wanted; without a meaning where there is no space.
        retries: how often a trial that died is put back.
        grace: seconds without a sign of life that make a process dead.
    """

    def __init__(self, study: optuna.Study, space: Space | None, budget: int, retries: int, grace: float) -> None:
        self.study = study
        self._space = space
        self._budget = budget
        self._retries = retries
        self._grace = grace
        self.me = uuid.uuid4().hex[:12]
        """Names this list among those of all processes and stages."""
        self._beats = 0
        self._seen: dict[str, tuple[Any, float]] = {}
        self._lock = threading.RLock()

    def trials(self, *states: TrialState) -> list[FrozenTrial]:
        """The trials that count, of the given states or of all: those put back are represented by their last try."""
        return [trial for trial in self._all() if _counts(trial) and (not states or trial.state in states)]

    def put(self, key: str, params: Mapping[str, Value], facts: Mapping[str, Any] | None = None) -> None:
        """Put a trial on the list unless one of this key is there.

        Args:
            key: names the trial.
            params: values of the space, drawn where missing.
            facts: further user attributes.
        """
        with self._lock:
            if not any(trial.user_attrs.get("key") == key for trial in self._all()):
                self.study.enqueue_trial(dict(params), user_attrs={**(facts or {}), "key": key})

    def take(self) -> tuple[Trial, dict[str, Value]] | None:
        """The next trial, for this process alone, and its point; None if there is none now."""
        with self._lock:
            redraws = 0
            while True:
                waiting = self.trials(TrialState.WAITING)
                if not waiting and (self._space is None or len(self.trials()) >= self._budget):
                    return None
                trial = self.study.ask()
                trial.set_user_attr("worker", self.me)
                drawn = {} if self._space is None else self._space.draw(trial)
                earlier = [other for other in self._all() if other.number < trial.number]
                if why := self._surplus(trial, drawn, earlier, redraws < _REDRAWS):
                    redraws += why == "drawn before"
                    trial.set_user_attr("surplus", why)
                    self.study.tell(trial, state=TrialState.FAIL)
                    continue
                return trial, drawn

    def finish(self, number: int, values: Sequence[float]) -> None:
        """A trial ran to its end with these values."""
        self._end(number, TrialState.COMPLETE, list(values))

    def prune(self, number: int) -> None:
        """A trial was stopped since others do better."""
        self._end(number, TrialState.PRUNED)

    def fail(self, trial: FrozenTrial, reason: str) -> None:
        """A trial failed by itself: it is not tried again."""
        self._note(trial, "reason", reason)
        self._end(trial.number, TrialState.FAIL)

    def put_back(self, trial: FrozenTrial, reason: str, *, its_fault: bool = True) -> bool:
        """A trial died or was stopped; put it back, unless it died too often.

        Args:
            trial: one that this process runs, or another's that died.
            reason: for the study.
            its_fault: whether this counts among its retries; a stopped search's does not.

        Returns:
            Whether it was put back.
        """
        if "surplus" in trial.user_attrs:  # its process died before it ended what does not count
            self._end(trial.number, TrialState.FAIL)
            return False
        tries = trial.user_attrs.get("died", 0) + its_fault
        if tries > self._retries:
            self.fail(trial, f"{reason}, {tries} times")
            return False
        facts: dict[str, Any] = {
            key: trial.user_attrs[key] for key in ("start", "finalist", "seed") if key in trial.user_attrs
        }
        self.put(f"trial {trial.number} again", trial.params, {**facts, "died": tries, "again": trial.number})
        self._note(trial, "reason", reason)
        self._note(trial, "put_back", True)
        self._end(trial.number, TrialState.FAIL)
        return True

    def live(self) -> None:
        """Give a sign of life; call it every few seconds."""
        self._beats += 1
        self.study.set_user_attr(_WORKER + self.me, self._beats)

    def bury(self) -> list[FrozenTrial]:
        """The running trials of processes that died by now; call it every few seconds."""
        now = time.monotonic()
        beats = self.study.user_attrs
        dead = []
        for trial in self._all():
            owner = trial.user_attrs.get("worker")
            if trial.state != TrialState.RUNNING or owner == self.me:
                continue
            # A process may die between taking a trial and signing it: then the trial itself is watched.
            watched = f"trial {trial.number}" if owner is None else owner
            sign = beats.get(_WORKER + str(owner))
            if self._seen.get(watched, (None, 0))[0] != sign or watched not in self._seen:
                self._seen[watched] = (sign, now)
            elif now - self._seen[watched][1] > self._grace:
                dead.append(trial)
        return dead

    def others_running(self) -> list[FrozenTrial]:
        """Trials that other processes run, or ran when they died."""
        return [trial for trial in self.trials(TrialState.RUNNING) if trial.user_attrs.get("worker") != self.me]

    def done(self) -> bool:
        """Whether nothing is left to do for anybody."""
        trials = self.trials()
        ended = all(trial.state.is_finished() for trial in trials)
        return ended and (self._space is None or len(trials) >= self._budget)

    def _all(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False)

    def _surplus(
        self, trial: Trial, drawn: Mapping[str, Value], earlier: Sequence[FrozenTrial], redraw: bool
    ) -> str | None:
        """Why a trial just taken does not count, if it does not."""
        key = trial.user_attrs.get("key")
        if key is None:
            if self._space is None or sum(map(_counts, earlier)) >= self._budget:
                return "beyond the budget"
            if redraw and any(_counts(other) and other.params == drawn for other in earlier):
                return "drawn before"
            return None
        if any(other.user_attrs.get("key") == key for other in earlier):
            return "put twice"
        again = trial.user_attrs.get("again")
        if again is not None and any(
            other.number == again and other.state in (TrialState.COMPLETE, TrialState.PRUNED) for other in earlier
        ):
            return "ended after all"
        return None

    def _note(self, trial: FrozenTrial, key: str, value: Any) -> None:
        with contextlib.suppress(RuntimeError):  # it ended meanwhile
            self.study._storage.set_trial_user_attr(trial._trial_id, key, value)

    def _end(self, number: int, state: TrialState, values: list[float] | None = None) -> None:
        try:
            self.study.tell(number, values, state=state, skip_if_finished=True)
        except optuna.exceptions.UpdateFinishedTrialError:
            log.debug("trial %d was ended by another process", number)


def _counts(trial: FrozenTrial) -> bool:
    return "surplus" not in trial.user_attrs and "put_back" not in trial.user_attrs


def is_first_start(trial: FrozenTrial) -> bool:
    """Whether a trial is the first point that the search started from: the recipe that others are held against."""
    return trial.user_attrs.get("start") == 0


def open_study(
    storage: optuna.storages.BaseStorage,
    name: str,
    directions: Sequence[Any],
    identity: str,
    sampler: optuna.samplers.BaseSampler | None = None,
    pruner: optuna.pruners.BasePruner | None = None,
) -> optuna.Study:
    """The study of this name, made if it is not there.

    Args:
        storage: where it lies.
        name: of the study.
        directions: ``maximize`` or ``minimize`` for each figure.
        identity: what the study searches, as text.
        sampler: this process's; others may use others.
        pruner: likewise.

    Raises:
        UserError: the study searches something else.
    """
    other = UserError(
        f"the study {name} searches something else: its space, fixed settings or metrics differ. Use study=<another "
        "name> for this search, or give the one that began it"
    )
    try:
        study = patiently(
            lambda: optuna.create_study(
                storage=storage,
                study_name=name,
                directions=list(directions),
                sampler=sampler,
                pruner=pruner,
                load_if_exists=True,
            )
        )
    except ValueError as error:
        raise other from error
    if [direction.name.lower() for direction in study.directions] != list(directions):
        raise other
    if "identity" not in study.user_attrs:
        study.set_user_attr("identity", identity)
    if study.user_attrs["identity"] != identity:
        raise other
    return study
