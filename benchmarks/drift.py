"""``python -m benchmarks.drift``: false alarms on weeks without change, power on injected shifts, size of a report.

Weeks without change are dealt of simulated IEEE-CIS rows, 434 columns: what a client does in one week stays together
and goes to a week that is drawn, so that rows depend on each other as they do, and weeks differ by chance alone. The
first weeks are the reference; windows of the others, in order of time, are judged. Each shift is injected into those
windows, and the same windows are judged by evidently's default rule for a whole table (DataDriftPreset of 0.7.23,
written anew here, since its package needs another plotly and takes half a minute a window; ``--peer-python`` holds the
two together on one window of each size). With a reference of more than 1,000 rows a column drifted
where Wasserstein's distance over its deviation, or of a few values Jensen-Shannon's distance, is 0.1 or more; the table
has where half of its columns have.

The size is that of a report on 590,540 simulated rows, with a bundle of LightGBM that has learnt from 20,000. Writes
benchmarks/results/drift.json; with --only the other parts stay as they are there.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from scipy.spatial.distance import jensenshannon
from scipy.stats import binom, wasserstein_distance

from benchmarks.commands import command
from fraudlab.bundle.decision import Decision
from fraudlab.data.simulators.ieee_cis.files import _block
from fraudlab.data.simulators.ieee_cis.plot import SimulationPlan, draw_plot
from fraudlab.exporter.reference import reference, sample_positions
from fraudlab.features.encoder import Arrays, TableEncoder
from fraudlab.files import write_json
from fraudlab.metrics.drift import LEVEL
from fraudlab.monitoring.drift import Reference

SIZES = (200, 1_000, 5_000, 50_000)
WEEKS = 18
REFERENCE = 0.55  # share of the rows
WINDOWS = 200  # of a size
SHIFTED = 20  # windows of a size that a shift is injected into
SIZE = 590_540  # rows of IEEE-CIS's training table
THEIRS = 3  # of those, which evidently's rule judges too: it takes seconds
_DROPPED = ("TransactionID", "isFraud", "TransactionDT")
SHIFTS = ("mean", "category swap", "missing", "tail of 1.5 %", "fraud wave")


class Rows(NamedTuple):
    """Encoded rows in order of time, with what they are dealt by."""

    encoder: TableEncoder
    categorical: np.ndarray
    numeric: np.ndarray
    score: np.ndarray
    fraud: np.ndarray
    block: np.ndarray
    second: np.ndarray

    def take(self, rows: np.ndarray) -> Arrays:
        return Arrays(self.categorical[rows].astype(np.int64), self.numeric[rows])


class Columns:
    """Numeric columns before the encoder, which scales them by a line: the encoded ones do as well."""

    def __init__(self, rows: Rows, taken: np.ndarray) -> None:
        self.columns = list(rows.encoder.numeric)
        self._rows, self._taken = rows, taken

    def __getitem__(self, name: str) -> pl.Series:
        names = self._rows.encoder.numeric_names
        values = self._rows.numeric[self._taken, names.index(name)].astype(np.float64)
        if f"{name}_missing" in names:
            values[self._rows.numeric[self._taken, names.index(f"{name}_missing")] > 0.5] = np.nan
        return pl.Series(name, values)


class Bundle:
    """A bundle as far as drift is judged by it."""

    path, version = Path(), ""

    def __init__(self, rows: Rows, train: np.ndarray) -> None:
        score = rows.score[train]
        thresholds = {"medium": float(np.quantile(score, 0.95)), "high": float(np.quantile(score, 0.99))}
        self.decision = Decision(None, thresholds, {"medium": 50.0, "high": 10.0}, [])
        self.encoder = rows.encoder
        raw = Columns(rows, train[sample_positions(len(train))])
        levels = self.decision.levels(score)
        self.reference = reference(rows.take(train), rows.encoder, raw, score, levels, self.decision)


def blocks(plot: SimulationPlan, count: int) -> Iterator[pl.DataFrame]:
    """The simulator's rows with their identities, some at a time."""
    for first in range(0, count, 20_000):
        transactions, identities = _block(plot, first, min(first + 20_000, count))
        yield transactions.join(identities, on="TransactionID", how="left", maintain_order="left")


