"""``python -m benchmarks.history``: aggregates of ``features=history`` against windows of Polars, DuckDB and pandas.

Fifteen aggregates (number, sum, mean, deviation and largest of an amount over 1, 7 and 30 days) of each card's earlier
transactions, on made-up tables of 60 transactions a card in 180 days. Polars has them by ``rolling(group_by=...,
closed="none")``, DuckDB by three windows of one query over a table of its own, pandas by ``groupby().rolling(...,
closed="neither")``, one call a window. Each case checks that both sides agree before anything is timed. Besides the
time on the clock a line has each side's processor time, which a busy machine changes less. ``scale`` is ours alone: ten
times the rows. ``large`` prepares a Parquet file of ``--rows`` rows in a process of its own, with the label's rate as a
sixteenth, against 8 GB and a million rows a second.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl

from benchmarks import records
from benchmarks.records import Line
from benchmarks.timing import MIB, by_turns, peak_memory, speed
from fraudlab.data.prepared import prepare
from fraudlab.data.sources.contract import Source
from fraudlab.features.history import HistoryFeatures
from fraudlab.schema import Column, TableSchema

ROWS, PANDAS_ROWS, QUICK = 1_000_000, 100_000, 5_000
WINDOWS = ("1d", "7d", "30d")
AGGREGATES = ("count", "sum", "mean", "std", "max")
MOST_APART = 1e-6
MOST_GB, ROWS_PER_S = 8.0, 1e6  # of 50 million rows
SCHEMA = TableSchema(
    "transactions",
    (
        Column("id", "integer", "id"),
        Column("time", "datetime", "time"),
        Column("card", "integer", "card"),
        Column("amount", "number", "amount"),
        Column("fraud", "integer", "label"),
    ),
)


def table(rows: int) -> pl.DataFrame:
    draw = np.random.default_rng(0)
    second = np.sort(draw.choice(180 * 86_400, rows, replace=rows > 15_000_000))  # no two rows share an instant
    return pl.DataFrame(
        {
            "id": np.arange(rows),
            "time": pl.Series(second * 1_000_000).cast(pl.Datetime("us")),
            "card": draw.integers(0, max(rows // 60, 1), rows),
            "amount": np.round(draw.gamma(2.0, 30.0, rows), 2),
            "fraud": (draw.random(rows) < 0.01).astype(np.int8),
        }
    )


def ours(rows: pl.DataFrame) -> pl.DataFrame:
    of = {"count": [], "amount": list(AGGREGATES[1:])}
    features = HistoryFeatures(
        {"keys": {"card": ["card"]}, "windows": WINDOWS, "of": of, "decimals": 2, "prior": 20.0, "delay_days": 7},
        SCHEMA,
    )
    (made,) = features.parts(rows.lazy())
    return made


def by_polars(rows: pl.DataFrame) -> pl.DataFrame:
    amount = pl.col("amount")
    found = [
        rows.rolling("time", period=window, group_by="card", closed="none").agg(
            pl.col("id").len().cast(pl.Float64).alias("count"), amount.sum().alias("sum"), amount.mean().alias("mean"),
            amount.std().alias("std"), amount.max().alias("max"),
        )
        for window in WINDOWS
    ]  # fmt: skip
    return pl.concat([made.select(pl.col(AGGREGATES).name.suffix(w)) for made, w in zip(found, WINDOWS, strict=True)],
                     how="horizontal")  # fmt: skip


def by_duckdb(rows: pd.DataFrame) -> Callable[[], dict[str, np.ndarray]]:
    """The query over a table of DuckDB's own."""
    place = duckdb.connect()
    place.register("given", rows)
    place.execute("CREATE TABLE t AS SELECT * FROM given")
    sql = {"count": "count(*)", "std": "stddev_samp(amount)", "mean": "avg(amount)", "sum": "sum(amount)"}
    columns = [f"{sql.get(a, f'{a}(amount)')} OVER w{w} AS {a}{w}" for w in WINDOWS for a in AGGREGATES]
    windows = [
        f"w{w} AS (PARTITION BY card ORDER BY time RANGE BETWEEN INTERVAL {int(w[:-1]) * 86_400_000_000 - 1} "
        "MICROSECONDS PRECEDING AND INTERVAL 1 MICROSECOND PRECEDING)"
        for w in WINDOWS
    ]
    query = f"SELECT id, {', '.join(columns)} FROM t WINDOW {', '.join(windows)}"  # noqa: S608
    return lambda: place.execute(query).fetchnumpy()


