"""A run that is killed, however often and wherever, ends as one that never was; on one process and on two."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
import torch

from tests.conftest import REPOSITORY, SMALL, Command
from tests.support.commands import Commands
from tests.support.resumed import KILLED, assert_same, compared, differences
from tests.support.server import free_port

SETTINGS = (*SMALL, "batch_size=256", "callbacks.last_checkpoint.every_n_steps=2", "report=false")


Start = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def start(commands: Commands) -> Start:
    """Runs a training that gets a signal at its batch number ``batches``."""

    def run(data: Path, *overrides: str, batches: int = 0, command: tuple[str, ...] = (), **env: str):
        words = [*command, KILLED, *overrides, f"paths.data_dir={data}"]
        own = {"PYTHONPATH": str(REPOSITORY), "BATCHES": str(batches), "OMP_NUM_THREADS": "1"}
        return commands.run(words, data, {**os.environ, **own, **env})

    return run


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def never_killed(start: Start, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "whole"
    done = start(data, *SETTINGS, f"hydra.run.dir={folder}")
    assert done.returncode == 0, done.stderr
    assert "batches: " in done.stdout
    return folder


def test_a_run_killed_again_and_again_ends_the_same(
    start: Start, data: Path, never_killed: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    # In the first epoch; in a validation; in the fit of the tested model.
    assert start(data, *SETTINGS, f"hydra.run.dir={folder}", batches=8).returncode == -9
    interrupted = start(data, f"resume={folder}", batches=20, SIGNAL="SIGINT")
    assert interrupted.returncode == 130
    assert f"stopped by Ctrl-C; continue with: python -m fraudlab.train resume={folder}" in interrupted.stderr
    assert "Traceback" not in interrupted.stderr
    assert start(data, f"resume={folder}", batches=30).returncode == -9
    assert not (folder / "metrics.json").exists()
    done = start(data, f"resume={folder}")
    assert done.returncode == 0, done.stderr
    assert_same(never_killed, folder)
    facts = json.loads((folder / "run.json").read_text())
    assert facts["resumed"] == 3
    assert "data.customers=120" in facts["command"]
    done = start(data, f"resume={folder}")
    assert done.returncode == 0
    assert "has ended" in done.stdout


def test_a_fit_goes_on_with_the_numbers_that_it_began_with(start: Start, data: Path, tmp_path: Path) -> None:
    """As if it had begun under a rule that gave another batch than today's."""
    own = [each.replace("batch_size=256", "batch_size=auto") for each in SETTINGS]
    assert start(data, *own, "test=false", f"hydra.run.dir={tmp_path}/run", batches=8).returncode == -9
    began = tmp_path / "run" / "auto.json"
    numbers = json.loads(began.read_text())
    numbers["batch_size"] *= 4
    began.write_text(json.dumps(numbers))
    done = start(data, f"resume={tmp_path}/run")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "run" / "fit.json").read_text())["auto"] == numbers
    assert json.loads((tmp_path / "run" / "run.json").read_text())["auto"] == numbers
    assert not began.exists()


def test_sigterm_saves_and_a_broken_checkpoint_is_passed_over(
    start: Start, data: Path, never_killed: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    done = start(data, *SETTINGS, f"hydra.run.dir={folder}", batches=17, SIGNAL="SIGTERM")
    assert done.returncode == 143, done.stderr
    assert f"python -m fraudlab.train resume={folder}" in done.stderr
    last = folder / "selection" / "checkpoints" / "last.ckpt"
    last.write_bytes(last.read_bytes()[:-5000])
    moved = tmp_path / "moved"
    shutil.move(folder, moved)
    done = start(data, f"resume={moved}")
    assert done.returncode == 0, done.stderr
    assert "last.ckpt is broken; trying the one before" in done.stdout + done.stderr
    assert_same(never_killed, moved)


def test_ctrl_c_ends_a_multirun_and_says_how_to_go_on(start: Start, data: Path, tmp_path: Path) -> None:
    sweep = ("-m", "seed=0,1", f"hydra.sweep.dir={tmp_path}")
    done = start(data, *sweep, *SETTINGS, batches=17, SIGNAL="SIGINT")
    assert done.returncode == 130, done.stderr
    assert f"continue with: python -m fraudlab.train resume={tmp_path}/0" in done.stderr
    assert done.stderr.count("the runs of this multirun after it were not started") == 1
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "1").exists()


