"""The command: its folder, its figures against independent ones, its policies, and that it goes on after any end."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import load_file
from sklearn.metrics import average_precision_score, roc_auc_score

from fraudlab.api import load_run
from tests.conftest import SMALL, Command

STEPS = ["2018-05-08", "2018-05-15", "2018-05-22"]
SLICES = "slices={night: [TX_DURING_NIGHT]}"
QUICK = ("backtest.steps=3", "backtest.resamples=100", "backtest.jobs=1")
TREES = (*SMALL, "model=lightgbm", "model.num_leaves=4", SLICES, *QUICK)
pytestmark = pytest.mark.long

Made = Callable[..., tuple[Path, str]]


@pytest.fixture(scope="module")
def made(command: Command, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Run a backtest in a folder of its own; its folder and what it printed."""

    def run(*overrides: str, folder: Path | None = None) -> tuple[Path, str]:
        folder = folder or tmp_path_factory.mktemp("backtest")
        done = command("backtest", *overrides, f"hydra.run.dir={folder}")
        assert done.returncode == 0, done.stderr
        return folder, done.stdout

    return run


@pytest.fixture(scope="module")
def fresh(made: Made) -> tuple[Path, str]:
    return made(*TREES)


def metrics(folder: Path) -> dict:
    return json.loads((folder / "metrics.json").read_text())


def page(folder: Path) -> str:
    """The page without the seconds that trainings took."""
    return re.sub(r'<span class="time">[^<]*</span>', "", (folder / "backtest.html").read_text())


def test_metrics_are_those_of_the_predictions(fresh: tuple[Path, str]) -> None:
    folder, printed = fresh
    found = metrics(folder)
    assert [step["start"] for step in found["steps"]] == STEPS
    for step in found["steps"]:
        run = load_run(folder / step["run"])
        rows = run.predictions("test")
        assert str(rows["time"].min())[:10] >= step["start"]
        assert str(rows["time"].max())[:10] < step["stop"]
        assert step["average_precision"] == pytest.approx(average_precision_score(rows["label"], rows["score"]))
        assert step["roc_auc"] == pytest.approx(roc_auc_score(rows["label"], rows["score"]))
        assert step["intervals"]["average_precision"][0] < step["average_precision"]
        assert step["intervals"]["average_precision"][1] > step["average_precision"]
        assert run.metrics["test"]["average_precision"] == step["average_precision"]
    often = found["choices"][0]
    assert (often["name"], often["fits"]) == ("every 7 days", 3)
    assert often["average_precision"]["value"] == pytest.approx(
        np.mean([step["average_precision"] for step in found["steps"]])
    )
    assert often["seconds"] == pytest.approx(sum(step["train_seconds"] for step in found["steps"]))
    assert "Cost of training less often" in printed
    assert "simulated data" in printed
    assert "Simulated data." in page(folder)
    assert len(page(folder)) < 1e6


def test_slices_are_of_all_windows_together(fresh: tuple[Path, str]) -> None:
    folder, _ = fresh
    told = {each["value"]: each for each in metrics(folder)["slices"]["night"]}
    rows = []
    for start in STEPS:
        run = folder / "steps" / start
        threshold = json.loads((run / "slices.json").read_text())["threshold"]
        alerts = load_run(run).predictions("test").with_columns(alert=pl.col("score").cast(pl.Float64) >= threshold)
        rows.append(alerts.with_columns(pl.read_parquet(run / "slices" / "test.parquet")))
    whole = pl.concat(rows).filter(pl.col("label") == 0)
    rates = {value: some["alert"].mean() for (value,), some in whole.group_by("night")}
    assert rates == {value: each["false_positive_rate"]["value"] for value, each in told.items()}
    assert "FPR ratio to the others" in page(folder)


