"""``python -m benchmarks.scaling``: one process against one and two workers of Ray, and what a billion rows would cost.

Prepares history features (fifteen aggregates of each card, through files) and scores rows of 22 columns with TabNet.
What starting Ray takes is counted apart. The model of a billion rows rests on processor time, which a busy machine
changes less than the time on the clock: what one process spends on all counts as tasks, what the command's process
spends while workers do the tasks is serial. t(n) = serial + tasks / n; nothing of that size was run.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl

from benchmarks.commands import command
from benchmarks.history import AGGREGATES, SCHEMA, WINDOWS, table
from fraudlab.bundle import load
from fraudlab.bundle.scoring import score_file
from fraudlab.data.prepared import prepare
from fraudlab.data.sources.contract import Source
from fraudlab.engines import Engine, InThreads
from fraudlab.engines.on_ray import OnRay, ray_cluster
from fraudlab.features.history import HistoryFeatures
from fraudlab.files import write_json

BILLION = 1_000_000_000
NUMBERS = [f"n{i}" for i in range(16)]
HISTORY: dict[str, Any] = {
    **{"name": "history", "keys": {"card": ["card"]}, "windows": list(WINDOWS), "decimals": 2, "prior": 20.0},
    **{"of": {"count": [], "amount": list(AGGREGATES[1:])}, "delay_days": 7},
}


def wide(rows: int) -> pl.DataFrame:
    """The table of benchmarks.history with sixteen numbers, four categories and a label that follows two of them."""
    draw = np.random.default_rng(1)
    numbers = {name: draw.normal(size=rows).astype(np.float32) for name in NUMBERS}
    words = {f"c{i}": pl.Series(draw.integers(0, 20, rows)).cast(pl.String) for i in range(4)}
    risk = numbers["n0"] + numbers["n1"] + draw.normal(size=rows)
    return table(rows).with_columns(**numbers, **words, fraud=(risk > 4).astype(np.int8))


def bundle_of(file: Path, folder: Path) -> Path:
    """A TabNet of one epoch of the first rows."""
    few = folder / "few.parquet"
    pl.scan_parquet(file).head(100_000).sink_parquet(few)
    roles = ("id=id", "time=time", "card=card", "amount=amount", "label=fraud")
    data = ["data=table", f"data.path={few}", *(f"data.{role}" for role in roles), f"paths.data_dir={folder}/data"]
    quick = ("features=columns", "split=time_fraction", "model=tabnet", "trainer.max_epochs=1", "report=false")
    command("train", *data, *quick, "refit=false", "logger=none", f"hydra.run.dir={folder}/run")
    command("export", f"run={folder}/run", f"out={folder}/bundle", f"paths.data_dir={folder}/data")
    return folder / "bundle"


def seconds_of(work: Callable[[Path], Any], folder: Path, rounds: int) -> tuple[list[float], list[float]]:
    """On the clock, and of this process's work; of rounds after the first, in which workers import what they need."""
    took = []
    for _ in range(rounds + 1):
        with TemporaryDirectory(dir=folder) as place:
            started = time.perf_counter(), time.process_time()
            work(Path(place))
            took.append((time.perf_counter() - started[0], time.process_time() - started[1]))
    clock, own = zip(*took[1:], strict=True)
    return list(clock), list(own)


def sized(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--address", help="of a Ray cluster of two CPUs (default: one is started)")
    parser.add_argument("--price", type=float, default=0.05, help="of a core's hour (default 0.05)")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/scaling.json"))
    given = parser.parse_args()
    with TemporaryDirectory(prefix="scaling_") as made:
        folder = Path(made)
        wide(given.rows).write_parquet(file := folder / "t.parquet")
        bundle = load(bundle_of(file, folder))
        source = Source(pl.scan_parquet(file), SCHEMA, "made-up")
        found: dict[str, dict[str, Any]] = {"prepare": {}, "predict": {}}
        bytes_a_row: dict[str, float] = {"table": file.stat().st_size / given.rows}

        def prepared(engine: Engine) -> Callable[[Path], Any]:
            def work(place: Path) -> None:
                prepare(source, HistoryFeatures(HISTORY, SCHEMA), HISTORY, place, 2.0, engine)
                bytes_a_row["features"] = sized(place) / given.rows

            return work

        def scored(engine: Engine) -> Callable[[Path], Any]:
            return lambda place: score_file(bundle, file, place / "scores.parquet", 1, None, engine)

        began = time.perf_counter()
        with ray_cluster(given.address, *((None, None) if given.address else (2, 500))):
            start = time.perf_counter() - began
            engines: dict[str, Engine] = {"one process": InThreads(), "1 worker": OnRay(2), "2 workers": OnRay(1)}
            for name, engine in engines.items():
                for what, work in (("prepare", prepared(engine)), ("predict", scored(engine))):
                    clock, own = seconds_of(work, folder, given.rounds)
                    rate = given.rows / statistics.median(clock)
                    found[what][name] = {"seconds": clock, "own_cpu_seconds": own, "rows_per_s": rate}
                    cpu = statistics.median(own)
                    print(f"{what}  {name:12} {rate:12,.0f} rows/s; {cpu:6.2f} s of the command's own", flush=True)
    cost = {what: modelled(sides, given.rows, given.price) for what, sides in found.items()}
    print(f"Ray starts in {start:.1f} s; bytes a row: {json.dumps({k: round(v, 1) for k, v in bytes_a_row.items()})}")
    facts = {"rows": given.rows, "measured": found, "ray_starts_s": start, "bytes_a_row": bytes_a_row, "billion": cost}
    write_json(given.out, facts)


def modelled(sides: dict[str, Any], rows: int, price: float) -> dict[str, Any]:
    """Hours and cost of a billion rows by number of cores."""
    tasks, serial = (statistics.median(sides[name]["own_cpu_seconds"]) for name in ("one process", "2 workers"))
    found: dict[str, Any] = {"serial_s_per_million": serial / rows * 1e6, "tasks_s_per_million": tasks / rows * 1e6}
    for cores in (2, 16, 64):
        hours = (serial + tasks / cores) / rows * BILLION / 3600
        cost = hours * cores * price
        found[f"{cores} cores"] = {"hours": hours, "cost": cost}
        print(f"  a billion rows on {cores:3} cores: {hours:6.2f} h, {cost:6.2f} at {price} a core's hour")
    return found


if __name__ == "__main__":
    main()
