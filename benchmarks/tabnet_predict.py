"""``python -m benchmarks.tabnet_predict``: how fast TabNet scores, against pytorch-tabnet 4.1.0 in the same process.

Ours is ``fraudlab.training.scoring.score``, theirs ``TabNetClassifier.predict_proba``, with the same weights, table and
batch size. Both are checked to give the same probabilities before anything is timed. Each case has a line for the whole
table and one for a single row.
"""

import argparse
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks import records
from benchmarks.records import Line
from benchmarks.tabnet_shapes import SHAPES, one_table
from benchmarks.timing import by_turns, speed
from fraudlab.data.batches import Batch
from fraudlab.models.tabnet import TabNet
from fraudlab.training.scoring import score

ROWS = {"ieee": 100_000, "handbook_23": 200_000}
MOST_APART = 1e-3  # in a probability, of 200,000 rows: single precision leaves up to 2e-4 on either side


def main() -> None:
    cases: dict[str, records.Case] = {name: partial(predictions_of, name) for name in ROWS}
    parser = records.parser(__doc__ or "", list(cases), "tabnet_predict")
    parser.add_argument("--steps", type=int, default=200, help="calls of a round with a single row (default 200)")
    parser.add_argument("--rows", type=int, help=f"rows of the table (default {ROWS})")
    parser.add_argument("--batch-size", type=int, default=4096, help="rows scored at once (default 4096)")
    arguments = records.parsed(parser)
    if arguments.quick:
        arguments.steps, arguments.rounds, arguments.rows, arguments.batch_size = 2, 1, 1_000, 256
    records.measure(arguments, {name: cases[name] for name in arguments.cases or cases})


def predictions_of(name: str, arguments: argparse.Namespace) -> list[Line]:
    shape = SHAPES[name].tiny()  # its batch is that of the short fit alone
    device, size = arguments.device, arguments.batch_size
    rows = shape.rows(arguments.rows or ROWS[name])
    table = one_table(rows).numpy()
    classifier = shape.classifier(device)
    fitted = 4 * shape.batch  # some steps, so that running statistics and masks are not those of the start
    classifier.fit(table[:fitted], rows.label[:fitted].numpy(), max_epochs=1, **shape.fit_settings())
    classifier.batch_size = size
    network = same_network(classifier)

    apart = float(np.abs(score(network, rows, size, device) - classifier.predict_proba(table)[:, 1]).max())
    if apart > MOST_APART:
        sys.exit(f"error: {name}: the two differ by up to {apart:.2g} in a probability; there is nothing to compare")
    first, first_row = Batch(*(part[:1] for part in rows)), table[:1]
    sides: dict[str, dict[str, Callable[[], Any]]] = {
        "whole table": {
            "ours": lambda: score(network, rows, size, device),
            "theirs": lambda: classifier.predict_proba(table),
        },
        "one row": {
            "ours": partial(again, arguments.steps, lambda: score(network, first, size, device)),
            "theirs": partial(again, arguments.steps, lambda: classifier.predict_proba(first_row)),
        },
    }
    counts = {"whole table": (len(table), -(-len(table) // size)), "one row": (arguments.steps, arguments.steps)}
    lines = []
    for what, pair in sides.items():
        seconds = by_turns(pair, arguments.rounds, device, f"{name}: {what}")
        ours, theirs = (speed(seconds[side], *counts[what]) for side in ("ours", "theirs"))
        ratio = ours["rows_per_s"] / theirs["rows_per_s"]
        lines.append({"what": what, "ours": ours, "theirs": theirs, "ratio": ratio, "most_apart": apart})
    return lines


def same_network(classifier: Any) -> TabNet:
    """Ours with the weights of a fitted classifier."""
    if hasattr(TabNet, "from_pytorch_tabnet"):
        return TabNet.from_pytorch_tabnet(classifier.network)
    from fraudlab.models.tabnet.interop import from_reference

    return from_reference(classifier.network)


def again(times: int, run: Callable[[], Any]) -> None:
    for _ in range(times):
        run()


if __name__ == "__main__":
    main()
