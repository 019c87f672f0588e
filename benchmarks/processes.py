"""``python -m benchmarks.processes``: how fast two processes train, against one process with all threads.

Both sides train TabNet with the Trainer of ``fraudlab.train`` on the same arrays and the same batches, by turns, each
in processes of its own: ``trainer=cpu`` with a thread a core, ``trainer=ddp_sim`` with the cores shared between its
processes. Counted are the epochs after the first.

step    the whole epoch, training only; ``theirs`` is the one process
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import torch

from benchmarks import records
from benchmarks.records import Line
from benchmarks.tabnet_shapes import SHAPES, Shape
from benchmarks.timing import speed
from benchmarks.trainers import trainer_of

CASES = ("ieee", "ieee_wide", "handbook_23")
EPOCHS = 3


def main() -> None:
    parser = records.parser(__doc__ or "", CASES, "processes")
    parser.add_argument("--steps", type=int, default=24, help="optimiser steps of an epoch (default 24)")
    parser.add_argument("--side", help="print one side's seconds an epoch as JSON: the trainer's name")
    parser.set_defaults(rounds=3)
    arguments = records.parsed(parser)
    if arguments.side:
        train(arguments)
        return
    if arguments.quick:
        arguments.steps, arguments.rounds = 2, 1
    records.measure(arguments, {name: partial(compare, name) for name in arguments.cases or CASES[::2]})


def sized(name: str, arguments: argparse.Namespace) -> Shape:
    return SHAPES[name].tiny() if arguments.quick else SHAPES[name]


def compare(name: str, arguments: argparse.Namespace) -> list[Line]:
    """The line of one shape."""
    command = [sys.executable, "-m", "benchmarks.processes", "--cases", name, "--steps", str(arguments.steps)]
    command += ["--out", str(arguments.out), *(["--quick"] if arguments.quick else [])]
    environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    seconds: dict[str, list[float]] = {"ddp_sim": [], "cpu": []}
    for number in range(arguments.rounds):
        for side, taken in seconds.items():
            done = subprocess.run(
                [*command, "--side", side], check=True, stdout=subprocess.PIPE, text=True, env=environment
            )
            taken += json.loads(done.stdout)[1:]
            print(f"{name}  round {number + 1}/{arguments.rounds}  {side}  {taken[-1]:.3f} s", file=sys.stderr)
    rows = arguments.steps * sized(name, arguments).batch
    two, one = (speed(seconds[side], rows, arguments.steps) for side in ("ddp_sim", "cpu"))
    what = "two processes / one, ratio: of rates"
    return [{"what": what, "ours": two, "theirs": one, "ratio": two["rows_per_s"] / one["rows_per_s"]}]


def train(arguments: argparse.Namespace) -> None:
    """Train in this process and those that it starts; the first prints the seconds of each epoch."""
    from fraudlab.data.datamodule import FraudDataModule  # Lightning: only where it is measured
    from fraudlab.learner import FraudLearner
    from fraudlab.losses import CrossEntropy

    shape = sized(arguments.cases[0], arguments)
    rows = shape.rows(arguments.steps * shape.batch)
    learner = FraudLearner(
        shape.ours("cpu"),
        CrossEntropy(),
        lambda parameters: torch.optim.Adam(parameters, lr=2e-2, fused=True),
        None,
        {},
    )
    module = FraudDataModule(rows, None, batch_size=shape.batch, eval_batch_size=shape.batch, seed=0, shuffle="rows")
    with tempfile.TemporaryDirectory() as folder:
        trainer, clock = trainer_of({"trainer": arguments.side, "trainer.max_epochs": EPOCHS}, Path(folder))
        trainer.fit(learner, datamodule=module)
        if trainer.is_global_zero:
            print(json.dumps(clock.epochs))


if __name__ == "__main__":
    main()
