"""``python -m benchmarks.resume``: kills trainings at random batches and compares how they end with one never killed.

Each of the runs, on a small simulated table, is killed by SIGKILL and resumed until it has been killed often enough;
batches of training, of validation and of scoring count alike. Prints each kill, and at the end how many runs end with
the same weights, optimiser states, predictions, metrics and curves, to the bit.
"""

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from fraudlab.config.overrides import literal
from tests.conftest import REPOSITORY, SMALL
from tests.support.resumed import KILLED, assert_same


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help="over all runs (default 20)")
    parser.add_argument("--each", type=int, default=5, help="kills of a run (default 5)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", nargs="*", default=[], help="overrides, such as trainer=ddp_sim")
    arguments = parser.parse_args()
    draw = random.Random(arguments.seed)  # noqa: S311
    settings = [*SMALL, "batch_size=256", "callbacks.last_checkpoint.every_n_steps=3", "report=false", *arguments.set]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        said = train(folder, 0, *settings, literal("hydra.run.dir", folder / "whole"))
        batches = int(said.rsplit("batches: ", 1)[1].split()[0])
        same, killed, runs = 0, 0, 0
        while killed < arguments.kills:
            run, what = folder / f"run{runs}", [*settings, literal("hydra.run.dir", folder / f"run{runs}")]
            for _ in range(min(arguments.each, arguments.kills - killed)):
                # A fresh run has all of its batches before it; a resumed one at least those of its last stretch.
                at = draw.randint(1, max(batches // arguments.each, 2))
                if (run / "metrics.json").exists():
                    break
                train(folder, at, *what)
                killed += 1
                print(f"run {runs}: killed before its batch {at} ({killed}/{arguments.kills})", flush=True)
                if (run / "config.yaml").exists():
                    what = [literal("resume", run)]
            train(folder, 0, *what)
            assert_same(folder / "whole", run)
            same, runs = same + 1, runs + 1
            shutil.rmtree(run)
        print(f"{same} of {runs} runs, killed {killed} times, end bit for bit as the one never killed")


def train(folder: Path, batches: int, *overrides: str) -> str:
    """What a training says that is killed before its batch number ``batches``, or that ends, for 0."""
    done = subprocess.run(
        [sys.executable, KILLED, *overrides, literal("paths.data_dir", folder / "data")],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "BATCHES": str(batches)},
        capture_output=True,
        text=True,
    )
    if done.returncode != (-9 if batches else 0):
        sys.exit(f"status {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    main()
