"""``python -m benchmarks.results``: every experiment of the README's table over three seeds, as mean and deviation.

Each run is the command a user would type. Runs that are finished already (outputs/results/<name>/seed<n>) are kept,
so the table can be made again from its run folders. Writes benchmarks/results/metrics.json and prints the table.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path

from tqdm import tqdm

from fraudlab.config.overrides import literal
from fraudlab.files import write_json

EXPERIMENTS = {
    "handbook_book": ["experiment=handbook_book"],
    "handbook_book_mlp": ["experiment=handbook_book", "model=mlp"],
    "handbook": ["experiment=handbook"],
}
SEEDS = (0, 1, 2)
METRICS = ("average_precision", "roc_auc", "card_precision_at_100", "recall_at_fpr_0.01")
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
    for name, result in results.items():
        print(f"\n{name}  (python -m fraudlab.train {' '.join(EXPERIMENTS[name])})")
        for part in ("val", "test"):
            cells = [f"{key} {result[part][key]['mean']:.4f} ± {result[part][key]['std']:.4f}" for key in METRICS]
            print(f"  {part:4s} " + "   ".join(cells))
        print(f"  training {result['train_seconds']['mean']:.0f} s")


def summary(name: str) -> dict[str, object]:
    """Mean and standard deviation (n - 1) over the seeds of an experiment's metrics."""
    metrics = [json.loads((OUTPUT / name / f"seed{seed}" / "metrics.json").read_text()) for seed in SEEDS]
    facts = json.loads((OUTPUT / name / f"seed{SEEDS[0]}" / "run.json").read_text())

    def spread(values: list[float]) -> dict[str, object]:
        return {"mean": statistics.mean(values), "std": statistics.stdev(values), "values": values}

    return {
        "command": f"python -m fraudlab.train {' '.join(EXPERIMENTS[name])}",
        "simulated": facts["simulated"],
        "data_fingerprint": facts["data_fingerprint"],
        **{part: {key: spread([m[part][key] for m in metrics]) for key in METRICS} for part in ("val", "test")},
        "train_seconds": spread([m["train"]["seconds"] for m in metrics]),
    }


if __name__ == "__main__":
    main()
