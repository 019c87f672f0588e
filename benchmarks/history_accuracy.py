"""``python -m benchmarks.history_accuracy``: what the past of every key adds to average precision.

On the Handbook's data (``experiment=handbook``, 92 training days) each model is trained with the 23 features and with
the 34 of ``features=handbook_history`` (``--features proposed``: what ``features=history`` proposes by the roles), for
three validation weeks and five seeds; the test week stays unseen without ``--test``. With
``--tables`` LightGBM gets a table's own columns, then ``features=history``, and the difference an interval: groups of
rows are drawn again, the same for both. Every fit is written to ``--out`` as soon as it is done, and one that stands
there is not done again.

    python -m benchmarks.history_accuracy --models lightgbm --jobs 2
    python -m benchmarks.history_accuracy --models tabnet --weeks 2018-07-18 --seeds 0 1
    python -m benchmarks.history_accuracy --test              # once, at the end: the test week
    python -m benchmarks.history_accuracy --tables            # validation; with --test the test rows
    python -m benchmarks.history_accuracy --report            # the tables of docs/features.md, of what is measured
"""

import argparse
import fcntl
import itertools
import json
import logging
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.tables.found import vehicle
from benchmarks.tables.made import shop
from fraudlab.files import make_once, write_json
from fraudlab.metrics.bootstrap import paired
from fraudlab.metrics.ranking import average_precision
from fraudlab.runs.predictions import groups_of

RESULTS = Path("benchmarks/results/history_accuracy.json")
WEEKS = ("2018-07-11", "2018-07-18", "2018-07-25")
FEATURES = {"23": "handbook_extended", "34": "handbook_history", "proposed": "history"}
QUIET = ("report=false", "logger=none", "trainer=cpu", "trainer.enable_progress_bar=false", "threads=1")
TRAIN_DAYS, DELAY_DAYS, SHIFT_DAYS = 92, 7, 14  # experiment=handbook
TABLES = {
    "handbook": ["data=handbook", "experiment=handbook"],
    "ieee_cis_simulated": ["data=ieee_cis_simulated", "data.rows=150000", "label_delay_days=7"],
    "vehicle": ["data.time=when", "data.terminal=RepNumber", "label_delay_days=30"],
    "shop": ["data.time=when", "data.amount=amount", "data.terminal=ip_block", "label_delay_days=7"],
}
"""Tables with a time and a key: simulated ones, and claims of car insurance by the representative."""
DRAWN = {"vehicle": vehicle, "shop": shop}  # read as a user's own table
RESAMPLES = 1000
TEST = "test"


def main() -> None:
    given = _arguments()
    if not given.report:
        given.data_dir.mkdir(parents=True, exist_ok=True)
        done = [_key(line) for line in load(given.out)]
        wanted = [one for one in (_table_cases if given.tables else _week_cases)(given) if _key(one[0]) not in done]
        with ProcessPoolExecutor(given.jobs, multiprocessing.get_context("spawn")) as pool:
            for ended in as_completed([pool.submit(_measure, *one, given) for one in wanted]):
                ended.result()
    print(report(load(given.out)))


Case = tuple[dict[str, Any], list[list[str]]]
"""What a line of the results is of, and the overrides of its runs; of a table, those without history come first."""


def _week_cases(given: argparse.Namespace) -> Iterator[Case]:
    for model, seed, week, features in itertools.product(given.models, given.seeds, given.weeks, given.features):
        overrides = ["experiment=handbook", f"features={FEATURES[features]}", f"model={model}", f"seed={seed}"]
        if not given.test:
            start = date.fromisoformat(week) + timedelta(days=SHIFT_DAYS - TRAIN_DAYS - DELAY_DAYS)
            overrides += ["test=false", f"split.train_start={start}"]
        yield {"week": week, "model": model, "features": features, "seed": seed}, [overrides]


def _table_cases(given: argparse.Namespace) -> Iterator[Case]:
    for name in given.tables:
        own = ["model=lightgbm", *TABLES[name], *([] if given.test else ["test=false"])]
        if name in DRAWN:
            path = given.data_dir / f"history_{name}.parquet"
            make_once(path, DRAWN[name](0).write_parquet)
            own += ["data=table", f"data.path={path}", "data.label=fraud", "experiment=none", "split=time_fraction"]
        runs = itertools.product(("columns", "history"), given.seeds)
        overrides = [[*own, f"features={features}", f"seed={seed}"] for features, seed in runs]
        yield {"table": name, "part": "test" if given.test else "validation"}, overrides


