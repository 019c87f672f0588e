"""``python -m benchmarks.tabnet_train``: how fast TabNet trains, against pytorch-tabnet 4.1.0 in the same process.

A training step is forward, cross-entropy and sparsity penalty, backward, clipping at norm 1, Adam. Each shape is
measured against pytorch-tabnet's network (the same batches, already cut) and, where named so, against
``TabNetClassifier.fit`` (the same table; ours loops over ``Batches``). Further cases, on the shape ``ieee``:

pretrain  a step of self-supervised pretraining: obfuscation, encoder, decoder, reconstruction loss
epoch   an epoch under the Trainer of ``fraudlab.train`` against the bare loop; the ratio is the share of its rate
growth  ours alone: time for ten times the rows, and for four times the features
memory  peak memory of three steps beyond what was held before, each side in a process of its own
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks import records
from benchmarks.records import Line
from benchmarks.tabnet_shapes import IEEE, SHAPES, Shape, one_table
from benchmarks.timing import by_turns, peak_memory, speed
from fraudlab.data.batches import Batch, Batches
from fraudlab.models.reconstruction import reconstruction_loss
from fraudlab.models.tabnet.pretraining import TabNetPretraining

SPARSITY = 1e-3  # both sides' default
AGAINST_FIT = ("ieee", "handbook_15", "handbook_23")
FIT_STEPS, FIT_EPOCHS = 8, 2
Step = Callable[[Any], Any]


def main() -> None:
    cases: dict[str, records.Case] = {
        **{name: partial(steps_of, name) for name in SHAPES},
        "pretrain": pretrain,
        "epoch": epoch,
        "growth": growth,
        "memory": memory,
    }
    parser = records.parser(__doc__ or "", list(cases), "tabnet_train")
    parser.add_argument("--steps", type=int, default=8, help="training steps of a round (default 8)")
    parser.add_argument("--rows", type=int, default=100_000, help="rows of the case epoch (default 100000)")
    parser.add_argument("--bf16", action="store_true", help="autocast of both networks; cases are named <case>_bf16")
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, help="model.compile (default: on cuda)")
    parser.add_argument("--memory-of", choices=("ours", "theirs"), help="print one side's peak memory as JSON")
    arguments = records.parsed(parser)
    if arguments.compile is None:
        arguments.compile = arguments.device == "cuda"
    if arguments.memory_of:
        print(json.dumps(memory_of(arguments)))
        return
    if arguments.quick:
        arguments.steps, arguments.rounds, arguments.rows = 2, 1, 2_000
    wanted = arguments.cases or [name for name in cases if arguments.device == "cuda" or not name.endswith("_gpu")]
    if arguments.device == "cpu" and any(name.endswith("_gpu") for name in wanted):
        parser.error("cases named ..._gpu need --device cuda")
    suffix = "_bf16" if arguments.bf16 else ""
    records.measure(arguments, {name + suffix: cases[name] for name in wanted})


def sized(shape: Shape, arguments: argparse.Namespace) -> Shape:
    return shape.tiny() if arguments.quick else shape


def our_optimizer(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr=2e-2, fused=True)


def our_step(shape: Shape, arguments: argparse.Namespace) -> Step:
    """A training step of ours on a Batch."""
    network = shape.ours(arguments.device).train()
    if arguments.compile:
        network.compile(dynamic=False)
    optimizer = our_optimizer(network.parameters())
    autocast = torch.autocast(arguments.device, torch.bfloat16, enabled=arguments.bf16)

    def step(batch: Batch) -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        with autocast:
            output = network(batch.categorical, batch.numeric)
            loss = cross_entropy(output.logits, batch.label) + output.penalty
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        return loss.detach()

    return step


def their_step(shape: Shape, arguments: argparse.Namespace) -> Step:
    """A training step of pytorch-tabnet's network, as ``TabModel._train_batch`` takes it, on (table, label)."""
    network = shape.reference(arguments.device).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-2)
    autocast = torch.autocast(arguments.device, torch.bfloat16, enabled=arguments.bf16)

    def step(batch: tuple[Tensor, Tensor]) -> Tensor:
        table, label = batch
        for parameter in network.parameters():
            parameter.grad = None
        with autocast:
            logits, m_loss = network(table)
            loss = cross_entropy(logits, label) - SPARSITY * m_loss
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        return loss.detach()

    return step


def take(step: Step, batches: Iterable[Any]) -> None:
    for batch in batches:
        step(batch)


