"""``python -m benchmarks.tabnet_ops``: what each change to TabNet gives against pytorch-tabnet, op by op, way by way.

ops   forward and backward of single operations at the shape ``ieee``
ways  a whole training step of ours in plain PyTorch, under torch.compile and with the C encoder (CPU only)
"""

import argparse
from collections.abc import Callable
from functools import partial
from unittest.mock import patch

import torch
from pytorch_tabnet import sparsemax as their_masks
from pytorch_tabnet import tab_network
from torch import Tensor

from benchmarks import records
from benchmarks.records import Line
from benchmarks.tabnet_shapes import EMBEDDING_DIM, IEEE
from benchmarks.tabnet_train import compared, cut, for_theirs, our_step, sized, take, their_step
from fraudlab.models.tabnet import masks
from fraudlab.models.tabnet.blocks import Embedding
from fraudlab.models.tabnet.ghost_batch_norm import GhostBatchNorm
from fraudlab.models.tabnet.grouping import Grouping
from fraudlab.models.tabnet.native import compile as native

Op = Callable[[Tensor], Tensor]


def main() -> None:
    cases: dict[str, records.Case] = {"ops": ops, "ways": ways}
    parser = records.parser(__doc__ or "", list(cases), "tabnet_ops")
    parser.add_argument("--steps", type=int, default=8, help="steps of a round (default 8)")
    parser.set_defaults(bf16=False, compile=False)
    arguments = records.parsed(parser)
    if arguments.quick:
        arguments.steps, arguments.rounds = 1, 1
    names = arguments.cases or [name for name in cases if name != "ways" or arguments.device == "cpu"]
    records.measure(arguments, {name: cases[name] for name in names})


def ops(arguments: argparse.Namespace) -> list[Line]:
    shape, device = sized(IEEE, arguments), arguments.device
    torch.manual_seed(0)
    groups, dims = shape.features, [EMBEDDING_DIM] * shape.categorical + [1] * shape.numeric
    wide = torch.randn(shape.batch, groups, device=device, requires_grad=True)
    ids = shape.rows(shape.batch).categorical.to(device)
    cardinalities = shape.cardinalities
    generator = tab_network.EmbeddingGenerator(
        shape.categorical, cardinalities, list(range(shape.categorical)), dims[: shape.categorical],
        torch.eye(shape.categorical, device=device),
    ).to(device)  # fmt: skip
    table = Embedding(cardinalities, dims[: shape.categorical]).to(device)
    spread = Grouping(dims).to(device)
    matrix = torch.zeros(groups, spread.num_columns, device=device)
    matrix[spread.group, torch.arange(spread.num_columns, device=device)] = spread.share
    pairs: dict[str, tuple[Op, Op, Tensor]] = {
        "ghost batch norm: one op / loop": (
            GhostBatchNorm(groups, shape.virtual_batch, 0.02).to(device),
            tab_network.GBN(groups, shape.virtual_batch, 0.02).to(device),
            wide,
        ),
        "sparsemax: no sort / sort": (masks.sparsemax, lambda z: their_masks.sparsemax(z.clone(), -1), wide),
        "entmax: no sort / sort": (masks.entmax15, lambda z: their_masks.entmax15(z, -1), wide),
        "embedding: one table / one a column": (table, lambda x: generator(x.float()), ids),
        "mask to columns: spread / product": (spread.to_columns, lambda mask: mask @ matrix, wide),
    }
    lines = []
    for what, (ours, theirs, x) in pairs.items():
        sides = {
            side: partial(there_and_back, op, x, arguments.steps) for side, op in (("ours", ours), ("theirs", theirs))
        }
        lines.append(compared(what, sides, arguments, "ops", arguments.steps * shape.batch, arguments.steps))
    return lines


def there_and_back(op: Op, x: Tensor, times: int) -> None:
    for _ in range(times):
        y = op(x)
        y.backward(torch.ones_like(y))


def ways(arguments: argparse.Namespace) -> list[Line]:
    shape, steps = sized(IEEE, arguments), arguments.steps
    batches = cut(shape, steps, "cpu")
    theirs = partial(take, their_step(shape, arguments), for_theirs(batches))
    lines = []
    for what, compiles, compiled_c in (
        ("plain PyTorch", False, False),
        ("torch.compile", True, False),
        ("C encoder", False, True),
    ):
        arguments.compile = compiles
        step = our_step(shape, arguments)

        def ours(step: Callable[..., Tensor] = step, compiled_c: bool = compiled_c) -> None:
            with patch.object(native, "operations", native.operations if compiled_c else lambda real: None):
                take(step, batches)

        sides = {"ours": ours, "theirs": theirs}
        lines.append(compared(f"step, ours: {what}", sides, arguments, "ways", steps * shape.batch, steps))
    return lines


if __name__ == "__main__":
    main()
