"""``python -m benchmarks.tables``: fraudlab's defaults on tables that differ, against plain scripts on the same rows.

Each table is drawn anew for each seed, written to a folder and read as a user's own (``data=table``). A plain script
fits a library's defaults on the training rows and stops on the validation rows. Both sides are scored on the same test
rows. Every fit is written to ``--out`` as soon as it is done, and one that stands there is not done again.

    python -m benchmarks.tables --tables words small --models lightgbm mlp --seeds 0 1
    python -m benchmarks.tables --models mlp --set model.members=4 --out /tmp/members.json    # a setting, tried out
    python -m benchmarks.tables --report                                                       # the table in Markdown
"""

import argparse
import json
import logging
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.tables import plain
from benchmarks.tables.catalogue import TABLES, Table
from benchmarks.tables.report import report
from fraudlab.files import write_json

MODELS = ("lightgbm", "xgboost", "catboost", "logistic_regression", "mlp", "tabnet")
QUIET = ("report=false", "logger=none", "trainer=cpu", "trainer.enable_progress_bar=false", "threads=1")
RESULTS = Path("benchmarks/results/tables.json")


def main() -> None:
    arguments = _arguments()
    if arguments.report:
        print(report(load(arguments.out), load(arguments.plain or arguments.out), arguments.part))
        return
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as scratch:
        for seed in arguments.seeds:
            for name in arguments.tables:
                _measure(name, TABLES[name], seed, arguments, Path(scratch))


def _measure(name: str, table: Table, seed: int, arguments: argparse.Namespace, scratch: Path) -> None:
    sides = [("plain", model) for model in arguments.models if model in plain.MODELS and not arguments.ours]
    sides += [("fraudlab", model) for model in arguments.models]
    done = {
        (line["side"], line["model"]) for line in load(arguments.out) if (line["table"], line["seed"]) == (name, seed)
    }
    if not (sides := [side for side in sides if side not in done]):
        return
    path = arguments.folder / f"{name}_{seed}.parquet"
    if not path.is_file():
        arguments.folder.mkdir(parents=True, exist_ok=True)
        table.make(seed).write_parquet(path)
    given = [*table.overrides(seed), f"data.path={path}", f"paths.data_dir={arguments.folder / 'cache'}", *QUIET,
             f"seed={seed}", *arguments.set]  # fmt: skip
    for side, model in sides:
        found = _fraudlab(model, given, scratch) if side == "fraudlab" else _plain(model, given, seed)
        line = {"table": name, "seed": seed, "side": side, "model": model, **found}
        write_json(arguments.out, [*load(arguments.out), line])
        print(json.dumps(line), file=sys.stderr, flush=True)


def _fraudlab(model: str, given: list[str], scratch: Path) -> dict[str, Any]:
    from fraudlab.api import train

    folder = scratch / "run"
    wall, cpu = time.perf_counter(), time.process_time()
    metrics = train(f"model={model}", *given, path=folder).metrics
    share = (time.process_time() - cpu) / (time.perf_counter() - wall)  # others may be using the machine
    shutil.rmtree(folder)
    found = {part: metrics[part]["average_precision"] for part in ("val", "test") if part in metrics}
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
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    there = [name for name, table in TABLES.items() if table.there]
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=there, metavar="TABLE", help=", ".join(TABLES))
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS, metavar="MODEL", help=", ".join(MODELS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="settings of fraudlab's side")
    parser.add_argument("--ours", action="store_true", help="no plain scripts")
    parser.add_argument("--out", type=Path, default=RESULTS, help=f"JSON to add to (default {RESULTS})")
    parser.add_argument("--folder", type=Path, default=Path("data/tables"), help="where tables and their arrays lie")
    parser.add_argument("--report", action="store_true", help="measure nothing, print --out in Markdown")
    parser.add_argument("--plain", type=Path, help="with --report: the JSON that has the plain side, if another")
    parser.add_argument("--part", choices=("val", "test"), default="test", help="with --report: of which rows")
    arguments = parser.parse_args()
    if arguments.set and arguments.out == RESULTS:
        parser.error(f"--set tries settings out; name another file than {RESULTS} with --out")
    return arguments


if __name__ == "__main__":
    main()
