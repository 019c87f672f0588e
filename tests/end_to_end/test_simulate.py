"""simulate writes files in Kaggle's form, says what it wrote and how to use it, and overwrites nothing."""

from pathlib import Path

import polars as pl

from tests.conftest import Command


def test_simulate_writes_once(command: Command, tmp_path: Path) -> None:
    arguments = ("dataset=ieee_cis", "rows=2000", f"out={tmp_path}/made", f"hydra.run.dir={tmp_path}/run")
    done = command("simulate", *arguments)
    assert done.returncode == 0, done.stderr
    assert "2,000, simulated data" in done.stdout
    assert "488 rows (24.4%)" in done.stdout
    assert f"python -m fraudlab.train data=ieee_cis data.raw_dir={tmp_path}/made" in done.stdout
    assert "100%" in done.stderr  # the progress bar
    assert sorted(file.name for file in (tmp_path / "made").iterdir()) == [
        "SIMULATED",
        "train_identity.csv",
        "train_transaction.csv",
    ]
    assert len(pl.read_csv(tmp_path / "made" / "train_transaction.csv", columns=["TransactionID"])) == 2_000

    again = command("simulate", *arguments)
    assert again.returncode == 1
    assert "already" in again.stderr
    assert "Traceback" not in again.stderr


def test_mistakes_are_one_message(command: Command, tmp_path: Path) -> None:
    for override, said in (
        ("rows=99", "rows=99 is out of range"),
        ("days=1", "days=1 is out of range"),
        ("dataset=paysim", "it is one of: ieee_cis"),
    ):
        done = command("simulate", override, f"out={tmp_path}/made", f"hydra.run.dir={tmp_path}/run")
        assert done.returncode == 1
        assert said in done.stderr
        assert "Traceback" not in done.stderr
    assert not (tmp_path / "made").exists()


def test_help_shows_examples(command: Command) -> None:
    done = command("simulate", "--help")
    assert done.returncode == 0, done.stderr
    assert "Examples:" in done.stdout
    assert "base_" not in done.stdout
