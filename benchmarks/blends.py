"""``python -m benchmarks.blends``: what a blend gives over its best member, over five seeds.

For each seed a model of each kind is trained and all are blended, by the commands' own defaults. The best member is the
kind with the highest mean average precision on validation. Differences are those of means over seeds, with the interval
in which 95 % of resamples of groups of rows leave them. Finished runs are kept, so that only what lacks is trained.

    python -m benchmarks.blends
    python -m benchmarks.blends --experiments vehicle --seeds 0 1
"""

import argparse
import logging
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.tables.catalogue import TABLES
from fraudlab.api import Run, train
from fraudlab.config.overrides import literal
from fraudlab.files import make_once, write_json
from fraudlab.metrics.bootstrap import paired
from fraudlab.runs.folder import RunFolder
from fraudlab.runs.predictions import groups_of

RESULTS = Path("benchmarks/results/blends.json")
DRAWN = ("adult", "vehicle")  # tables of benchmarks.tables, the same draw for each seed
EXPERIMENTS = {
    **{name: TABLES[name].overrides(0) for name in DRAWN},
    "handbook_book": ["experiment=handbook_book"],
}
MODELS = ("tabnet", "mlp", "lightgbm")
QUIET = ("report=false", "logger=none", "trainer=cpu", "trainer.enable_progress_bar=false", "threads=1")
RESAMPLES = 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiments", nargs="+", choices=EXPERIMENTS, default=list(EXPERIMENTS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--folder", type=Path, default=Path("outputs/blends"), help="where runs lie")
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    logging.disable(logging.WARNING)
    given.data_dir.mkdir(parents=True, exist_ok=True)
    found = {}
    for name in given.experiments:
        found[name] = measured(name, given)
        write_json(given.out, {"seeds": given.seeds, "found": found})
    print(report(found))


def measured(name: str, given: argparse.Namespace) -> dict[str, Any]:
    """Train what lacks, then what a blend of each seed gives over the best kind of member."""
    runs: dict[str, list[Path]] = {model: [] for model in (*MODELS, "blend")}
    overrides = [*EXPERIMENTS[name], literal("paths.data_dir", given.data_dir), *QUIET]
    if name in DRAWN:
        path = given.data_dir / f"blends_{name}.parquet"
        make_once(path, TABLES[name].make(0).write_parquet)
        overrides.append(literal("data.path", path))
    for seed in given.seeds:
        for model in MODELS:
            runs[model].append(folder := given.folder / name / f"{model}_{seed}")
            if not (folder / "metrics.json").is_file():
                train(*overrides, f"model={model}", f"seed={seed}", path=folder)
        runs["blend"].append(folder := given.folder / name / f"blend_{seed}")
        if not (folder / "metrics.json").is_file():
            members = f"runs=[{','.join(str(runs[model][-1]) for model in MODELS)}]"
            command = [members, "bundle=false", literal("hydra.run.dir", folder)]
            subprocess.run([sys.executable, "-m", "fraudlab.blend", *command], check=True, stdout=subprocess.DEVNULL)
    each = {
        model: {part: [Run(run).metrics[part]["average_precision"] for run in folders] for part in ("val", "test")}
        for model, folders in runs.items()
    }
    best = max(MODELS, key=lambda model: statistics.mean(each[model]["val"]))
    return {
        "average_precision": each,
        "weights": [{m["model"]: m["weight"] for m in RunFolder(run).blend["members"]} for run in runs["blend"]],
        f"blend less {best}": {part: difference(runs["blend"], runs[best], part) for part in ("val", "test")},
    }


def difference(first: list[Path], second: list[Path], part: str) -> dict[str, Any]:
    """Mean average precision of the first runs less that of the second ones, with its interval."""
    predictions = [[RunFolder(run).predictions(part) for run in runs] for runs in (first, second)]
    rows = predictions[0][0]
    _, groups = groups_of(rows, None)
    scores = [[frame["score"].to_numpy() for frame in side] for side in predictions]
    drawn = np.array(list(paired(rows["label"].to_numpy(), scores, groups, RESAMPLES, seed=0)))[:, :, 1]
    low, high = np.nanquantile(drawn[:, 0] - drawn[:, 1], (0.025, 0.975))
    means = [statistics.mean(Run(run).metrics[part]["average_precision"] for run in runs) for runs in (first, second)]
    return {"rows": len(rows), "difference": means[0] - means[1], "low": float(low), "high": float(high)}


def report(found: dict[str, Any]) -> str:
    """The table of docs/blends.md."""
    lines = ["| experiment | model | validation | test |", "|---|---|---:|---:|"]
    for name, of in found.items():
        for model, parts in of["average_precision"].items():
            cells = [f"{statistics.mean(parts[part]):.4f} ± {statistics.stdev(parts[part]):.4f}" for part in parts]
            lines.append(f"| `{name}` | {model} | {' | '.join(cells)} |")
        against, parts = next((key, value) for key, value in of.items() if key.startswith("blend less"))
        cells = [f"{x['difference']:+.4f} [{x['low']:+.4f}, {x['high']:+.4f}]" for x in parts.values()]
        lines.append(f"| `{name}` | {against} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
