"""``make load-test`` in small: Locust's users, and what it leaves."""

import os
import subprocess
import sys
from pathlib import Path

import polars as pl

from tests.conftest import REPOSITORY


def test_users_are_answered_and_the_report_says_so(exported: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "report"
    command = [sys.executable, "-m", "benchmarks.load_test", "--bundle", str(exported[1]), "--out", str(out)]
    command += ["--users", "5", "--seconds", "3", "--wait", "0.05"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "FRAUDLAB_API_KEY": "k" * 32}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    answers = pl.read_csv(out / "answers.csv")
    assert set(answers["status"]) == {200}
    assert 30 < len(answers) < 400  # five users who pause 0.05 s for three seconds
    assert answers["sent_s"].is_between(0, 5).all()
    assert answers["milliseconds"].is_between(0.1, 3000).all()
    page = (out / "report.md").read_text()
    assert f"| requests | {len(answers)} |" in page
    assert f"| requests | {len(answers)} |" in done.stdout
    assert "(simulated data): 5 users" in page
    assert (out / "latency.png").read_bytes().startswith(b"\x89PNG")
    assert "Locust" in (out / "locust.html").read_text()


def test_without_a_bundle_it_says_how_to_make_one(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.load_test"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert "python -m fraudlab.export" in done.stderr
