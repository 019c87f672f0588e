"""``python -m benchmarks.sweep``: what a sweep costs a trial beyond its training, and what killing it loses.

Overhead, one trial at a time: the same points are run by a sweep and as plain ``python -m fraudlab.train`` commands.
What the sweep takes longer, a trial, is the study's share: drawing, storing, starting the process, a message for each
of 30 points of the curve, telling the end. Hydra's composition of a trial's settings, which both sides have inside, is
timed apart and added. Not counted: Python's imports, which are the training's, and the sweep's own start, once.

``--kills 20``: a sweep with two trials at once is killed with SIGKILL at random moments, now the sweep, now one of its
trials, and started again each time. Every trial that had finished before a kill must be told, with its own metric, and
never run again; the budget must come out exact. ``--storage=postgresql://...`` puts the study there.

Writes benchmarks/results/sweep.json. Both use a small simulated table and a perceptron.
"""

import argparse
import itertools
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import optuna
import yaml

from fraudlab.config.overrides import literal, override
from fraudlab.files import write_json
from fraudlab.tuning.storage import open_storage
from fraudlab.tuning.study import counted, tries

RESULTS = Path("benchmarks/results/sweep.json")
SMALL = [
    *("data.customers=120", "data.terminals=600", "data.radius=10", "data.days=70"),
    *("split.train_start=2018-05-01", "split.train_days=14", "batch_size=512"),
    *("model=mlp", "model.hidden=[16]", "logger=none", "seed=3", "callbacks.early_stopping=null"),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=20, help="of the overhead's measurement, each side")
    parser.add_argument("--kills", type=int, default=0, help="kill a sweep so often instead")
    parser.add_argument("--storage", help="of the kills: an address instead of SQLite in the sweep's folder")
    parser.add_argument("--seed", type=int, default=0, help="of the moments of killing")
    given = parser.parse_args()
    found = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        if given.kills:
            url = given.storage or f"sqlite:///{folder}/sweep/study.db"
            name = "kills" if given.storage is None else f"kills on {url.partition(':')[0]}"
            found[name] = kills(folder, given.kills, given.seed, url)
            print(json.dumps(found[name], indent=2))
        else:
            found["overhead"] = {"cpus": os.cpu_count(), **overhead(folder, given.trials)}
            print(json.dumps(found["overhead"], indent=2))
    write_json(RESULTS, found)


def definition(folder: Path, epochs: int, **settings: object) -> Path:
    path = folder / "mine.yaml"
    raw = {
        "fixed": [*SMALL, f"trainer.max_epochs={epochs}"],
        "space": {
            "optimizer.lr": {"float": [0.001, 0.05], "log": True},
            "model.dropout": {"float": [0.0, 0.5]},
            "model.batch_norm": {"choice": [True, False]},
        },
        "finalists": 0,
        **settings,
    }
    path.write_text(yaml.safe_dump(raw))
    return path


def overhead(folder: Path, trials: int) -> dict[str, object]:
    path = definition(folder, epochs=30, trials=trials, jobs=1, pruner={"name": "median", "n_startup_trials": 1000})
    data = literal("paths.data_dir", folder / "data")
    train("warm", folder, [*SMALL, "trainer.max_epochs=1"], data)
    shares = []
    for half in range(2):  # sweep, plain, sweep, plain: a machine's mood falls on both
        budget = trials // 2 * (half + 1)
        words = [literal("sweep", path), literal("hydra.run.dir", folder / "sweep"), data, f"trials={budget}"]
        subprocess.run([sys.executable, "-m", "fraudlab.sweep", *words], check=False, capture_output=True)
        study = optuna.load_study(study_name="mine", storage=f"sqlite:///{folder}/sweep/study.db")
        ran = sorted(study.trials, key=lambda trial: trial.number)[budget - trials // 2 :]
        starts = [trial.datetime_start.timestamp() for trial in ran]
        # From one trial's start to the next's; the last has its end instead.
        walls = [after - before for before, after in itertools.pairwise(starts)]
        walls.append((ran[-1].datetime_complete - ran[-1].datetime_start).total_seconds())
        for trial, wall in zip(ran, walls, strict=True):
            drawn = [override(key, value) for key, value in trial.params.items()]
            alone = train(f"alone{trial.number}", folder, [*SMALL, "trainer.max_epochs=30", *drawn], data)
            shares.append(wall - alone)
    composing = composition(path)
    share = statistics.median(shares)
    return {
        "trials": trials,
        "study_seconds_per_trial": share,
        "study_seconds_of_each": shares,
        "composition_seconds_per_trial": composing,
        "overhead_seconds_per_trial": share + composing,
    }


def train(name: str, folder: Path, overrides: list[str], data: str) -> float:
    """Seconds of a plain training as a trial has it."""
    cores = str(len(os.sched_getaffinity(0)))
    quiet = ["report=false", "trainer.enable_progress_bar=false", "test=false"]
    where = [data, literal("hydra.run.dir", folder / name)]
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "fraudlab.train", *quiet, *where, *overrides],
        check=True,
        capture_output=True,
        env={**os.environ, "OMP_NUM_THREADS": cores, "MKL_NUM_THREADS": cores, "POLARS_MAX_THREADS": cores},
    )
    return time.perf_counter() - began


