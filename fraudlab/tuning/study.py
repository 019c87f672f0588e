"""The study that any number of processes share: which of its trials count, and how one that died is tried again.

Optuna does the most. Its storage numbers a trial once and ends it once, whoever asks. A trial whose process died is
noticed by its heartbeat and queued again (``RDBStorage(heartbeat_interval=, heartbeat_stale_trial_callback=)``,
``RetryHeartbeatStaleTrialCallback``, ``fail_stale_trials``); the points that a search starts from are queued once
(``enqueue_trial(skip_if_exists=True)``). What is left here, since Optuna has nothing for it:

- An exact budget over all processes. ``MaxTrialsCallback`` counts trials that have ended, so those that other processes
  run at that moment come on top. Here a fresh trial with as many before it as the budget has is *surplus*.
- No point twice. Two processes may queue one start at once, and a sampler may draw a point again; the later trial is
  surplus. A surplus trial fails before it starts and does not count, as a study cannot forget a trial.
- A trial whose process died before its first heartbeat. Optuna never takes it for stale. A process names itself in its
  trial once it has recorded a heartbeat; a trial that nobody names for long is failed here.
- A trial that was stopped with its search is queued again at no cost: Optuna's callback counts every retry.
"""

import copy
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RetryHeartbeatStaleTrialCallback
from optuna.trial import FrozenTrial, TrialState

from fraudlab.errors import UserError
from fraudlab.tuning.storage import patiently

log = logging.getLogger(__name__)

OWNER = "process"
"""User attribute of a trial: the process that runs it."""
THERE_BEFORE = "there before"
"""Why a trial is surplus whose point another one has."""
_QUEUED = ("start", "finalist", "again")  # user attributes of trials that were queued, not drawn
_ORIGIN = ("start", "finalist", "seed")  # those that a trial passes on to its next try
_NOT_COUNTED = ("surplus", "put_back")  # put_back: of studies that fraudlab 0.1 began


def counted(study: optuna.Study, *states: TrialState) -> list[FrozenTrial]:
    """The trials that count, of the given states or of all: one that was tried again counts as its last try."""
    trials = study.get_trials(deepcopy=False)
    earlier_tries = {number for trial in trials for number in _tries_before(trial)}
    return [
        trial
        for trial in trials
        if not any(key in trial.user_attrs for key in _NOT_COUNTED)
        and trial.number not in earlier_tries
        and (not states or trial.state in states)
    ]


def is_first_start(trial: FrozenTrial) -> bool:
    """Whether a trial is the first point that the search started from: the recipe that others are compared with."""
    return trial.user_attrs.get("start") == 0


def surplus(study: optuna.Study, number: int, budget: int, *, redraw: bool) -> str | None:
    """Why a trial does not count; None if it does.

    Args:
        study: its study.
        number: of the trial, whose point is drawn.
        budget: trials that are wanted; 0 for a study whose trials are all queued.
        redraw: whether a point that was drawn before is to be drawn again.
    """
    trial = frozen(study, number)
    earlier = [other for other in counted(study) if other.number < number]
    queued = _tries_before(trial) or any(key in trial.user_attrs for key in _QUEUED)
    if not queued and len(earlier) >= budget:
        return "beyond the budget"
    if "finalist" in trial.user_attrs:  # one that failed is tried again
        earlier = [other for other in earlier if other.state != TrialState.FAIL]
    same = any((_origin(other) or other.params) == (_origin(trial) or trial.params) for other in earlier)
    return THERE_BEFORE if same and (queued or redraw) else None


def retry(study: optuna.Study, trial: FrozenTrial, retries: int) -> bool:
    """Queue a trial that died again, unless it died too often; gives whether it was."""
    if any(key in trial.user_attrs for key in _NOT_COUNTED) or trial.number in _tries(study):
        return False
    trial = copy.deepcopy(trial)  # the callback changes what it gets
    trial.user_attrs.pop(OWNER, None)
    RetryHeartbeatStaleTrialCallback(max_retry=retries)(study, trial)
    return trial.number in _tries(study)


def on_stale(retries: int) -> Callable[[optuna.Study, FrozenTrial], None]:
    """What Optuna is to do with a trial whose heartbeat has stopped."""

    def callback(study: optuna.Study, trial: FrozenTrial) -> None:
        if retry(study, trial, retries):
            log.warning("trial %d: the process that ran it died; it is queued again", trial.number)

    return callback


def requeue(study: optuna.Study, trial: FrozenTrial) -> None:
    """Queue a trial again that was stopped by no fault of its own: its tries are counted from the start."""
    study.enqueue_trial(trial.params, user_attrs={**_origin(trial), "again": trial.number})


class Unsigned:
    """Watches for trials whose process died before the first heartbeat.

    Args:
        retries: how often a trial is tried again.
        grace: seconds in which a process names itself after it has taken a trial.
    """

    def __init__(self, retries: int, grace: float) -> None:
        self._retries = retries
        self._grace = grace
        self._first_seen: dict[int, float] = {}

    def fail(self, study: optuna.Study) -> None:
        """Fail those seen for longer than the grace time, and queue them again."""
        now = time.monotonic()
        for trial in study.get_trials(states=(TrialState.RUNNING,)):
            if OWNER in trial.user_attrs or now - self._first_seen.setdefault(trial.number, now) <= self._grace:
                continue
            try:
                study.tell(trial.number, state=TrialState.FAIL)
            except (ValueError, UpdateFinishedTrialError):
                continue  # another process was quicker
            on_stale(self._retries)(study, trial)


def frozen(study: optuna.Study, number: int) -> FrozenTrial:
    """A copy of the trial with this number, as the storage has it."""
    return copy.deepcopy(next(trial for trial in study.get_trials(deepcopy=False) if trial.number == number))


def _tries(study: optuna.Study) -> set[int]:
    return {number for trial in study.get_trials(deepcopy=False) for number in _tries_before(trial)}


def _tries_before(trial: FrozenTrial) -> list[int]:
    """Numbers of the trials that this one tries again."""
    again = trial.user_attrs.get("again")
    return [*RetryHeartbeatStaleTrialCallback.retry_history(trial), *([] if again is None else [again])]


def tries(trial: FrozenTrial) -> int:
    """How often a trial was run, itself included, without those that were stopped by no fault of its own."""
    return len(RetryHeartbeatStaleTrialCallback.retry_history(trial)) + 1


def _origin(trial: FrozenTrial) -> dict[str, Any]:
    return {key: trial.user_attrs[key] for key in _ORIGIN if key in trial.user_attrs}


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
        directions: ``maximize`` or ``minimize`` for each metric.
        identity: what the study searches, as text.
        sampler: this process's; others may use others.
        pruner: likewise.

    Raises:
        UserError: the study searches something else.
    """
    other = UserError(
        f"the study {name} belongs to another search: its space, fixed settings or metrics differ. Use "
        "study=<another name> for this search, or the sweep file that began it"
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


def queue(study: optuna.Study, facts: Mapping[str, Any]) -> None:
    """Queue a trial that is named by ``facts``, unless one of them is there that has not failed."""
    if not any(facts.items() <= trial.user_attrs.items() for trial in counted(study) if trial.state != TrialState.FAIL):
        study.enqueue_trial({}, user_attrs=dict(facts))


def state_of(trial: FrozenTrial) -> str:
    """A trial's state in a word, as tables show it."""
    return {
        TrialState.COMPLETE: "finished",
        TrialState.PRUNED: "pruned",
        TrialState.FAIL: "failed",
        TrialState.RUNNING: "running",
        TrialState.WAITING: "waiting",
    }[trial.state]
