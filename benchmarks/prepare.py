"""``python -m benchmarks.prepare``: Kaggle's CSV files to encoded arrays, against the same steps in pandas.

The files are simulated in a temporary folder. Ours is ``prepared_table`` with ``features=ieee_cis``, then
``fraudlab.data.encoded``, its cache empty at the start of each round; all that it keeps is written: the table, the
features, the arrays. Theirs is ``benchmarks.prepare_pandas``, which keeps the arrays only, in two ways, each a case:
``plain`` takes what lies before a row by ``groupby().expanding()``, as pandas offers it; ``tuned`` by running sums over
keys made one number, which is several times faster. Both sides are checked to give the same features and arrays before
anything is timed. ``--full``, ``--scale`` and ``--huge`` measure ours alone, each run in a process of its own, against
what the project asks of itself.
"""

import argparse
import functools
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import polars as pl

from benchmarks import prepare_pandas, records
from benchmarks.records import Line
from benchmarks.timing import MIB, by_turns, speed
from fraudlab.config import IEEECISConfig, IEEECISFeaturesConfig
from fraudlab.data.encoded import encode, fit_encoder
from fraudlab.data.prepared import PreparedTable, prepared_table
from fraudlab.data.simulators.ieee_cis import simulate
from fraudlab.data.sources.ieee_cis_columns import table_schema
from fraudlab.features.ieee_cis import IEEECISFeatures
from fraudlab.runs.provenance import peak_memory_bytes

ROWS, FULL = 100_000, 590_540
FITTED = 0.7  # share of the rows that the encoder is fitted on
MOST_SECONDS, MOST_GB, MOST_GB_HUGE, MOST_GROWTH = 60, 5, 12, 11
MOST_APART = 1e-6  # of a feature, in units of its deviation

Arrays = tuple[np.ndarray, np.ndarray]


def main() -> None:
    cases: dict[str, records.Case] = {
        "plain": functools.partial(against_pandas, tuned=False),
        "tuned": functools.partial(against_pandas, tuned=True),
        "full": full,
        "scale": scale,
        "huge": huge,
    }
    parser = records.parser(__doc__ or "", list(cases), "prepare")
    for name in ("full", "scale", "huge"):
        parser.add_argument(f"--{name}", dest="cases", action="append_const", const=name, help=f"add the case {name}")
    parser.add_argument("--memory-of", type=Path, help=argparse.SUPPRESS)  # the folder of a process of its own
    parser.set_defaults(rounds=3)
    arguments = records.parsed(parser)
    if arguments.memory_of:
        print(json.dumps(one_run(arguments.memory_of)))
        return
    if arguments.quick:
        arguments.rounds = 1
    records.measure(arguments, {name: cases[name] for name in arguments.cases or ["plain", "tuned"]})


def against_pandas(arguments: argparse.Namespace, *, tuned: bool) -> list[Line]:
    rows = 3_000 if arguments.quick else ROWS
    with TemporaryDirectory() as folder:
        simulate(Path(folder) / "raw", rows)
        apart = _apart(Path(folder) / "raw", tuned)
        seconds = by_turns(
            {"ours": lambda: ours(Path(folder) / "raw"), "theirs": lambda: theirs(Path(folder) / "raw", tuned)},
            arguments.rounds,
            "cpu",
            f"prepare {rows:,} rows",
        )
    ours_speed, theirs_speed = (speed(seconds[side], rows) for side in ("ours", "theirs"))
    ratio = ours_speed["rows_per_s"] / theirs_speed["rows_per_s"]
    what = f"CSV to arrays, against {'tuned' if tuned else 'plain'} pandas"
    return [{"what": what, "ours": ours_speed, "theirs": theirs_speed, "ratio": ratio, "most_apart": apart}]


def full(arguments: argparse.Namespace) -> list[Line]:
    rows = 3_000 if arguments.quick else FULL
    with TemporaryDirectory() as folder:
        simulate(Path(folder), rows)
        runs = [_alone(Path(folder)) for _ in range(arguments.rounds)]
    seconds, peak = [run["seconds"] for run in runs], max(run["peak_mib"] for run in runs)
    asked: Line = {"rows": rows, "rows_per_s": rows / MOST_SECONDS}
    return [
        {
            "what": f"CSV to arrays, against {MOST_SECONDS} s",
            "ours": speed(seconds, rows),
            "theirs": asked,
            "ratio": MOST_SECONDS / statistics.median(seconds),
        },
        _memory(f"peak memory, against {MOST_GB} GB", peak, MOST_GB),
    ]