def cut(shape: Shape, steps: int, device: str) -> list[Batch]:
    """One batch for each step, of which at most four differ, on the device."""
    different = list(Batches(shape.rows(shape.batch * min(steps, 4)), shape.batch, device=device))
    return [different[index % len(different)] for index in range(steps)]


def for_theirs(batches: list[Batch]) -> list[tuple[Tensor, Tensor]]:
    tables = {id(batch): (one_table(batch), batch.label) for batch in batches}
    return [tables[id(batch)] for batch in batches]


def steps_of(name: str, arguments: argparse.Namespace) -> list[Line]:
    shape, steps = sized(SHAPES[name], arguments), arguments.steps
    batches = cut(shape, steps, arguments.device)
    sides = {
        "ours": partial(take, our_step(shape, arguments), batches),
        "theirs": partial(take, their_step(shape, arguments), for_theirs(batches)),
    }
    lines = [compared("step, theirs: network", sides, arguments, name, steps * shape.batch, steps)]
    if name in AGAINST_FIT and not arguments.bf16:
        lines.append(fit(name, shape, arguments))
    return lines


def compared(
    what: str, sides: Mapping[str, Callable[[], Any]], arguments: argparse.Namespace, name: str, rows: int, steps: int
) -> Line:
    """The line of two sides that take the same rows in as many steps."""
    seconds = by_turns(sides, arguments.rounds, arguments.device, f"{name}: {what}")
    ours, theirs = (speed(seconds[side], rows, steps) for side in ("ours", "theirs"))
    return {"what": what, "ours": ours, "theirs": theirs, "ratio": ours["rows_per_s"] / theirs["rows_per_s"]}


def fit(name: str, shape: Shape, arguments: argparse.Namespace) -> Line:
    """Epochs of ``TabNetClassifier.fit``, without what goes before and after them, against ours over ``Batches``."""
    from pytorch_tabnet.callbacks import Callback  # scikit-learn: only where it is measured

    class Clock(Callback):
        seconds = 0.0

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.seconds -= time.perf_counter()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.seconds += time.perf_counter()

    steps = min(FIT_STEPS, arguments.steps)
    rows = shape.rows(steps * shape.batch)
    table, label = one_table(rows).numpy(), rows.label.numpy()
    step = our_step(shape, arguments)
    batches = shuffled(rows, shape, arguments.device)

    def ours() -> None:
        for _ in range(FIT_EPOCHS):
            take(step, batches)

    def theirs() -> float:
        clock = Clock()
        classifier = shape.classifier(arguments.device)
        classifier.fit(table, label, max_epochs=FIT_EPOCHS, callbacks=[clock], **shape.fit_settings())
        return clock.seconds

    sides = {"ours": ours, "theirs": theirs}
    taken = FIT_EPOCHS * steps
    return compared("epochs, theirs: TabNetClassifier.fit", sides, arguments, name, taken * shape.batch, taken)


def pretrain(arguments: argparse.Namespace) -> list[Line]:
    """A pretraining step of both sides at the shape ``ieee``; theirs as ``TabNetPretrainer`` takes it."""
    from pytorch_tabnet.metrics import UnsupervisedLoss  # scikit-learn: only where it is measured

    shape, steps, device = sized(IEEE, arguments), arguments.steps, arguments.device
    batches = cut(shape, steps, device)
    ours = TabNetPretraining(shape.ours(device)).train()
    theirs = shape.reference_pretraining(device).train()

    def step(
        network: nn.Module, loss_of: Callable[[Any], Tensor], optimizer: torch.optim.Optimizer, batch: Any
    ) -> None:
        optimizer.zero_grad(set_to_none=True)
        loss_of(batch).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()

    def our_loss(batch: Batch) -> Tensor:
        return reconstruction_loss(*ours(batch.categorical, batch.numeric))

    def their_loss(batch: tuple[Tensor, Tensor]) -> Tensor:
        loss: Tensor = UnsupervisedLoss(*theirs(batch[0]))
        return loss

    sides = {
        "ours": partial(take, partial(step, ours, our_loss, our_optimizer(ours.parameters())), batches),
        "theirs": partial(
            take,
            partial(step, theirs, their_loss, torch.optim.Adam(theirs.parameters(), lr=2e-2)),
            for_theirs(batches),
        ),
    }
    return [compared("step, theirs: TabNetPretraining", sides, arguments, "pretrain", steps * shape.batch, steps)]


def shuffled(rows: Batch, shape: Shape, device: str) -> Batches:
    from fraudlab.data.datamodule import place  # Lightning

    rows = place(rows, torch.device(device), "auto")
    return Batches(rows, shape.batch, shuffle=True, device=device)


