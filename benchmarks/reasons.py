"""``python -m benchmarks.reasons run=<folder>``: how well ways to explain a network find what its scores rest on.

A deletion test: of the validation rows of highest scores, the columns that a way names as the strongest for fraud are
replaced by those of training rows drawn at random, one to five of them, and the fall of the log-odds is averaged: the
more it falls, the better they were named. The run is an exported one of a network (``run/bundle``).
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from fraudlab.bundle.reasons import Columns
from fraudlab.bundle.replaced import Replaced, reference_rows
from fraudlab.bundle.runtime import Bundle, load
from fraudlab.config import DataPlaceConfig
from fraudlab.data.encoded import encode
from fraudlab.features.encoder import Arrays
from fraudlab.metrics.calibration import log_odds
from fraudlab.runs.data import table_of
from fraudlab.runs.folder import RunFolder
from fraudlab.runs.settings import load_config
from fraudlab.training.scoring import load_network

DELETED, STEPS, DRAWS = 5, 32, 10
Explain = Callable[[Arrays], np.ndarray]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=lambda text: Path(text.removeprefix("run=")))
    parser.add_argument("--rows", type=int, default=200, help="validation rows of highest scores")
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    run = RunFolder.find(given.run)
    config = load_config(run.config_path)
    bundle = load(given.run / "bundle")
    table = table_of(run, config, DataPlaceConfig(), given.data_dir)
    split = table.split(config.split, config.label_delay_days)
    parts = [encode(table, rows, bundle.encoder) for rows in (split.train, split.validation)]
    train, validation = (Arrays(part.categorical.numpy(), part.numeric.numpy()) for part in parts)
    top = np.argsort(-bundle.probability(validation), kind="stable")[: given.rows]
    rows = Arrays(validation.categorical[top], validation.numeric[top])
    print(f"fall of the log-odds on {len(top)} rows, columns replaced: 1 to {DELETED}\n")
    print(f"{'way':28}" + "".join(f"{count:>7}" for count in range(1, DELETED + 1)) + "   mean   ms a row")
    for name, explain in ways(bundle, run, train).items():
        started = time.perf_counter()
        found = explain(rows)
        took = 1000 * (time.perf_counter() - started) / len(top)
        falls = deletion(bundle, rows, train, found)
        print(f"{name:28}" + "".join(f"{fall:7.2f}" for fall in falls) + f"{falls.mean():7.2f}{took:11.2f}", flush=True)


def ways(bundle: Bundle, run: RunFolder, train: Arrays) -> dict[str, Explain]:
    """Of each way a function from rows to contributions [n, columns]."""
    columns = Columns(bundle.encoder)

    def of_model(rows: Arrays) -> np.ndarray:
        return log_odds(bundle.probability(rows))

    def sampled(count: int) -> Explain:
        made = Replaced({**reference_rows(*train, count), "column": columns.of_encoded}, of_model)
        return lambda rows: columns.summed(made(*rows))

    def random(rows: Arrays) -> np.ndarray:
        return np.random.default_rng(0).standard_normal((len(rows.numeric), len(columns.names)))

    typical = Arrays(
        np.array([[np.bincount(column).argmax() for column in train.categorical.T]], np.int64).reshape(1, -1),
        np.median(train.numeric, axis=0, keepdims=True),
    )

    def occlusion(rows: Arrays) -> np.ndarray:
        each = (of_model(replaced(rows, column, columns, typical)) for column in range(len(columns.names)))
        return of_model(rows)[:, None] - np.stack(list(each), axis=1)

    network = load_network(run.final / "checkpoints" / "best.ckpt").double()
    found = {"random": random, "occlusion, typical row": occlusion}
    found |= {f"sampled Shapley, {count} rows": sampled(count) for count in (1, 2, 4, 8, 16, 32)}
    if not typical.categorical.shape[1]:
        found[f"integrated gradients, {STEPS}"] = lambda rows: columns.summed(gradients(network, rows, typical))
    return found


def replaced(rows: Arrays, column: int, columns: Columns, by: Arrays) -> Arrays:
    """Rows with a column of another row."""
    own = columns.of_encoded != column
    width = rows.categorical.shape[1]
    return Arrays(
        np.where(own[:width], rows.categorical, by.categorical), np.where(own[width:], rows.numeric, by.numeric)
    )


def gradients(network: torch.nn.Module, rows: Arrays, typical: Arrays) -> np.ndarray:
    """Integrated gradients of the log-odds (Sundararajan et al. 2017) from the typical row."""
    start, end = torch.from_numpy(typical.numeric).double(), torch.from_numpy(rows.numeric).double()
    total = torch.zeros_like(end)
    for step in range(STEPS):
        at = (start + (end - start) * (step + 0.5) / STEPS).requires_grad_()
        p = torch.softmax(network(torch.from_numpy(rows.categorical), at).logits, -1)[..., 1]
        p = p.reshape(len(at), -1).mean(dim=1)
        total += torch.autograd.grad(torch.log(p / (1 - p)).sum(), at)[0]
    return ((end - start) * total / STEPS).detach().numpy()


def deletion(bundle: Bundle, rows: Arrays, train: Arrays, contributions: np.ndarray) -> np.ndarray:
    """Mean fall of the log-odds [DELETED] once the strongest one, two, ... columns are those of training rows."""
    draw = np.random.default_rng(1)
    columns = Columns(bundle.encoder)
    order = np.argsort(-contributions, axis=1, kind="stable")
    whole = log_odds(bundle.probability(rows))
    width = rows.categorical.shape[1]
    falls = np.zeros(DELETED)
    for _ in range(DRAWS):
        drawn = draw.integers(0, len(train.numeric), len(whole))
        by = Arrays(train.categorical[drawn], train.numeric[drawn])
        for count in range(1, DELETED + 1):
            gone = np.zeros(contributions.shape, bool)
            np.put_along_axis(gone, order[:, :count], True, axis=1)
            gone = gone[:, columns.of_encoded]
            now = Arrays(
                np.where(gone[:, :width], by.categorical, rows.categorical),
                np.where(gone[:, width:], by.numeric, rows.numeric),
            )
            falls[count - 1] += (whole - log_odds(bundle.probability(now))).mean() / DRAWS
    return falls


if __name__ == "__main__":
    main()