def test_a_table_of_ones_own_without_cards_and_amounts(made: Made, tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    day, number = np.sort(draw.integers(0, 60, 3000)), draw.normal(size=3000)
    frame = {
        "when": [date(2024, 1, 1) + timedelta(days=int(d)) for d in day],
        "known": [date(2024, 1, 1) + timedelta(days=int(d) + 9) for d in day],
        "x": number,
        "fraud": (draw.random(3000) < 1 / (1 + np.exp(3 - 2 * number))).astype(int),
    }
    pl.DataFrame(frame).write_csv(tmp_path / "t.csv")
    table = ("data=table", f"data.path={tmp_path}/t.csv", "data.label=fraud", "data.time=when", "data.label_time=known")
    other = ("experiment=none", "features=columns", "split=time_fraction", "model=logistic_regression")
    folder, printed = made(*table, *other, "backtest.step_days=5", "backtest.steps=2", *QUICK[1:])
    found = metrics(folder)
    assert [step["saved"] for step in found["steps"]] == [None, None]
    assert found["label_times"]
    assert found["drawn"]["by"] == "day"
    assert "saved" not in printed
    assert found["steps"][0]["drawn"]["groups"] == 5
    assert found["steps"][0]["intervals"]["average_precision"] is None
    assert "none for 2 of 2 windows" in page(folder)
    assert "or at their own time" in page(folder)


def test_an_older_model_scores_with_the_limits_it_learnt(made: Made, tmp_path: Path) -> None:
    """Against one longer window: its model has learnt from the same rows as that of the first of two steps."""
    draw = np.random.default_rng(1)
    day = np.sort(draw.integers(0, 60, 3000))
    fraud = draw.random(3000) < 0.2
    # Most frauds have amounts of 200 and more, and from the 43rd day on of 100 to 200, which only the second step knows
    # when it learns its limit.
    large = np.where(day < 42, draw.uniform(200, 300, 3000), draw.uniform(100, 200, 3000))
    amount = np.where(fraud & (draw.random(3000) < 0.7), large, draw.uniform(0, 90, 3000))
    when = [date(2024, 1, 1) + timedelta(days=int(d)) for d in day]
    frame = {"when": when, "shop": draw.integers(0, 40, 3000), "amount": amount, "fraud": fraud.astype(int)}
    pl.DataFrame(frame).write_csv(tmp_path / "t.csv")
    table = ("data=table", f"data.path={tmp_path}/t.csv", "data.label=fraud", "data.time=when", "label_delay_days=1")
    features = (
        "features=history",
        "features.keys={shop: [shop]}",
        "features.of={label: [{aggregate: count, windows: [30d], where: 'amount < learnt'}]}",
        "features.windows=[30d]",
    )
    other = ("experiment=none", *features, "split=time_fraction", "model=logistic_regression", *QUICK[1:])
    both, _ = made(*table, *other, "backtest.step_days=5", "backtest.steps=2")
    once, _ = made(*table, *other, "backtest.step_days=10", "backtest.steps=1")
    later = load_run(both / "steps" / "2024-02-25").predictions("test")["transaction_id"]
    whole = load_run(once / "steps" / "2024-02-20").predictions("test")
    expected = whole.filter(pl.col("transaction_id").is_in(later.implode()))["score"]
    found = pl.read_parquet(both / "scores" / "2024-02-25.parquet")["2024-02-20"]
    np.testing.assert_array_equal(found, expected)


def test_a_step_is_a_run_like_any_other(fresh: tuple[Path, str], command: Command) -> None:
    done = command("evaluate", f"run={fresh[0] / 'steps' / STEPS[1]}")
    assert done.returncode == 0, done.stderr
    assert "the same metrics" in done.stdout


def test_training_once_is_what_the_policy_none_does(fresh: tuple[Path, str], made: Made) -> None:
    once = metrics(fresh[0])["choices"][-1]
    assert (once["name"], once["fits"]) == ("once, at the first step", 1)
    folder, _ = made(*TREES, "backtest.policy=none", "report=true")
    found = metrics(folder)
    assert once["by_step"]["average_precision"] == [step["average_precision"] for step in found["steps"]]
    assert once["by_step"]["saved"] == pytest.approx([step["saved"] for step in found["steps"]])
    assert [step["train_seconds"] for step in found["steps"]][1:] == [0, 0]
    assert len({step["cost_threshold"] for step in found["steps"]}) == 1
    last = load_run(folder / "steps" / STEPS[2]).predictions("test")
    alert = last["score"].cast(pl.Float64) >= found["steps"][2]["cost_threshold"]
    fraud, amount = last["label"] == 1, last["amount"]
    cost = 2.5 * alert.sum() + amount.filter(fraud & ~alert).sum()
    base = min(amount.filter(fraud).sum(), 2.5 * len(last))
    assert found["steps"][2]["cost_savings"] == pytest.approx(1 - cost / base)
    assert all((folder / step["run"] / "report.html").is_file() for step in found["steps"])


def test_a_frozen_ensemble_is_the_mean_of_its_models(fresh: tuple[Path, str], made: Made, command: Command) -> None:
    folder, printed = made(*TREES, "backtest.policy=frozen")
    for number, start in enumerate(STEPS):
        own = load_run(folder / "models" / start).predictions("test")["score"].to_numpy()
        earlier = pl.read_parquet(folder / "scores" / f"{start}.parquet")
        assert earlier.columns == STEPS[:number]
        mean = np.mean([own, *earlier.to_numpy().T], axis=0, dtype=np.float64)
        found = load_run(folder / "steps" / start).predictions("test")["score"].to_numpy()
        np.testing.assert_allclose(found, mean, rtol=1e-6)
        # Windows move by whole layouts: a member of the ensemble is the model of the fresh backtest.
        alone = load_run(fresh[0] / "steps" / start).predictions("test")["score"].to_numpy()
        np.testing.assert_array_equal(own, alone)
    assert "all models together" in printed
    done = command("evaluate", f"run={folder / 'steps' / STEPS[2]}")
    assert done.returncode == 0, done.stderr


def test_a_warm_start_takes_over_the_weights_of_the_step_before(made: Made) -> None:
    still = ("optimizer=adam", "optimizer.lr=1e-30", "scheduler=constant", "trainer.max_epochs=1", "callbacks.ema=null")
    network = ("model=mlp", "model.hidden=[4]", "model.batch_norm=false", "backtest.jobs=1", "backtest.resamples=100")
    folder, _ = made(*SMALL, *network, *still, "backtest.policy=warm", "backtest.steps=2")
    first, second = (load_run(folder / "steps" / start) for start in STEPS[1:])
    assert load_encoder(first.path) == load_encoder(second.path)
    for name, weight in first.network().state_dict().items():
        np.testing.assert_allclose(weight, second.network().state_dict()[name], rtol=1e-6, err_msg=name)
    assert [choice["every"] for choice in metrics(folder)["choices"]] == [1, 2]


def load_encoder(run: Path) -> bytes:
    return b"".join(value.tobytes() for _, value in sorted(load_file(run / "encoder" / "encoder.safetensors").items()))


def killed(overrides: tuple[str, ...], folder: Path, data: Path, until: Callable[[], bool]) -> None:
    """Begin a backtest, and end its first process without a warning once something is so."""
    words = ["-m", "fraudlab.backtest", *overrides, f"hydra.run.dir={folder}", f"paths.data_dir={data}"]
    with subprocess.Popen([sys.executable, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while not until() and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)


def goes_on(command: Command, overrides: tuple[str, ...], folder: Path, data: Path) -> None:
    done = command("backtest", *overrides, f"hydra.run.dir={folder}", f"paths.data_dir={data}")
    assert done.returncode == 0, done.stderr


def test_a_backtest_that_was_killed_ends_with_the_same_page(
    fresh: tuple[Path, str], command: Command, small_data: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "killed"
    killed(TREES, folder, small_data, lambda: (folder / "steps" / STEPS[0] / "fit.json").is_file())
    assert not (folder / "metrics.json").exists()
    done = command("backtest", *TREES, f"hydra.run.dir={folder}", f"paths.data_dir={small_data}", "seed=7")
    assert done.returncode == 1
    assert "seed: 0, now 7" in done.stderr
    kept = (folder / "steps" / STEPS[0] / "fit.json").stat().st_mtime_ns
    goes_on(command, TREES, folder, small_data)
    assert (folder / "steps" / STEPS[0] / "fit.json").stat().st_mtime_ns == kept
    assert without_command(page(folder)) == without_command(page(fresh[0]))


def without_command(found: str) -> str:
    """The page without the folders that its command names."""
    return re.sub(r"<th scope=\"row\">command</th>.*", "", found)


@pytest.mark.slow
def test_a_backtest_killed_at_ten_moments_ends_with_the_same_page(
    command: Command, small_data: Path, tmp_path: Path
) -> None:
    often = ("callbacks.last_checkpoint.every_n_steps=5",)
    steps = ("backtest.steps=3", "backtest.resamples=100", "backtest.jobs=2")
    overrides = (*SMALL, "model=mlp", *steps, *often)
    whole = tmp_path / "whole"
    goes_on(command, overrides, whole, small_data)
    folder = tmp_path / "killed"
    for more in np.random.default_rng(0).integers(1, 6, 10):  # so many files later each time
        files = len(list(folder.rglob("*"))) + more
        killed(overrides, folder, small_data, lambda files=files: len(list(folder.rglob("*"))) >= files)
    goes_on(command, overrides, folder, small_data)
    assert without_command(page(folder)) == without_command(page(whole))
    for step in (whole / "steps").iterdir():
        for part in ("val", "test"):
            one, other = (pl.read_parquet(root / "steps" / step.name / f"predictions/{part}.parquet")
                          for root in (whole, folder))  # fmt: skip
            assert one.equals(other)


def test_two_backtests_do_not_work_in_one_folder(command: Command, tmp_path: Path) -> None:
    import fcntl

    with (tmp_path / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = command("backtest", *TREES, f"hydra.run.dir={tmp_path}")
    assert done.returncode == 1
    assert "another backtest is running in" in done.stderr


@pytest.mark.slow
def test_a_worker_that_dies_is_told_and_what_ended_is_kept(made: Made, command: Command, tmp_path: Path) -> None:
    (tmp_path / "dies.py").write_text(
        "import os, signal\nfrom dataclasses import dataclass\n"
        "from fraudlab.metrics.registry import register_metric\n"
        "def measure(rows):\n"
        "    if rows.day is not None and rows.day.min() > 17666:\n        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return 0.0\n"
        "register_metric('dies', measure, higher_is_better=None)\n"
    )
    env = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    words = (*TREES, "backtest.jobs=2", "plugins=[dies]", f"hydra.run.dir={tmp_path}/run")
    done = command("backtest", *words, env=env)
    assert done.returncode == 1
    assert "its process was killed" in done.stderr
    assert "the same command continues from there" in done.stderr
    assert (tmp_path / "run" / "steps" / STEPS[0] / "metrics.json").is_file()