def scale(arguments: argparse.Namespace) -> list[Line]:
    small = 300 if arguments.quick else FULL // 10
    seconds: dict[int, list[float]] = {small: [], 10 * small: []}
    with TemporaryDirectory() as folder:
        for rows in seconds:
            simulate(Path(folder) / str(rows), rows)
        for _ in range(arguments.rounds):
            for rows, taken in seconds.items():
                taken.append(_alone(Path(folder) / str(rows))["seconds"])
    few, many = (speed(taken, rows) for rows, taken in seconds.items())
    growth = statistics.median(seconds[10 * small]) / statistics.median(seconds[small])
    what = f"{10 * small:,} rows / {small:,}; the ratio is that of their times, at most {MOST_GROWTH}"
    return [{"what": what, "ours": many, "theirs": few, "ratio": growth}]


def huge(arguments: argparse.Namespace) -> list[Line]:
    rows = 3_000 if arguments.quick else 10 * FULL
    with TemporaryDirectory() as folder:
        simulate(Path(folder), rows)
        run = _alone(Path(folder))
    line = _memory(f"{rows:,} rows: peak memory, against {MOST_GB_HUGE} GB", run["peak_mib"], MOST_GB_HUGE)
    line["ours"] |= speed([run["seconds"]], rows)
    return [line]


def _memory(what: str, peak_mib: float, most_gb: float) -> Line:
    most = most_gb * 1e9 / MIB
    return {"what": what, "ours": {"growth_mib": peak_mib}, "theirs": {"growth_mib": most}, "ratio": most / peak_mib}


def _alone(raw: Path) -> dict[str, float]:
    """One run of ours in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.prepare", "--memory-of", str(raw)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    print(f"{raw.name}  {found['seconds']:.2f} s  {found['peak_mib']:,.0f} MiB", file=sys.stderr, flush=True)
    return found


def one_run(raw: Path) -> dict[str, float]:
    """Seconds from the files to the arrays, and the peak memory of this process."""
    started = time.perf_counter()
    ours(raw)
    return {"seconds": time.perf_counter() - started, "peak_mib": peak_memory_bytes() / MIB}


def ours(raw: Path) -> None:
    with TemporaryDirectory(dir=raw.parent) as cache:
        _encoded(_prepared(raw, Path(cache)))


def theirs(raw: Path, tuned: bool) -> None:
    arrays = _encoded_by_pandas(prepare_pandas.with_features(prepare_pandas.read(raw), tuned=tuned))
    with TemporaryDirectory(dir=raw.parent) as folder:
        for name, array in zip(("categorical", "numeric"), arrays, strict=True):
            np.save(Path(folder) / f"{name}.npy", array)


def _prepared(raw: Path, cache: Path) -> PreparedTable:
    return prepared_table(IEEECISConfig(raw_dir=str(raw)), IEEECISFeaturesConfig(), 0, cache)


def _encoded(table: PreparedTable) -> Arrays:
    label = table.column(table.schema.label)
    assert label is not None
    rows = np.arange(len(label))
    encoder = fit_encoder(table, rows[: int(FITTED * len(rows))], IEEECISFeaturesConfig().encoder)
    arrays = encode(table, rows, encoder)
    return arrays.categorical.numpy(), arrays.numeric.numpy()


def _encoded_by_pandas(frame: pd.DataFrame) -> Arrays:
    features = IEEECISFeatures(table_schema("ieee_cis", simulated=True))
    settings = IEEECISFeaturesConfig().encoder
    assert (settings.scaling, settings.log1p) == ("standard", False)
    assert settings.clip is not None
    return prepare_pandas.encoded(
        frame,
        features.categorical,
        features.numeric,
        fitted=int(FITTED * len(frame)),
        min_count=settings.min_count,
        clip=settings.clip,
    )


def _apart(raw: Path, tuned: bool) -> float:
    """How far the features of both sides lie apart at most, in units of their deviations; ends here where too far."""
    with TemporaryDirectory(dir=raw.parent) as cache:
        table = _prepared(raw, Path(cache))
        frame = prepare_pandas.with_features(prepare_pandas.read(raw), tuned=tuned)
        ours = table.rows(np.arange(len(frame)), table.numeric)
        most = 0.0
        for name in table.numeric:
            a = ours[name].cast(pl.Float64).fill_null(np.nan).to_numpy()
            b = frame[name].to_numpy(np.float64)
            if not np.array_equal(np.isnan(a), np.isnan(b)):
                sys.exit(f"error: {name} is missing in other rows on either side; there is nothing to compare")
            known = ~np.isnan(a)
            if (a[known] != b[known]).any():
                most = max(most, float(np.abs(a - b)[known].max() / max(b[known].std(), 1e-12)))
                if most > MOST_APART:
                    sys.exit(f"error: {name} differs by {most:.2g} of its deviation; there is nothing to compare")
        (ids, numbers), (their_ids, their_numbers) = _encoded(table), _encoded_by_pandas(frame)
    if not np.array_equal(ids, their_ids) or not np.allclose(numbers, their_numbers, rtol=0, atol=10 * MOST_APART):
        sys.exit("error: the encoded arrays differ; there is nothing to compare")
    return most


if __name__ == "__main__":
    main()
