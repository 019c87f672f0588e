"""``python -m benchmarks.tabm``: how fast TabM trains, against the package ``tabm`` in the same process.

A training step is forward, cross-entropy of all members, backward, AdamW: k = 32, 3 x 256, 1,024 rows, dropout 0.1, no
embeddings. A case has two ratios: rows/s against the package's, and the share of a step's time that its matrix products
alone take here. Of one thread on a CPU the process's own time counts, so that others' work does not. The case

row   one row through the exported model in ONNX Runtime at 432 features, against 1 ms
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tabm
import torch
from torch import Tensor, nn

from benchmarks import records
from benchmarks.records import Line
from benchmarks.timing import by_turns, speed, synchronize
from fraudlab.bundle.ort import onnxruntime
from fraudlab.exporter.onnx_model import write_onnx
from fraudlab.models.tabm.network import TabM
from fraudlab.training.losses.weighted import CrossEntropy

K, HIDDEN, ROWS, DROPOUT = 32, (256, 256, 256), 1024, 0.1
PACKAGE = {"mini": "tabm-mini", "full": "tabm"}


def main() -> None:
    cases: dict[str, records.Case] = {
        f"{variant}_{columns}": partial(steps_of, variant, columns) for variant in PACKAGE for columns in (23, 432)
    }
    cases["row"] = row
    parser = records.parser(__doc__ or "", list(cases), "tabm")
    parser.add_argument("--steps", type=int, default=2, help="training steps of a round (default 2)")
    arguments = records.parsed(parser)
    if arguments.quick:
        arguments.steps, arguments.rounds = 1, 1
    records.measure(arguments, {name: cases[name] for name in arguments.cases or cases})


def timed(run: Callable[[], Any], arguments: argparse.Namespace) -> float:
    """Seconds of ``run``: the process's own where it computes on one thread."""
    own = arguments.device == "cpu" and torch.get_num_threads() == 1
    clock = time.process_time if own else time.perf_counter
    began = clock()
    run()
    synchronize(arguments.device)
    return clock() - began


def steps_of(variant: str, columns: int, arguments: argparse.Namespace) -> list[Line]:
    rows, steps, device = (64 if arguments.quick else ROWS), arguments.steps, arguments.device
    numeric, label = torch.randn(rows, columns, device=device), torch.randint(0, 2, (rows,), device=device)
    categorical, weight = torch.zeros(rows, 0, dtype=torch.int64, device=device), torch.ones(rows, device=device)
    loss = CrossEntropy()
    ours = TabM([], columns, variant=variant, k=K, hidden=HIDDEN, dropout=DROPOUT).to(device)
    theirs = tabm.TabM(
        n_num_features=columns,
        d_out=2,
        n_blocks=len(HIDDEN),
        d_block=HIDDEN[0],
        dropout=DROPOUT,
        k=K,
        arch_type=PACKAGE[variant],
        start_scaling_init="random-signs",
    ).to(device)

    def trained(network: nn.Module, logits: Callable[[], Tensor]) -> Callable[[], float]:
        optimizer = torch.optim.AdamW(network.parameters(), fused=True)

        def step() -> None:
            optimizer.zero_grad()
            loss(logits(), label, weight).backward()
            optimizer.step()

        return lambda: timed(lambda: [step() for _ in range(steps)], arguments)

    # Products of one step: forward, to the weights and, but for the first layer, to the inputs.
    widths = [(columns, HIDDEN[0], 2), (HIDDEN[0], HIDDEN[1], 3), (HIDDEN[1], HIDDEN[2], 3)]
    products = [
        (torch.randn(K * rows, inputs, device=device), torch.randn(inputs, outputs, device=device), times)
        for inputs, outputs, times in widths
    ]
    made = [torch.empty(K * rows, outputs, device=device) for _, outputs, _ in widths]

    def multiply() -> None:
        for _ in range(steps):
            for (x, matrix, times), into in zip(products, made, strict=True):
                for _ in range(times):
                    torch.mm(x, matrix, out=into)

    sides = {
        "ours": trained(ours, lambda: ours(categorical, numeric).logits),
        "theirs": trained(theirs, lambda: theirs(numeric)),
        "products": lambda: timed(multiply, arguments),
    }
    seconds = by_turns(sides, arguments.rounds, device, f"{variant}_{columns}")
    fast = {side: speed(taken, rows * steps, steps) for side, taken in seconds.items()}
    return [
        {"what": what, "ours": fast["ours"], "theirs": fast[other], "ratio": ratio(fast["ours"], fast[other])}
        for what, other in (("step, theirs: package", "theirs"), ("step, theirs: its products alone", "products"))
    ]


def ratio(ours: dict[str, Any], theirs: dict[str, Any]) -> float:
    return float(ours["rows_per_s"] / theirs["rows_per_s"])


def row(arguments: argparse.Namespace) -> list[Line]:
    """One row at 432 features: both variants, and 8 members with piecewise-linear embeddings."""
    columns, times = 432, (5 if arguments.quick else 300)
    given = np.random.default_rng(0).standard_normal((1, columns)).astype(np.float32)
    embedded = TabM([], columns, embedding="piecewise_linear")
    embedded.prepare(torch.zeros(1000, 0, dtype=torch.int64), torch.randn(1000, columns))
    networks = {
        "mini": TabM([], columns),
        "full": TabM([], columns, variant="full"),
        "mini, piecewise linear, 8 members": embedded.kept(range(8)),
    }
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    lines = []
    for name, network in list(networks.items())[: 1 if arguments.quick else None]:
        with tempfile.TemporaryDirectory() as folder:
            write_onnx(network.eval(), 0, columns, Path(folder) / "model.onnx")
            session = onnxruntime.InferenceSession(Path(folder) / "model.onnx", options, ["CPUExecutionProvider"])
        run = partial(session.run, None, {"numeric": given})
        run()
        measured = speed([timed(run, arguments) for _ in range(times)], 1, 1)
        lines.append({"what": f"{name}, theirs: 1 ms", "ours": measured, "theirs": speed([0.001], 1, 1)})
        lines[-1]["ratio"] = ratio(measured, lines[-1]["theirs"])
    return lines


if __name__ == "__main__":
    main()