def simulated(count: int, days: int) -> Rows:
    """Rows of the simulator; the score tells frauds apart by what it sees of them, and has noise of its own."""
    plot = draw_plot(count, 0, 0.244, days)
    encoder: TableEncoder | None = None
    parts: list[tuple[np.ndarray, ...]] = []
    for frame in blocks(plot, count):
        if encoder is None:
            ids = [f"card{i}" for i in (1, 2, 3, 5)] + ["addr1", "addr2"]
            categorical = [n for n, kind in frame.schema.items() if kind == pl.String or n in ids]
            numeric = [n for n in frame.columns if n not in (*categorical, *_DROPPED)]
            encoder = TableEncoder.fit(frame, categorical, numeric)
        arrays = encoder.transform(frame)
        parts.append((arrays.categorical.astype(np.int16), arrays.numeric, frame["isFraud"].to_numpy()))
    categorical_ids, numbers, fraud = (np.concatenate(part) for part in zip(*parts, strict=True))
    draw = np.random.default_rng(1)
    score = 1 / (1 + np.exp(4 - 2.5 * fraud - draw.normal(size=count) - 0.3 * np.clip(numbers[:, 0], -3, 3)))
    week = (plot.second - plot.second[0]) // (7 * 86_400)
    block = np.unique(plot.client.astype(np.int64) * 1000 + week, return_inverse=True)[1]
    assert encoder is not None
    return Rows(encoder, categorical_ids, numbers, score, fraud, block, plot.second)