def epoch(arguments: argparse.Namespace) -> list[Line]:
    """An epoch of the Trainer that ``fraudlab.train`` builds, without validation, against the bare loop."""
    from benchmarks.trainers import trainer_of  # Lightning: only where it is measured
    from fraudlab.data.datamodule import FraudDataModule
    from fraudlab.training.learner import FraudLearner
    from fraudlab.training.losses.weighted import CrossEntropy

    shape = sized(IEEE, arguments)
    rows = shape.rows(arguments.rows)
    step = our_step(shape, arguments)
    bare = shuffled(rows, shape, arguments.device)

    def ours() -> float:
        learner = FraudLearner(
            shape.ours("cpu"), CrossEntropy(), lambda made: our_optimizer(made.parameters()), None, {}
        )
        module = FraudDataModule(rows, None, batch_size=shape.batch, eval_batch_size=shape.batch, seed=0)
        settings = {
            "trainer.accelerator": arguments.device,
            "trainer.precision": "bf16-mixed" if arguments.bf16 else "32-true",
            "trainer.max_epochs": 1,
        }
        with tempfile.TemporaryDirectory() as folder:
            trainer, clock = trainer_of(settings, Path(folder))
            trainer.fit(learner, datamodule=module)
        torch.use_deterministic_algorithms(False)  # the Trainer sets it, and the bare loop shall not pay for it
        return sum(clock.epochs)

    sides: dict[str, Callable[[], Any]] = {"ours": ours, "theirs": partial(take, step, bare)}
    what = "Trainer's epoch / bare loop, ratio: share of its rate"
    return [compared(what, sides, arguments, "epoch", arguments.rows, len(bare))]


def growth(arguments: argparse.Namespace) -> list[Line]:
    """Time of an epoch of ours for ten times the rows and for four times the features."""
    large = sized(IEEE, arguments)
    small = replace(large, categorical=12, numeric=96)
    rows = 5 * large.batch
    lines = []
    for what, fewer, more in (
        ("10 x rows / rows, ratio: of times", (large, rows), (large, 10 * rows)),
        ("432 / 108 features, ratio: of times", (small, rows), (large, rows)),
    ):
        sides = {}
        for side, (shape, number) in (("theirs", fewer), ("ours", more)):
            batches = shuffled(shape.rows(number), shape, arguments.device)
            sides[side] = partial(take, our_step(shape, arguments), batches)
        seconds = by_turns(sides, arguments.rounds, arguments.device, f"growth: {what}")
        ours, theirs = (speed(seconds[s], n, n // large.batch) for s, n in (("ours", more[1]), ("theirs", fewer[1])))
        times = [side["rows"] / side["rows_per_s"] for side in (ours, theirs)]
        lines.append({"what": what, "ours": ours, "theirs": theirs, "ratio": times[0] / times[1]})
    return lines


def memory(arguments: argparse.Namespace) -> list[Line]:
    """Peak memory of both sides' steps."""
    flags = [flag for flag in ("quick", "bf16") if getattr(arguments, flag)]
    command = [sys.executable, "-m", "benchmarks.tabnet_train", "--device", arguments.device]
    command += [f"--{flag}" for flag in flags] + ["--threads", str(torch.get_num_threads())]
    peaks = {}
    for side in ("ours", "theirs"):
        done = subprocess.run([*command, "--memory-of", side], check=True, stdout=subprocess.PIPE, text=True)
        peaks[side] = json.loads(done.stdout)
        print(f"memory  {side}  {peaks[side]}", file=sys.stderr, flush=True)
    ratio = peaks["theirs"]["growth_mib"] / max(peaks["ours"]["growth_mib"], 0.1)
    return [{"what": f"peak of a step, {memory_shape(arguments.device)}", **peaks, "ratio": ratio}]


def memory_shape(device: str) -> str:
    return "ieee_gpu" if device == "cuda" else "ieee"


def memory_of(arguments: argparse.Namespace) -> dict[str, float]:
    """Peak memory of three steps of one side, in this process."""
    shape = sized(SHAPES[memory_shape(arguments.device)], arguments)
    batches: list[Any] = cut(shape, 1, arguments.device)
    if arguments.memory_of == "theirs":
        batches = for_theirs(batches)
    step = (our_step if arguments.memory_of == "ours" else their_step)(shape, arguments)
    return peak_memory(lambda: take(step, batches * 3), arguments.device)


if __name__ == "__main__":
    main()
