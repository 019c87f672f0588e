"""A table's draw, fitted by both sides; each result is added to a JSON as soon as it is there."""

import argparse
import fcntl
import json
import logging
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.tables import plain
from benchmarks.tables.catalogue import TABLES
from fraudlab.files import make_once, write_json

QUIET = ("report=false", "logger=none", "trainer=cpu", "trainer.enable_progress_bar=false", "threads=1")


def measure(name: str, seed: int, arguments: argparse.Namespace) -> None:
    """Fit what is not done of the draw ``seed`` of the table ``name``."""
    logging.disable(logging.WARNING)
    sides = [("plain", model) for model in arguments.models if model in plain.MODELS and not arguments.ours]
    sides += [("fraudlab", model) for model in arguments.models]
    done = {
        (line["side"], line["model"]) for line in load(arguments.out) if (line["table"], line["seed"]) == (name, seed)
    }
    if not (sides := [side for side in sides if side not in done]):
        return
    table, part = TABLES[name], "_before_test" if arguments.choose else ""
    path = arguments.folder / f"{name}_{seed}{part}.parquet"
    make_once(path, lambda aside: (table.before_test(seed) if part else table.make(seed)).write_parquet(aside))
    given = [*table.overrides(seed), f"data.path={path}", f"paths.data_dir={arguments.folder / 'cache'}", *QUIET,
             f"seed={seed}", *arguments.set]  # fmt: skip
    for side, model in sides:
        found = _fraudlab(model, given) if side == "fraudlab" else _plain(model, given, seed)
        line = {"table": name, "seed": seed, "side": side, "model": model, **found}
        _add(arguments.out, line)
        print(json.dumps(line), file=sys.stderr, flush=True)


def _add(path: Path, line: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f".{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        write_json(path, [*load(path), line])


def _fraudlab(model: str, given: list[str]) -> dict[str, Any]:
    from fraudlab.api import train

    with tempfile.TemporaryDirectory() as folder:
        wall, cpu = time.perf_counter(), time.process_time()
        metrics = train(f"model={model}", *given, path=Path(folder) / "run").metrics
        share = (time.process_time() - cpu) / (time.perf_counter() - wall)  # others may be using the machine
    found = {part: metrics[part]["average_precision"] for part in ("val", "test")}
    seconds = metrics["train"]["seconds"] * min(share, 1.0)
    return {**found, "seconds": seconds, "epochs": metrics["train"]["best_epoch"]}


def _plain(model: str, given: list[str], seed: int) -> dict[str, Any]:
    """The rows and columns of fraudlab's own split, so that both sides learn from the same."""
    from fraudlab.api import compose
    from fraudlab.data.prepared import prepared_table

    config = compose(*given)
    prepared = prepared_table(config.data, config.features, config.label_delay_days, Path(config.paths.data_dir))
    split = prepared.split(config.split, config.label_delay_days)
    rows: list[np.ndarray] = [split.selection_train, split.validation, split.test]
    source = prepared.source.collect()
    raw = [
        tuple(name for name in names if name in source.columns) for names in (prepared.categorical, prepared.numeric)
    ]
    data = plain.parts(source, *raw, rows)
    facts = {"rows": [len(part) for part in rows], "frauds": [int(label.sum()) for _, label in data]}
    return {**plain.measured(model, data, seed), **facts}


def load(path: Path) -> list[dict[str, Any]]:
    """What ``path`` has, a dictionary a fit."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
