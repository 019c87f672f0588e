"""``python -m benchmarks.tabnet_ops``: what each change to TabNet gives against pytorch-tabnet, op by op, way by way.

ops   forward and backward of single operations at the shape ``ieee``
ways  a whole training step of ours in plain PyTorch, under torch.compile and with the C encoder (CPU only)
share   a training step as ``fraudlab.sklearn`` takes it, batch 2048, against products of large float32 matrices: the
        ratio is its share of the rate of a step that is its dense products and nothing else (CPU only)
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from unittest.mock import patch

import torch
from pytorch_tabnet import sparsemax as their_masks
from pytorch_tabnet import tab_network
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks import records
from benchmarks.records import Line
from benchmarks.tabnet_shapes import EMBEDDING_DIM, IEEE, SHAPES
from benchmarks.tabnet_train import compared, cut, for_theirs, our_optimizer, our_step, sized, take, their_step
from fraudlab.data.batches import Batch
from fraudlab.models.tabnet import TabNet, masks
from fraudlab.models.tabnet.blocks import Embedding
from fraudlab.models.tabnet.ghost_batch_norm import GhostBatchNorm
from fraudlab.models.tabnet.grouping import Grouping
from fraudlab.models.tabnet.native import compile as native
from fraudlab.sklearn.training import together

Op = Callable[[Tensor], Tensor]


def main() -> None:
    cases: dict[str, records.Case] = {"ops": ops, "ways": ways, "share": share}
    parser = records.parser(__doc__ or "", list(cases), "tabnet_ops")
    parser.add_argument("--steps", type=int, default=8, help="steps of a round (default 8)")
    parser.set_defaults(bf16=False, compile=False)
    arguments = records.parsed(parser)
    if arguments.quick:
        arguments.steps, arguments.rounds = 1, 1
    names = arguments.cases or [name for name in cases if name == "ops" or arguments.device == "cpu"]
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


def share(arguments: argparse.Namespace) -> list[Line]:
    lines = []
    for name in ("ieee", "handbook_23"):
        shape, steps = sized(replace(SHAPES[name], batch=2048), arguments), arguments.steps
        network = shape.ours("cpu").train()
        rows = steps * shape.batch
        sides = {
            "ours": partial(take, estimator_step(network), cut(shape, steps, "cpu")),
            "theirs": partial(products, rows * flops(network)),
        }
        what = f"{shape.features} features: step / sgemm bound, ratio: share"
        lines.append(compared(what, sides, arguments, "share", rows, steps))
    return lines


def estimator_step(network: TabNet) -> Callable[[Batch], None]:
    whole = together(list(network.parameters()))
    optimizer = our_optimizer([whole])

    def step(batch: Batch) -> None:
        optimizer.zero_grad(set_to_none=False)
        output = network(batch.categorical, batch.numeric)
        (cross_entropy(output.logits, batch.label) + output.penalty).backward()
        nn.utils.clip_grad_norm_([whole], 1.0)
        optimizer.step()

    return step


def flops(network: TabNet) -> int:
    """Of the dense products of a row's forward and backward pass."""
    encoder = network.encoder
    layers = [layer for each in encoder.feature_transformers for layer in (*encoder.shared, *each.linears)]
    layers += [each.linear for each in encoder.attentive_transformers]
    return 6 * sum(layer.weight.numel() for layer in (*layers, network.head))


def products(wanted: int, side: int = 1024, times: int = 3) -> float:
    """Seconds of so many floating-point operations at the speed of large products."""
    a, b = torch.randn(2, side, side).unbind()
    out = torch.mm(a, b)
    started = time.perf_counter()
    for _ in range(times):
        torch.mm(a, b, out=out)
    return (time.perf_counter() - started) * wanted / (2 * side**3 * times)


if __name__ == "__main__":
    main()