def dealt(rows: Rows, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The reference's rows and the later ones, in order of time of weeks that are dealt."""
    week = np.random.default_rng(seed).integers(0, WEEKS, rows.block.max() + 1)[rows.block]
    order = np.lexsort(((rows.second - rows.second[0]) % (7 * 86_400), week))
    cut = int(len(order) * REFERENCE)
    return order[:cut], order[cut:]


def spread(later: np.ndarray, size: int, most: int) -> Iterator[np.ndarray]:
    """Windows of ``size`` rows, none of which share any, spread evenly."""
    count = len(later) // size
    for i in np.unique(np.linspace(0, count - 1, min(most, count)).astype(int)):
        yield later[i * size : (i + 1) * size]


def false_alarms(rows: Rows, deals: int) -> dict[str, Any]:
    found: dict[int, list[bool]] = {size: [] for size in SIZES}
    for seed in range(deals):
        train, later = dealt(rows, seed)
        judge = Reference(bundle := Bundle(rows, train))  # type: ignore[arg-type]
        for size in SIZES:
            for window in spread(later, size, -(-WINDOWS // deals)):
                score = rows.score[window]
                counts = judge.cells.count(rows.take(window), score, bundle.decision.levels(score))
                found[size].append(judge.judge(counts)["alarm"])
        said = ", ".join(f"{size}: {np.mean(alarms):.1%} of {len(alarms)}" for size, alarms in found.items())
        print(f"deal {seed + 1} of {deals}: {said}", flush=True)
    return {
        str(size): {
            "windows": len(alarms),
            "alarms": float(np.mean(alarms)),
            "band": [float(each) / len(alarms) for each in binom.interval(0.95, len(alarms), LEVEL)],
        }
        for size, alarms in found.items()
    }


def shifted(rows: Rows, window: np.ndarray, shift: str, frauds: np.ndarray, draw: np.random.Generator) -> Any:
    """A window's arrays and scores with a shift."""
    arrays, score = rows.take(window), rows.score[window].copy()
    amount = rows.encoder.numeric.index("TransactionAmt")
    product = rows.encoder.categorical.index("ProductCD")
    hit = draw.random(len(window))
    if shift == "mean":  # a fifth of a deviation
        arrays.numeric[:, amount] += 0.2 * arrays.numeric[:, amount].std()
    elif shift == "category swap":  # a tenth of the most frequent value becomes the second
        first, second = np.argsort(-np.bincount(arrays.categorical[:, product]))[:2]
        arrays.categorical[(arrays.categorical[:, product] == first) & (hit < 0.1), product] = second
    elif shift == "missing":  # of a column that is nearly always there: a twentieth of the rows
        name = "D1"
        lost = hit < 0.05
        arrays.numeric[lost, rows.encoder.numeric.index(name)] = 0
        arrays.numeric[lost, rows.encoder.numeric_names.index(f"{name}_missing")] = 1
    elif shift == "tail of 1.5 %":  # amounts beyond all but 1 in 1,000
        arrays.numeric[hit < 0.015, amount] = np.quantile(rows.numeric[:, amount], 0.9995)
    elif shift == "fraud wave":  # 2 % of the rows become frauds of the later weeks
        wave = np.flatnonzero(hit < 0.02)
        taken = draw.choice(frauds, len(wave))
        made = rows.take(taken)
        arrays.categorical[wave], arrays.numeric[wave], score[wave] = made.categorical, made.numeric, rows.score[taken]
    return arrays, score


def evidently(rows: Rows, before: Arrays, now: Arrays) -> tuple[bool, int]:
    """Whether the table has drifted by evidently's default rule, and how many columns have."""
    drifted = 0
    names = rows.encoder.numeric_names
    for i, name in enumerate(rows.encoder.numeric):
        samples = []
        for arrays in (before, now):
            values = arrays.numeric[:, i].astype(np.float64)
            if f"{name}_missing" in names:
                values = values[arrays.numeric[:, names.index(f"{name}_missing")] < 0.5]
            samples.append(values)
        if not len(samples[0]) or not len(samples[1]):
            continue
        values, ids = np.unique(np.concatenate(samples), return_inverse=True)
        if len(values) > 5:
            drifted += wasserstein_distance(*samples) / max(samples[0].std(), 0.001) >= 0.1
        else:
            drifted += _apart(ids[: len(samples[0])], ids[len(samples[0]) :])
    drifted += sum(_apart(one, other) for one, other in zip(before.categorical.T, now.categorical.T, strict=True))
    return drifted >= 0.5 * (len(rows.encoder.numeric) + before.categorical.shape[1]), int(drifted)


def _apart(before: np.ndarray, now: np.ndarray) -> bool:
    ids = int(max(before.max(), now.max())) + 1
    return bool(jensenshannon(np.bincount(before, minlength=ids), np.bincount(now, minlength=ids)) >= 0.1)


def power(rows: Rows) -> dict[str, Any]:
    train, later = dealt(rows, 1000)
    judge = Reference(bundle := Bundle(rows, train))  # type: ignore[arg-type]
    frauds = later[rows.fraud[later] == 1]
    found: dict[str, Any] = {}
    for size in SIZES[:3]:
        draw = np.random.default_rng(size)
        windows = list(spread(later, size, SHIFTED))
        before = rows.take(np.sort(draw.choice(train, min(20_000, len(train)), replace=False)))
        compared = {shift: [0, 0, 0.0, 0] for shift in ("none", *SHIFTS)}
        for shift, counts in compared.items():
            for number, window in enumerate(windows):
                arrays, score = shifted(rows, window, shift, frauds, draw)
                counts[0] += judge.judge(judge.cells.count(arrays, score, bundle.decision.levels(score)))["alarm"]
                if number < THEIRS:
                    drifted, columns = evidently(rows, before, arrays)
                    counts[1] += drifted
                    counts[2] += columns / THEIRS
                    counts[3] += 1
            ours, theirs, columns, tried = counts
            found.setdefault(str(size), {})[shift] = {
                "windows": len(windows),
                "alarms": ours / len(windows),
                "evidently_windows": tried,
                "evidently_alarms": theirs / tried,
                "evidently_columns": columns,
            }
            said = f"evidently's rule {theirs / tried:.0%} of {tried} (columns {columns:.1f})"
            print(f"{size:6} rows, {shift:14} alarms {ours / len(windows):.0%} of {len(windows)}; {said}", flush=True)
    return found


def peer(rows: Rows, python: str) -> dict[str, Any]:
    """How many columns drifted by the rule as written here, and by the package, on the same unchanged windows."""
    train, later = dealt(rows, 1000)
    draw = np.random.default_rng(0)
    before = rows.take(np.sort(draw.choice(train, 20_000, replace=False)))
    found: dict[str, Any] = {"rows": len(rows.score)}
    with tempfile.TemporaryDirectory() as folder:
        paths = [f"{folder}/{name}.parquet" for name in ("reference", *SIZES[:3])]
        windows = [rows.take(next(spread(later, size, 1))) for size in SIZES[:3]]
        for path, arrays in zip(paths, (before, *windows), strict=True):
            columns = Columns(rows._replace(numeric=arrays.numeric), np.arange(len(arrays.numeric)))
            numbers = [columns[name].fill_nan(None).alias(name) for name in columns.columns]
            texts = pl.DataFrame(arrays.categorical, schema=list(rows.encoder.categorical), orient="row").cast(
                pl.String
            )
            pl.DataFrame([*numbers, *texts]).write_parquet(path)
        script = Path(__file__).with_name("drift_evidently.py")
        words, alone = [python, script, *paths], {**os.environ, "PYTHONPATH": ""}
        answers = subprocess.run(words, env=alone, check=True, stdout=subprocess.PIPE, text=True)
    for size, arrays, line in zip(SIZES, windows, answers.stdout.splitlines()[-3:], strict=False):
        theirs = json.loads(line)
        found["version"] = theirs["version"]
        found[str(size)] = {"here": evidently(rows, before, arrays)[1], "package": theirs["drifted"]}
    print(found)
    return found


def material(folder: Path) -> tuple[Path, Path]:
    """A bundle of a model of simulated rows, and a Parquet file of as many rows as IEEE-CIS has."""
    run, bundle, file = folder / "run", folder / "bundle", folder / "rows.parquet"
    data = ["data=ieee_cis_simulated", "data.rows=20000", "features=columns", "split=time_fraction", "model=lightgbm"]
    quiet = ["model.n_estimators=100", "report=false", "logger=none", f"hydra.run.dir={run}"]
    command("train", *data, *quiet, place := f"paths.data_dir={folder}/data")
    command("export", f"run={run}", f"out={bundle}", place)
    always = json.loads((bundle / "schema.json").read_text())["never_missing"]  # a row without one is refused
    plot = draw_plot(SIZE, 1, 0.244, 182)
    parts = folder / "parts"
    parts.mkdir()
    for number, rows in enumerate(blocks(plot, SIZE)):
        rows = rows.with_columns(pl.col(always).fill_null(strategy="forward").fill_null(strategy="backward"))
        rows.drop("isFraud").write_parquet(parts / f"{number:09}.parquet")
    pl.scan_parquet(sorted(parts.iterdir()), glob=False).sink_parquet(file)
    return bundle, file


def size() -> dict[str, Any]:
    """:func:`size_of` on simulated rows."""
    with tempfile.TemporaryDirectory() as folder:
        return size_of(*material(Path(folder)))


def size_of(bundle: Path, file: Path) -> dict[str, Any]:
    """Bytes of the page, seconds and memory of the command on a file."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        words = [f"bundle={bundle}", f"input={file}", f"out={folder}"]
        words = [sys.executable, "-m", "fraudlab.drift", *words]
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)  # of this process alone, not of those that made the material
        seconds = time.perf_counter() - started
        if status:
            raise SystemExit(f"{' '.join(words)} failed")
        page = (Path(folder) / "drift.html").stat().st_size
    rows = pl.scan_parquet(file).select(pl.len()).collect().item()
    found = {"rows": rows, "columns": pl.scan_parquet(file).collect_schema().len(), "page_bytes": page}
    found |= {"seconds": seconds, "cpu_seconds": used.ru_utime + used.ru_stime, "gib": used.ru_maxrss / 2**20}
    print(found)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("false-alarms", "power", "size"))
    parser.add_argument(
        "--peer-python", help="a Python that has evidently: its package judges three windows, and no more is run"
    )
    parser.add_argument("--rows", type=int, default=300_000, help="simulated rows")
    parser.add_argument("--deals", type=int, default=20, help="references; windows of 50,000 rows are 2 of each")
    parser.add_argument("--bundle", type=Path, help="of size, in place of one that is trained on simulated rows")
    parser.add_argument("--file", type=Path, help="Parquet file, of size, in place of simulated rows")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/drift.json"))
    given = parser.parse_args()
    if (given.bundle is None) != (given.file is None):
        parser.error("give --bundle and --file, or neither")
    parts: dict[str, Callable[[], dict[str, Any]]] = {}
    if given.peer_python:
        parts["evidently"] = lambda: peer(simulated(given.rows, 7 * WEEKS), given.peer_python)
        given.only = "evidently"
    elif given.only in (None, "false-alarms", "power"):
        rows = simulated(given.rows, 7 * WEEKS)
        parts["false-alarms"] = lambda: {"rows": given.rows, **false_alarms(rows, given.deals)}
        parts["power"] = lambda: {"rows": given.rows, **power(rows)}
    parts["size"] = size if given.bundle is None else lambda: size_of(given.bundle, given.file)
    found = {name: make() for name, make in parts.items() if given.only in (None, name)}
    before = json.loads(given.out.read_text(encoding="utf-8")) if given.out.is_file() else {}
    write_json(given.out, {**before, "level": LEVEL, **found})


if __name__ == "__main__":
    main()