def test_ctrl_c_in_a_fit_of_trees_is_one_message(data: Path, tmp_path: Path) -> None:
    trees = ("model=lightgbm", "model.n_estimators=1000000", "model.early_stopping_rounds=1000000")
    run = subprocess.Popen(
        [sys.executable, "-m", "fraudlab.train", *SMALL, *trees, f"hydra.run.dir={tmp_path}", f"paths.data_dir={data}"],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1"},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    while not (tmp_path / "run.json").is_file():  # all before the fit is done
        assert run.poll() is None
        time.sleep(0.05)
    run.send_signal(signal.SIGINT)
    _, said = run.communicate(timeout=60)
    assert run.returncode == 130, said
    assert f"stopped by Ctrl-C; continue with: python -m fraudlab.train resume={tmp_path}" in said
    assert "Traceback" not in said


def test_a_killed_pretraining_ends_the_same(start: Start, data: Path, tmp_path: Path) -> None:
    settings = (*SETTINGS[:-1], "logger=none")
    for folder, batches in ((tmp_path / "whole", 0), (tmp_path / "killed", 17)):
        done = start(data, *settings, f"hydra.run.dir={folder}", batches=batches, DOOR="pretrain")
        assert done.returncode == (-9 if batches else 0), done.stderr
    done = start(data, f"resume={tmp_path}/killed", DOOR="pretrain")
    assert done.returncode == 0, done.stderr
    begun = shlex.split(done.stdout.split("train from it: ")[1].splitlines()[0])
    assert {word for word in settings if word.startswith(("data.", "split."))} <= {*begun}
    assert begun[-1] == f"model.pretrained={tmp_path}/killed"
    runs = (tmp_path / "whole", tmp_path / "killed")
    states = (torch.load(run / "checkpoints" / "best.ckpt", weights_only=True) for run in runs)
    assert differences(*map(compared, states)) == []
    metrics = [json.loads((run / "metrics.json").read_text()) for run in runs]
    assert metrics[0]["val"] == metrics[1]["val"]
    assert metrics[0]["train"]["reconstruction_loss"] == metrics[1]["train"]["reconstruction_loss"]


@pytest.fixture(scope="module")
def two_processes(start: Start, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Started by Lightning."""
    folder = tmp_path_factory.mktemp("runs") / "two"
    done = start(data, *SETTINGS, "trainer=ddp_sim", f"hydra.run.dir={folder}")
    assert done.returncode == 0, done.stderr
    said = done.stdout + done.stderr
    assert said.count("run folder: ") == said.count("fitting the tested model") == 1
    return folder


def test_two_processes_train_as_one_does(never_killed: Path, two_processes: Path) -> None:
    one, two = (json.loads((run / "metrics.json").read_text()) for run in (never_killed, two_processes))
    assert two["val"]["rows"] == one["val"]["rows"]
    # Each rank keeps running statistics of its own half of a batch, so metrics are near, not equal.
    assert two["test"]["roc_auc"] == pytest.approx(one["test"]["roc_auc"], abs=0.1)


def test_how_rows_are_shuffled_is_the_first_process_choice(
    start: Start, data: Path, two_processes: Path, tmp_path: Path
) -> None:
    """Where the second process has no memory free, it would shuffle blocks by itself."""
    done = start(data, *SETTINGS, "trainer=ddp_sim", f"hydra.run.dir={tmp_path}/run", FULL="1")
    assert done.returncode == 0, done.stderr
    assert_same(two_processes, tmp_path / "run")


def test_a_fit_ends_where_its_other_process_is_killed(start: Start, data: Path, tmp_path: Path) -> None:
    done = start(data, *SETTINGS, "trainer=ddp_sim", f"hydra.run.dir={tmp_path}/run", batches=17, ONLY="1")
    # Lightning looks after its processes every five seconds, and kills a first one that has not ended by then.
    assert done.returncode in (1, -9)
    assert done.returncode == -9 or "error: another process of this fit has ended" in done.stderr
    assert not (tmp_path / "run" / "metrics.json").exists()


def test_two_processes_killed_end_the_same(start: Start, data: Path, two_processes: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert start(data, *SETTINGS, "trainer=ddp_sim", f"hydra.run.dir={folder}", batches=17).returncode == -9
    # SIGTERM reaches the first process only, as from a scheduler; the other one ends with it.
    done = start(data, f"resume={folder}", batches=12, SIGNAL="SIGTERM")
    assert done.returncode == 143, done.stderr
    done = start(data, f"resume={folder}")
    assert done.returncode == 0, done.stderr
    assert_same(two_processes, folder)


def test_two_nodes_of_torchrun_train_as_two_processes_do(
    start: Start, data: Path, two_processes: Path, tmp_path: Path
) -> None:
    """A process each, which find each other at an address; both nodes are this machine."""
    port = free_port()
    here = "127.0.0.1"
    meeting = ("--rdzv-backend=c10d", f"--rdzv-endpoint={here}:{port}", "--rdzv-id=fraudlab", f"--local-addr={here}")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1", *meeting]
    spread = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=1", "trainer.num_nodes=2")
    command = [*torchrun, "-m", "fraudlab.train", *SETTINGS, *spread, f"paths.data_dir={data}"]
    both = [
        subprocess.Popen(
            [*command, f"hydra.run.dir={tmp_path}/run"],
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(2)
    ]
    said = [node.communicate(timeout=300)[0] for node in both]
    assert [node.returncode for node in both] == [0, 0], said
    assert "".join(said).count("run folder: ") == 1
    assert_same(two_processes, tmp_path / "run")
    done = start(data, *SETTINGS, "trainer=ddp_sim", WORLD_SIZE="2", RANK="0")
    assert done.returncode == 1
    assert "2 processes share one run folder: name it, hydra.run.dir=outputs/train/" in done.stderr


def test_slurm_trains_as_lightning_does(data: Path, two_processes: Path, tmp_path: Path) -> None:
    """What srun --ntasks-per-node=2 starts: the same command twice, told apart by SLURM's variables."""
    slurm = {"SLURM_JOB_ID": "70001", "SLURM_JOB_NAME": "fraudlab", "SLURM_NODELIST": "localhost", "SLURM_NODEID": "0",
             "SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2", "MASTER_ADDR": "127.0.0.1"}  # fmt: skip
    command = [sys.executable, "-m", "fraudlab.train", *SETTINGS, "trainer=ddp_sim", f"paths.data_dir={data}"]
    tasks = [
        subprocess.Popen(
            [*command, f"hydra.run.dir={tmp_path}/run"],
            env={**os.environ, **slurm, "OMP_NUM_THREADS": "1", "SLURM_PROCID": task, "SLURM_LOCALID": task},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for task in "01"
    ]
    said = [task.communicate(timeout=300)[0] for task in tasks]
    assert [task.returncode for task in tasks] == [0, 0], said
    assert "run folder" not in said[1]
    assert_same(two_processes, tmp_path / "run")


def test_a_run_goes_on_where_its_data_are_made_again(start: Start, exported: tuple[Path, Path], tmp_path: Path) -> None:
    """Simulated files in another folder, written later, are the same data; killed before its metrics were written."""
    folder = tmp_path / "run"
    shutil.copytree(exported[0], folder)
    (folder / "metrics.json").unlink()
    shutil.rmtree(folder / "predictions")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = start(elsewhere, f"resume={folder}")
    assert done.returncode == 0, done.stderr
    for part in ("val", "test"):
        first, second = (pl.read_parquet(run / "predictions" / f"{part}.parquet") for run in (exported[0], folder))
        assert first.equals(second)


def test_resume_of_no_run_is_one_message(command: Command, tmp_path: Path) -> None:
    done = command("train", f"resume={tmp_path}/nowhere")
    assert done.returncode == 1
    assert re.search(r"nowhere is not a run folder", done.stderr)
    assert not (tmp_path / "nowhere").exists()