def _measure(line: dict[str, Any], runs: list[list[str]], given: argparse.Namespace) -> None:
    """Train, and add to ``given.out`` what was found."""
    logging.disable(logging.WARNING)
    started = time.process_time()
    predictions = [_predictions([*overrides, *given.set], given) for overrides in runs]
    found = _single(*predictions) if "week" in line else _compared(predictions)
    line = {**line, **found, "cpu_seconds": round(time.process_time() - started)}
    with given.out.with_name(f".{given.out.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        write_json(given.out, [*load(given.out), line])
    print(json.dumps(line), file=sys.stderr, flush=True)


def _predictions(overrides: Sequence[str], given: argparse.Namespace) -> pl.DataFrame:
    from fraudlab.api import train

    with tempfile.TemporaryDirectory() as folder:
        run = train(*overrides, *QUIET, f"paths.data_dir={given.data_dir}", path=Path(folder) / "run")
        return run.predictions("test" if given.test else "val")


def _single(rows: pl.DataFrame) -> dict[str, Any]:
    return {"average_precision": average_precision(rows["label"].to_numpy(), rows["score"].to_numpy())}


def _compared(predictions: Sequence[pl.DataFrame]) -> dict[str, Any]:
    """Means over seeds without and with history, the difference, and where 95 % of its resamples lie."""
    by, groups = groups_of(predictions[0], None)
    label = predictions[0]["label"].to_numpy()
    scores = [rows["score"].to_numpy() for rows in predictions]
    half = len(scores) // 2
    sides = scores[:half], scores[half:]
    columns, history = (statistics.mean(average_precision(label, score) for score in side) for side in sides)
    drawn = np.array(list(paired(label, sides, groups, RESAMPLES, seed=0)))[:, :, 1]
    low, high = np.nanquantile(drawn[:, 1] - drawn[:, 0], (0.025, 0.975))
    facts = {"rows": len(label), "frauds": int(label.sum()), "groups": by, "seeds": half}
    return {**facts, "columns": columns, "history": history, "low": float(low), "high": float(high)}


def load(path: Path) -> list[dict[str, Any]]:
    """What ``path`` has, a dictionary a line."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []


def _key(line: dict[str, Any]) -> list[Any]:
    return [line.get(name) for name in ("week", "model", "features", "seed", "table", "part")]


def report(lines: Sequence[dict[str, Any]]) -> str:
    """Both tables in Markdown."""
    weeks = sorted({line["week"] for line in lines if "week" in line})
    of_weeks = [f"| model, features | {' | '.join(weeks)} | mean of the weeks |", "|---|" + "---:|" * (len(weeks) + 1)]
    for model in sorted({line["model"] for line in lines if "week" in line}):
        value = {
            features: {(x["week"], x["seed"]): x["average_precision"]
                       for x in lines if (x.get("model"), x.get("features")) == (model, features)}
            for features in FEATURES
        }  # fmt: skip
        for features, runs in ((features, runs) for features, runs in value.items() if runs):
            gains = {case: ap - value["23"][case] for case, ap in runs.items() if case in value["23"]}
            for name, values, sign in (("", runs, ""), (" less 23", gains, "+"))[: 1 + (features != "23")]:
                cells = [_spread([ap for (of, _), ap in values.items() if of == week], sign) for week in weeks]
                mean = _spread([ap for (of, _), ap in values.items() if of != TEST], sign)
                of_weeks.append(f"| {model}, {features}{name} | {' | '.join(cells)} | {mean} |")
    of_tables = ["| table, part | rows, frauds | own columns | history | difference (95 %) |", "|---|" + "---:|" * 4]
    for x in (line for line in lines if "table" in line):
        interval = f"{x['history'] - x['columns']:+.3f} ({x['low']:+.3f} to {x['high']:+.3f})"
        sides = f"{x['columns']:.3f} | {x['history']:.3f}"
        of_tables.append(f"| {x['table']}, {x['part']} | {x['rows']:,}, {x['frauds']:,} | {sides} | {interval} |")
    return "\n".join([*of_weeks, "", *of_tables])


def _spread(values: Sequence[float], sign: str = "") -> str:
    """``0.755 ± 0.004 (5)``: mean and standard deviation of so many."""
    if not values:
        return "–"
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):{sign}.3f}{spread} ({len(values)})"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["lightgbm", "tabnet"])
    parser.add_argument("--features", nargs="+", choices=FEATURES, default=["23", "34"])
    parser.add_argument("--weeks", nargs="+", default=list(WEEKS), metavar="DAY", help="first days of validation weeks")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--tables", nargs="*", choices=TABLES, help=f"instead of weeks: {', '.join(TABLES)}")
    parser.add_argument("--test", action="store_true", help="score the test; nothing may be chosen by it")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="settings of every run")
    parser.add_argument("--out", type=Path, default=RESULTS, help=f"JSON to add to (default {RESULTS})")
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("--jobs", type=int, default=1, help="so many fits at a time, each on one thread")
    parser.add_argument("--report", action="store_true", help="measure nothing, print what --out has")
    given = parser.parse_args()
    if given.tables is not None:
        given.tables = given.tables or list(TABLES)
    if given.test:
        given.weeks = [TEST]
    if given.set and given.out == RESULTS:
        parser.error(f"--set tries settings out; name another file than {RESULTS} with --out")
    return given


if __name__ == "__main__":
    main()
