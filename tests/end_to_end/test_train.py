"""The commands, driven as a user does, on a small simulated table."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

from fraudlab.cli import conf_dir
from tests.conftest import SMALL, Command

PREDICTIONS = ["transaction_id", "time", "card_id", "terminal_id", "amount", "label", "score"]


@pytest.fixture(scope="module")
def run(command: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "first"
    done = command("train", *SMALL, f"hydra.run.dir={folder}")
    assert done.returncode == 0, done.stderr
    assert "simulated" in done.stdout
    assert f"run folder: {folder}" in done.stdout
    return folder


def test_the_run_folder_has_all_its_parts(run: Path) -> None:
    for part in ("config.yaml", "run.json", "metrics.json", "checkpoints/best.ckpt", "encoder/encoder.json",
                 "selection/checkpoints/best.ckpt", "selection/checkpoints/last.ckpt", "report.html", "train.log",
                 "csv/metrics.csv"):  # fmt: skip
        assert (run / part).is_file(), part
    facts = json.loads((run / "run.json").read_text())
    assert facts["seed"] == 0
    assert facts["simulated"] is True
    assert facts["versions"]["torch"]
    assert not list(run.rglob("*.partial"))


@pytest.mark.parametrize("part", ["val", "test"])
def test_every_figure_can_be_computed_again_from_the_predictions(run: Path, part: str) -> None:
    predictions = pl.read_parquet(run / "predictions" / f"{part}.parquet")
    assert predictions.columns == PREDICTIONS
    metrics = json.loads((run / "metrics.json").read_text())[part]
    label, score = predictions["label"].to_numpy(), predictions["score"].to_numpy().astype(float)
    assert metrics["average_precision"] == pytest.approx(average_precision_score(label, score), abs=1e-9)
    assert metrics["roc_auc"] == pytest.approx(roc_auc_score(label, score), abs=1e-9)
    assert metrics["brier"] == pytest.approx(brier_score_loss(label, score), abs=1e-9)
    assert metrics["log_loss"] == pytest.approx(log_loss(label, score), abs=1e-6)
    assert metrics["rows"] == len(predictions)


def test_evaluate_gets_the_same_figures(command: Command, run: Path) -> None:
    done = command("evaluate", f"run={run}")
    assert done.returncode == 0, done.stderr
    assert "the same metrics" in done.stdout


def test_evaluate_tells_when_figures_differ(command: Command, run: Path, tmp_path: Path) -> None:
    changed = tmp_path / "changed"
    changed.mkdir()
    for part in run.iterdir():
        (changed / part.name).symlink_to(part)
    metrics = json.loads((run / "metrics.json").read_text())
    metrics["test"]["roc_auc"] = 0.123
    (changed / "metrics.json").unlink()
    (changed / "metrics.json").write_text(json.dumps(metrics))
    done = command("evaluate", f"run={changed}")
    assert done.returncode == 1
    assert "test.roc_auc: 0.123 in metrics.json" in done.stderr


def test_the_same_seed_gives_the_same_figures(command: Command, run: Path, tmp_path: Path) -> None:
    done = command("train", *SMALL, f"hydra.run.dir={tmp_path}/again", "report=false")
    assert done.returncode == 0, done.stderr
    first, again = (json.loads((folder / "metrics.json").read_text()) for folder in (run, tmp_path / "again"))
    assert first["val"] == again["val"]
    assert first["test"] == again["test"]


def test_a_run_folder_is_never_overwritten(command: Command, run: Path) -> None:
    before = (run / "metrics.json").read_bytes()
    done = command("train", *SMALL, f"hydra.run.dir={run}")
    assert done.returncode == 1
    assert "already holds a run" in done.stderr
    assert "Traceback" not in done.stderr
    assert (run / "metrics.json").read_bytes() == before


def test_two_processes_match_one(command: Command, tmp_path: Path) -> None:
    """Without dropout and batch statistics, two ranks take the very steps of one process.

    In double precision: a sum in another order then differs so little that no two epochs change places.
    """
    same = ["model=mlp", "model.dropout=0", "model.batch_norm=false", "model.hidden=[32]", "report=false"]
    same += ["eval_batch_size=1000", "trainer.precision=64-true"]
    metrics = []
    for trainer in ("cpu", "ddp_sim"):
        done = command("train", *SMALL, *same, f"trainer={trainer}", f"hydra.run.dir={tmp_path}/{trainer}")
        assert done.returncode == 0, done.stderr
        metrics.append(json.loads((tmp_path / trainer / "metrics.json").read_text()))
    one, two = metrics
    for part in ("val", "test"):
        for name, value in one[part].items():
            assert two[part][name] == pytest.approx(value, abs=1e-6), name
    scores = [pl.read_parquet(tmp_path / t / "predictions" / "test.parquet")["score"] for t in ("cpu", "ddp_sim")]
    assert np.allclose(scores[0], scores[1], atol=1e-6)


STEP = ("trainer.max_epochs=1", "trainer.limit_train_batches=1", "report=false", "logger=none")


@pytest.mark.parametrize("experiment", sorted(file.stem for file in (conf_dir() / "experiment").glob("*.yaml")))
def test_each_experiment_runs(command: Command, tmp_path: Path, experiment: str) -> None:
    on_cards = ["data=ieee_cis_simulated", "data.rows=3000", "batch_size=512"]
    small = on_cards if experiment.startswith("ieee_cis") else SMALL
    done = command("train", f"experiment={experiment}", *small, *STEP, f"hydra.run.dir={tmp_path}/run")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("debug", ["fast", "limit", "overfit", "profile"])
def test_each_debug_config_runs(command: Command, tmp_path: Path, debug: str) -> None:
    small = [override for override in SMALL if "max_epochs" not in override]
    few = ["trainer.limit_train_batches=0.5", "trainer.limit_val_batches=1.0"] if debug == "limit" else []
    done = command("train", *small, f"debug={debug}", "trainer.max_epochs=1", *few, f"hydra.run.dir={tmp_path}/run")
    assert done.returncode == 0, done.stderr
    if debug == "profile":
        assert list((tmp_path / "run").glob("*profile*"))


@pytest.mark.parametrize(
    "overrides",
    [
        ("optimizer=adam", "scheduler=exponential", "loss=focal"),
        ("scheduler=plateau", "refit=false"),
        ("scheduler=constant", "callbacks.ema=null", "callbacks.early_stopping=null"),
        ("trainer.precision=bf16-mixed", "trainer.accumulate_grad_batches=2"),
        ("features.encoder.scaling=quantile_normal", "features.encoder.clip=5"),
        ("split=time_fraction", "split.validation=0.3", "split.test=0.3"),
        ("split=random",),
    ],
    ids=lambda overrides: overrides[0],
)
def test_settings_train(command: Command, tmp_path: Path, overrides: tuple[str, ...]) -> None:
    small = [o for o in SMALL if not (o.startswith("split.") and "split=" in overrides[0])]
    done = command("train", *small, "trainer.max_epochs=1", *overrides, "report=false", f"hydra.run.dir={tmp_path}/run")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "metrics.json").is_file()
    if "split=random" in overrides:
        assert "mixes past and future" in done.stdout + done.stderr


def test_multirun_trains_each_seed(command: Command, tmp_path: Path) -> None:
    done = command("train", "-m", "seed=0,1", *SMALL, *STEP, f"hydra.sweep.dir={tmp_path}")
    assert done.returncode == 0, done.stderr
    scores = [pl.read_parquet(tmp_path / seed / "predictions" / "test.parquet")["score"] for seed in "01"]
    assert scores[0].to_list() != scores[1].to_list()


def test_a_full_disk_leaves_nothing_that_looks_whole(command: Command, tmp_path: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "fraudlab.train",
            *SMALL,
            f"paths.data_dir={tmp_path}/data",
            f"hydra.run.dir={tmp_path}/run",
        ],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)),
        # Without coverage, whose own file would not fit either.
        env={name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")},
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 1
    assert "cannot read or write" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "data").glob("*"))
    assert not (tmp_path / "run" / "metrics.json").exists()


def test_a_split_without_rows_is_one_message(command: Command, tmp_path: Path) -> None:
    done = command("train", *SMALL, "split.train_start=2030-01-01", f"hydra.run.dir={tmp_path}/run")
    assert done.returncode == 1
    assert "split=time_windows has a window without rows" in done.stderr
    assert "the data have 70, 2018-04-01 to 2018-06-09; say split.train_start=" in done.stderr


def test_evaluate_of_no_run_is_one_message(command: Command, tmp_path: Path) -> None:
    done = command("evaluate", f"run={tmp_path}")
    assert done.returncode == 1
    assert "is not a run folder" in done.stderr
    assert "Traceback" not in done.stderr
