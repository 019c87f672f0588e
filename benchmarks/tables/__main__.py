"""``python -m benchmarks.tables``: fraudlab's defaults on tables that differ, against plain scripts on the same rows.

Each table is drawn anew for each seed, written to a folder and read as a user's own (``data=table``). A plain script
fits a library's defaults on the training rows and stops on the validation rows. Both sides are scored on the same
validation and test rows. Every fit is written to ``--out`` as soon as it is done, and one that stands there is not done
again. Fits run on one thread each and are timed by the processor time that they get.

    python -m benchmarks.tables --tables words small --models lightgbm mlp --seeds 0 1
    python -m benchmarks.tables --jobs 2                      # two fits at a time
    python -m benchmarks.tables --report                      # what is measured, in Markdown: validation, then test

A choice is made without the test rows, which are left out first, on draws that the report above has not:

    python -m benchmarks.tables --choose --seeds 20 21 --models mlp --set model.members=4 --out /tmp/members.json
"""

import argparse
import multiprocessing
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from benchmarks.tables.catalogue import TABLES
from benchmarks.tables.measure import load, measure
from benchmarks.tables.report import report

MODELS = ("lightgbm", "xgboost", "catboost", "logistic_regression", "mlp", "tabnet", "tabm")
RESULTS = Path("benchmarks/results/tables.json")


def main() -> None:
    arguments = _arguments()
    if arguments.report:
        for part in ("val", "test"):
            print(report(load(arguments.out), load(arguments.plain or arguments.out), part))
        return
    wanted = [(name, seed, arguments) for seed in arguments.seeds for name in arguments.tables]
    if arguments.jobs == 1:
        for one in wanted:
            measure(*one)
        return
    with ProcessPoolExecutor(arguments.jobs, multiprocessing.get_context("spawn")) as pool:
        for done in as_completed([pool.submit(measure, *one) for one in wanted]):
            done.result()


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
    parser.add_argument("--choose", action="store_true", help="leave the test rows out first")
    parser.add_argument("--jobs", type=int, default=1, help="so many fits at a time")
    arguments = parser.parse_args()
    if (arguments.set or arguments.choose) and arguments.out == RESULTS and not arguments.report:
        parser.error(f"--set and --choose try settings out; name another file than {RESULTS} with --out")
    return arguments


if __name__ == "__main__":
    main()
