"""A backtest from its first step to its results."""

import threading
from pathlib import Path
from typing import Any

from tqdm import tqdm

from fraudlab.backtesting.plan import Backtest
from fraudlab.backtesting.results import results
from fraudlab.backtesting.workers import Task, Workers
from fraudlab.data.sources.contract import Source
from fraudlab.files import write_json
from fraudlab.runs.folder import RunFolder


def run(backtest: Backtest, source: Source) -> dict[str, Any]:
    """Fit and score what is missing, then measure; gives the content of ``metrics.json``.

    Raises:
        UserError: a step failed; those that ended are kept.
    """
    steps = backtest.steps
    last = len(steps) - 1
    tqdm.set_lock(threading.RLock())  # its own is shared with other processes, and left behind where this one is killed
    with (
        Workers(backtest, source, backtest.config.backtest.jobs) as workers,
        tqdm(total=2 * len(steps), desc="backtest", unit="task", leave=False, disable=None) as progress,
    ):

        def ended(task: Task) -> None:
            progress.update()
            kind, number = task
            if kind == "fit":
                metrics = RunFolder(backtest.model(steps[number])).metrics()
                found = f"AP {metrics['test']['average_precision']:.4f}, {metrics['train']['seconds']:.1f} s"
                tqdm.write(f"step {number + 1}/{last + 1}, tested from {steps[number].start} on: {found}")

        fits: list[Task] = [("fit", number) for number in range(len(steps))]
        if backtest.policy == "none":
            workers.run(fits[:1], ended)
            fits = fits[1:]
        workers.run(fits, ended, in_order=backtest.policy == "warm")
        workers.run([("score", number) for number in range(len(steps))], ended)
    found = results(backtest)
    write_json(Path(backtest.folder) / "metrics.json", found)
    return found