def by_pandas(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    made = {}
    for window in WINDOWS:
        amount = rows.groupby("card", sort=True).rolling(window.upper(), on="time", closed="neither")["amount"]
        made[window] = pd.DataFrame({what: getattr(amount, what)() for what in AGGREGATES})
    return made


def _check(rows: pl.DataFrame, theirs: np.ndarray, what: str) -> None:
    """Refuse to time sides that differ; ``theirs`` is ordered by card, then time, and by window, then aggregate."""
    found = ours(rows).with_columns(rows["card"]).sort("card", maintain_order=True)
    names = [f"card_count_{w}" if a == "count" else f"card_amount_{a}_{w}" for w in WINDOWS for a in AGGREGATES]
    apart = np.abs(found.select(names).fill_null(0.0).to_numpy() - np.nan_to_num(theirs)).max(initial=0.0)
    if not apart <= MOST_APART:
        raise SystemExit(f"error: {what} differs by {apart:g}")


def _compared(
    arguments: argparse.Namespace, what: str, sides: dict[str, Callable[[], Any]], rows: dict[str, int]
) -> list[Line]:
    used: dict[str, list[float]] = {name: [] for name in sides}

    def counted(name: str) -> Callable[[], None]:
        def run() -> None:
            started = time.process_time()
            sides[name]()
            used[name].append(time.process_time() - started)

        return run

    seconds = by_turns({name: counted(name) for name in sides}, arguments.rounds, "cpu", what)
    line: Line = {"what": what}
    for name in sides:
        line[name] = {**speed(seconds[name], rows[name]), "cpu_seconds": used[name][1:]}
    line["ratio"] = line["ours"]["rows_per_s"] / line["theirs"]["rows_per_s"]
    by_cpu = [rows[name] / float(np.median(used[name][1:])) for name in ("ours", "theirs")]
    line["ratio_cpu"] = by_cpu[0] / by_cpu[1]
    print(f"{what}: {line['ratio']:.2f} x by the clock, {line['ratio_cpu']:.2f} x by processor time; "
          f"ours {by_cpu[0]:,.0f} rows a processor's second")  # fmt: skip
    return [line]


def against_polars(arguments: argparse.Namespace) -> list[Line]:
    rows = table(QUICK if arguments.quick else ROWS)
    theirs = by_polars(rows)
    cards = rows.rolling("time", period="1d", group_by="card", closed="none").agg()["card"]  # in the order of `theirs`
    by_card = theirs.with_columns(cards).sort("card", maintain_order=True).drop("card")
    _check(rows, by_card.fill_null(0.0).to_numpy(), "Polars")
    sides: dict[str, Callable[[], Any]] = {"ours": lambda: ours(rows), "theirs": lambda: by_polars(rows)}
    return _compared(arguments, "15 aggregates, against Polars", sides, dict.fromkeys(sides, len(rows)))


def against_pandas(arguments: argparse.Namespace) -> list[Line]:
    rows = table(QUICK if arguments.quick else PANDAS_ROWS)
    frame = pd.DataFrame({name: rows[name].to_numpy() for name in rows.columns})
    made = by_pandas(frame)
    theirs = np.hstack([made[window][list(AGGREGATES)].to_numpy() for window in WINDOWS])
    _check(rows, theirs, "pandas")
    sides: dict[str, Callable[[], Any]] = {"ours": lambda: ours(rows), "theirs": lambda: by_pandas(frame)}
    return _compared(arguments, "15 aggregates, against pandas", sides, dict.fromkeys(sides, len(rows)))


def against_duckdb(arguments: argparse.Namespace) -> list[Line]:
    rows = table(QUICK if arguments.quick else ROWS)
    run = by_duckdb(pd.DataFrame({name: rows[name].to_numpy() for name in rows.columns}))
    made = {name: np.ma.filled(values.astype(np.float64), np.nan) for name, values in run().items()}
    order = np.lexsort((made["id"], rows["card"].to_numpy()[made["id"].astype(np.int64)]))
    _check(rows, np.column_stack([made[f"{a}{w}"][order] for w in WINDOWS for a in AGGREGATES]), "DuckDB")
    sides: dict[str, Callable[[], Any]] = {"ours": lambda: ours(rows), "theirs": run}
    return _compared(arguments, "15 aggregates, against DuckDB", sides, dict.fromkeys(sides, len(rows)))


def scale(arguments: argparse.Namespace) -> list[Line]:
    small = QUICK if arguments.quick else ROWS // 2
    tables = {"ours": table(10 * small), "theirs": table(small)}
    sides: dict[str, Callable[[], Any]] = {name: (lambda rows=rows: ours(rows)) for name, rows in tables.items()}
    return _compared(arguments, "ten times the rows", sides, {name: len(rows) for name, rows in tables.items()})


def large(arguments: argparse.Namespace) -> list[Line]:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "t.parquet"
        table(QUICK if arguments.quick else arguments.rows).write_parquet(file, row_group_size=65_536)
        command = [sys.executable, "-m", "benchmarks.history", "--memory-of", str(file)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    most = MOST_GB * 1e9 / MIB
    by_cpu = found["rows"] / found["cpu_seconds"]
    print(f"{found['rows']:,} rows through files: {found['rows_per_s']:,.0f} rows/s of {ROWS_PER_S:,.0f} at least, "
          f"{by_cpu:,.0f} a processor's second; peak of the process {found['peak_mib']:,.0f} MiB of {most:,.0f}; "
          f"{found['files_mib']:,.0f} MiB of features")  # fmt: skip
    ours_ = {**found, "growth_mib": found["peak_mib"]}
    what = f"{found['rows']:,} rows through files; the ratio is of memory"
    theirs = {"rows_per_s": ROWS_PER_S, "growth_mib": most}
    return [{"what": what, "ours": ours_, "theirs": theirs, "ratio": most / found["peak_mib"]}]


def prepared(file: Path) -> dict[str, float]:
    """Seconds and memory of this process to prepare a table of a file."""
    of = {"count": [], "amount": list(AGGREGATES[1:]), "label": [{"aggregate": "rate", "windows": ["7d"]}]}
    settings = {"name": "history", "keys": {"card": ["card"]}, "windows": WINDOWS, "of": of}
    settings |= {"decimals": 2, "prior": 20.0, "delay_days": 7}
    source = Source(pl.scan_parquet(file), SCHEMA, "made-up")
    took: list[float] = []

    def run() -> None:
        started = time.perf_counter(), time.process_time()
        prepare(source, HistoryFeatures(settings, SCHEMA), settings, file.parent / "cache")
        took.extend((time.perf_counter() - started[0], time.process_time() - started[1]))

    peak = peak_memory(run, "cpu")
    rows = int(source.frame.select(pl.len()).collect().item())
    files = sum(made.stat().st_size for made in (file.parent / "cache").rglob("*.parquet"))
    seconds, cpu = took
    return {**peak, "rows": rows, "seconds": seconds, "cpu_seconds": cpu, "rows_per_s": rows / seconds,
            "files_mib": files / MIB}  # fmt: skip


def main() -> None:
    cases: dict[str, records.Case] = {
        **{"polars": against_polars, "duckdb": against_duckdb, "pandas": against_pandas},
        **{"scale": scale, "large": large},
    }
    parser = records.parser(__doc__ or "", list(cases), "history")
    parser.set_defaults(rounds=3)
    parser.add_argument("--rows", type=int, default=5_000_000, help="of the case large (default 5,000,000)")
    parser.add_argument("--memory-of", type=Path, help=argparse.SUPPRESS)  # the file of a process of its own
    arguments = records.parsed(parser)
    if arguments.memory_of:
        print(json.dumps(prepared(arguments.memory_of)))
        return
    chosen = arguments.cases or list(cases)
    records.measure(arguments, {name: cases[name] for name in chosen})


if __name__ == "__main__":
    main()
