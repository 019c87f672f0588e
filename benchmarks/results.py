"""``python -m benchmarks.results``: every experiment of the README's table over five seeds, as mean and deviation.

Each run is the command a user would type. Runs that are finished already (outputs/results/<name>/seed<n>) are kept,
so the table can be made again from its run folders. Writes benchmarks/results/metrics.json and prints the tables of
docs/results.md in Markdown, with a second deviation: how far another test week like this one would move a mean.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from fraudlab.config.overrides import literal
from fraudlab.files import write_json
from fraudlab.metrics.bootstrap import RESAMPLED_METRICS, paired
from fraudlab.runs.folder import RunFolder
from fraudlab.runs.predictions import groups_of

EXPERIMENTS = {
    "handbook_book": ["experiment=handbook_book"],
    "handbook_book_mlp": ["experiment=handbook_book", "model=mlp"],
    "handbook_book_lightgbm": ["experiment=handbook_book", "model=lightgbm"],
    "handbook": ["experiment=handbook"],
    "handbook_lightgbm": ["experiment=handbook", "model=lightgbm"],
}
NAMES = {
    "handbook_book": "TabNet, 15 features, 7 training days",
    "handbook_book_mlp": "perceptron, 15 features, 7 training days",
    "handbook_book_lightgbm": "LightGBM, 15 features, 7 training days",
    "handbook": "TabNet, 23 features, 92 training days",
    "handbook_lightgbm": "LightGBM, 23 features, 92 training days",
}
SEEDS = (0, 1, 2, 3, 4)
METRICS = ("roc_auc", "average_precision", "card_precision_at_100", "recall_at_fpr_0.01")
RESAMPLES = 1000
OUTPUT = Path("outputs/results")


def main() -> None:
    runs = [(name, seed) for name in EXPERIMENTS for seed in SEEDS]
    for name, seed in tqdm(runs, desc="runs"):
        folder = OUTPUT / name / f"seed{seed}"
        if not (folder / "metrics.json").is_file():
            command = [
                *EXPERIMENTS[name],
                f"seed={seed}",
                literal("hydra.run.dir", folder),
                "trainer.enable_progress_bar=false",
            ]
            subprocess.run([sys.executable, "-m", "fraudlab.train", *command], check=True, stdout=subprocess.DEVNULL)
    results = {name: summary(name) for name in EXPERIMENTS}
    machine = {"cpus": os.cpu_count(), "platform": platform.platform()}
    write_json(Path("benchmarks/results/metrics.json"), {"machine": machine, "seeds": SEEDS, "results": results})
    for part in ("test", "val"):
        print(
            f"\n{part}: mean ± deviation over seeds {', '.join(map(str, SEEDS))} (± over other weeks like this one)\n"
        )
        print("| model | AUC ROC | AP | CP@100 | recall at 1 % FPR | made by |\n|---|---|---|---|---|---|")
        for name, result in results.items():
            print(f"| **{NAMES[name]}** | {' | '.join(cells(result[part]))} | `{result['command']}` |")
    print(f"\ntest AP / AUC of each seed\n\n| model | {' | '.join(f'seed {s}' for s in SEEDS)} | training |")
    print("|---" * (len(SEEDS) + 2) + "|")
    for name, result in results.items():
        values = zip(result["test"]["average_precision"]["values"], result["test"]["roc_auc"]["values"], strict=True)
        each = " | ".join(f"{ap:.4f} / {auc:.4f}" for ap, auc in values)
        print(f"| {NAMES[name]} | {each} | {result['train_seconds']['mean']:.0f} s |")


def cells(metrics: dict[str, Any]) -> list[str]:
    """``0.689 ± 0.007 (± 0.012)`` of each metric; the second deviation where there is one."""
    found = []
    for key in METRICS:
        value = metrics[key]
        week = f" (± {value['week_std']:.3f})" if "week_std" in value else ""
        found.append(f"{value['mean']:.3f} ± {value['std']:.3f}{week}")
    return found


def summary(name: str) -> dict[str, Any]:
    """Mean and standard deviation (n - 1) over the seeds of an experiment's metrics, and the deviation over weeks."""
    metrics = [json.loads((OUTPUT / name / f"seed{seed}" / "metrics.json").read_text()) for seed in SEEDS]
    facts = json.loads((OUTPUT / name / f"seed{SEEDS[0]}" / "run.json").read_text())

    def spread(values: list[float]) -> dict[str, Any]:
        return {"mean": statistics.mean(values), "std": statistics.stdev(values), "values": values}

    parts = {part: {key: spread([m[part][key] for m in metrics]) for key in METRICS} for part in ("val", "test")}
    for part, found in parts.items():
        predictions = [RunFolder(OUTPUT / name / f"seed{seed}").predictions(part) for seed in SEEDS]
        _, groups = groups_of(predictions[0], None)
        scores = [frame["score"].to_numpy() for frame in predictions]
        drawn = np.array(list(paired(predictions[0]["label"].to_numpy(), [scores], groups, RESAMPLES, 0)))
        for key, std in zip(RESAMPLED_METRICS, drawn[:, 0].std(axis=0, ddof=1), strict=True):
            found[key]["week_std"] = float(std)

    return {
        "command": f"python -m fraudlab.train {' '.join(EXPERIMENTS[name])}",
        "simulated": facts["simulated"],
        "data_fingerprint": facts["data_fingerprint"],
        **parts,
        "train_seconds": spread([m["train"]["seconds"] for m in metrics]),
    }


if __name__ == "__main__":
    main()
