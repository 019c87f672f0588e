"""Hydra's multirun through its launchers: a run folder a job, one cache for all, and errors that come through."""

import json
import os
import shlex
from pathlib import Path

import pytest

from tests.conftest import SMALL, Command

QUICK = ("trainer.max_epochs=1", "report=false", "logger=none", "loss.fraud_weight=2")

# What submitit asks of SLURM, done on this machine: an array of jobs, each with the variables SLURM would set.
SLURM = {
    "sbatch": """#!/bin/sh
for task in $(sed -n 's/^#SBATCH --array=0-\\([0-9]*\\).*/\\1/p' "$1" | xargs seq 0); do
  SLURM_JOB_ID=70$task SLURM_ARRAY_JOB_ID=7 SLURM_ARRAY_TASK_ID=$task SLURM_PROCID=0 SLURM_LOCALID=0 SLURM_NODEID=0 \\
  SLURM_NTASKS=1 SLURM_NTASKS_PER_NODE=1 SLURM_JOB_NUM_NODES=1 SLURM_JOB_NODELIST=localhost SLURM_JOB_NAME=train \\
  sh "$1" > "$(dirname "$1")/$task.log" 2>&1 &
done
echo Submitted batch job 7
""",
    "srun": """#!/bin/sh
while [ "${1#--}" != "$1" ]; do [ "$1" = --output ] || [ "$1" = --error ] && shift; shift; done
exec "$@"
""",
    "sacct": """#!/bin/sh
printf 'JobID|State|NodeList\\n7_0|RUNNING|localhost\\n7_1|RUNNING|localhost\\n'
""",
}


@pytest.mark.parametrize(
    ("launcher", "settings"),
    [
        ("joblib", ["data.radius=10.001", "hydra.launcher.n_jobs=2"]),
        pytest.param("submitit_local", ["data.radius=10.002"], marks=pytest.mark.slow),  # SLURM's comes by it, too
        ("submitit_slurm", ["data.radius=10.003"]),
    ],
)
def test_a_launcher_trains_each_job_in_its_own_folder(
    command: Command, tmp_path: Path, launcher: str, settings: list[str]
) -> None:
    (tmp_path / "bin").mkdir()
    for name, script in SLURM.items():
        (tmp_path / "bin" / name).write_text(script)
        (tmp_path / "bin" / name).chmod(0o755)
    # Another radius, so that nothing of it is cached: jobs side by side must not disturb each other as they make it.
    jobs = ("seed=3", "model=mlp,lightgbm", f"hydra/launcher={launcher}", *settings)
    done = command("train", "-m", *SMALL, *QUICK, *jobs, f"hydra.sweep.dir={tmp_path}/all",
                env={"PATH": f"{tmp_path}/bin:{os.environ['PATH']}"})  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f"python -m fraudlab.compare runs={tmp_path}/all" in done.stdout
    for job, model in (("0", "mlp"), ("1", "lightgbm")):
        facts = json.loads((tmp_path / "all" / job / "run.json").read_text())
        assert (facts["model"], facts["seed"]) == (model, 3)
        typed = shlex.split(facts["command"])
        assert typed[:3] == ["python", "-m", "fraudlab.train"]
        assert {"seed=3", f"model={model}", settings[0]} < set(typed)
        assert (tmp_path / "all" / job / "metrics.json").is_file()


def test_a_job_that_fails_leaves_the_others_alone_and_is_told(command: Command, tmp_path: Path) -> None:
    jobs = ("model=lightgbm,mlp", "loss=focal", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    done = command("train", "-m", *SMALL, *QUICK[:3], *jobs, f"hydra.sweep.dir={tmp_path}")
    assert done.returncode == 1
    assert "model=lightgbm learns by loss=cross_entropy, not by loss=focal" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "0" / "metrics.json").exists()
    assert (tmp_path / "1" / "metrics.json").is_file()


def test_an_unknown_launcher_is_answered_with_what_to_install(command: Command) -> None:
    done = command("train", "-m", "seed=0,1", "hydra/launcher=slurm")
    assert done.returncode == 1
    assert "submitit_slurm" in done.stderr
    assert "fraudlab[launch]" in done.stderr
    assert "Traceback" not in done.stderr