def composition(path: Path) -> float:
    """Median seconds in which Hydra composes and types a trial's settings."""
    import hydra

    from fraudlab import config
    from fraudlab.cli import HYDRA_VERSION_BASE, conf_dir
    from fraudlab.config import SweepConfig
    from fraudlab.tuning.composition import compose, typed
    from fraudlab.tuning.definition import load_definition

    config.register()
    loaded = load_definition(SweepConfig(sweep=str(path)))
    seconds = []
    with hydra.initialize_config_dir(str(conf_dir()), version_base=HYDRA_VERSION_BASE):
        for point in loaded.space.corners() * 5:
            began = time.perf_counter()
            typed(compose(loaded.overrides(point)), [])
            seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def kills(folder: Path, times: int, seed: int, url: str) -> dict[str, object]:
    chance = random.Random(seed)  # noqa: S311
    budget = 3 * times  # more than a fast machine ends between the kills
    path = definition(folder, epochs=3, trials=budget, jobs=2, sampler="random")
    data = literal("paths.data_dir", folder / "data")
    where = [
        literal("sweep", path),
        literal("hydra.run.dir", folder / "sweep"),
        data,
        "grace=3",
        "retries=1000",
        literal("storage", url),
    ]
    command = [sys.executable, "-m", "fraudlab.sweep", *where]
    train("data", folder, [*SMALL, "trainer.max_epochs=1"], data)
    usual = train("usual", folder, [*SMALL, "trainer.max_epochs=3"], data)
    finished: dict[int, tuple[int, float]] = {}
    done = {"sweep": 0, "trial": 0}
    sweep = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while sum(done.values()) < times:
        time.sleep(chance.uniform(0.3, 1.3) * usual)  # some trials end between two kills, others do not
        victims = trial_processes(sweep.pid)
        what = "trial" if victims and chance.random() < 0.4 else "sweep"
        if sweep.poll() is not None:
            raise SystemExit("the sweep ended before it was killed often enough: raise its budget")
        os.kill(chance.choice(victims) if what == "trial" else sweep.pid, signal.SIGKILL)
        done[what] += 1
        finished |= {number: state for number, state in on_disk(folder).items() if number not in finished}
        print(f"kill {sum(done.values())}: the {what}; {len(finished)} of {budget} had finished", flush=True)
        if what == "sweep":
            sweep.wait()
            sweep = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    sweep.wait()
    study = optuna.load_study(study_name="mine", storage=open_storage(url))
    trials = counted(study)
    told = {trial.number: trial.value for trial in trials if trial.state.name == "COMPLETE"}
    now = on_disk(folder)
    lost = [number for number, (_, value) in finished.items() if told.get(number) != value]
    again = [number for number in finished if now.get(number) != finished[number]]
    points = [tuple(sorted(trial.params.items())) for trial in trials]
    return {
        "kills": done,
        "budget": budget,
        "finished": len(told),
        "tried_again": sum(tries(trial) > 1 for trial in trials),
        "finished_before_a_kill": len(finished),
        "lost": lost,
        "run_again": again,
        "trained_to_the_end_in_all": len(now),
        "points_twice": len(points) - len(set(points)),
    }


def on_disk(folder: Path) -> dict[int, tuple[int, float]]:
    """Of each finished trial, when its metrics were written and its value."""
    return {
        int(path.parent.name): (path.stat().st_mtime_ns, json.loads(path.read_text())["val"]["average_precision"])
        for path in (folder / "sweep" / "trials").glob("*/metrics.json")
    }


def trial_processes(parent: int) -> list[int]:
    """Ids of the processes that a sweep started."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if int((folder / "stat").read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(folder.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


if __name__ == "__main__":
    main()
