"""A search whose trials are a shell script in the place of ``python -m fraudlab.train``: ready in a moment.

``python standin.py <storage> <folder> <budget> <grace>`` waits for a line on standard input, works at the study and
prints the number and the point of each trial that ended here.
"""

import json
import sys
from pathlib import Path

import optuna

from fraudlab.config.overrides import override
from fraudlab.tuning.samplers import make_sampler
from fraudlab.tuning.search import Stage, run_trials
from fraudlab.tuning.space import read_space
from fraudlab.tuning.stop import Stop
from fraudlab.tuning.storage import open_storage
from fraudlab.tuning.study import on_stale, open_study

SPACE = read_space({"x": {"float": [0.0, 1.0]}, "n": {"int": [1, 1000]}}, "s.yaml")
METRIC = "val.x"
TRIAL = """#!/bin/sh
for word; do case $word in hydra.run.dir=*) folder=${word#*=};; x=*) x=${word#*=};; esac; done
# A trial that is to be killed waits for that.
while [ -e "$folder/../../wait" ]; do sleep 0.05; done
printf '{"val": {"x": %s}}' "$x" > "$folder/metrics.json"
"""


def program(folder: Path) -> str:
    """The script, to stand in the place of ``sys.executable``."""
    path = folder / "python"
    path.write_text(TRIAL)
    path.chmod(0o755)
    return str(path)


def stage(folder: Path, budget: int, **changes) -> Stage:
    settings = {
        "folder": folder / "trials",
        "overrides": lambda trial, drawn: [override(*item) for item in drawn.items()],
        "metrics": [METRIC],
        "space": SPACE,
        "budget": budget,
        "prunes": False,
        "threads": 1,
        "retries": 2,
        "grace": 30,
    }
    return Stage(**{**settings, **changes})


def study(url: str, grace: float = 30, retries: int = 2) -> optuna.Study:
    storage = open_storage(url, grace, on_stale(retries))
    return open_study(storage, "shared", ["maximize"], "same", make_sampler({"name": "random"}, 0))


if __name__ == "__main__":
    url, folder, budget, grace = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    folder.mkdir(exist_ok=True)
    sys.executable = program(folder)
    shared = study(url, grace)
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(3):
        point = {"x": number / 4, "n": number + 1}
        shared.enqueue_trial(point, user_attrs={"start": number}, skip_if_exists=True)
    run_trials(
        stage(folder, budget, grace=grace),
        lambda: study(url, grace),
        jobs=1,
        stop=Stop(),
        on_end=lambda trial, ended: print(json.dumps([trial.number, trial.params["x"], ended.how]), flush=True),
    )
