"""What ``python -m fraudlab.describe`` writes trains unedited: public layouts and real tables."""

import json
import shlex
from pathlib import Path

import pytest

from tests.conftest import Command
from tests.data.description.layouts import LAYOUTS

pytestmark = pytest.mark.slow
REAL = {
    "adult": ("adult/adult.parquet", "data.label=income"),
    "claims": ("vehicle_claims/fraud_oracle.parquet",),
    "handbook": ("handbook/transactions.parquet",),
    "ieee_cis": ("ieee_cis_sample/train_transaction.csv",),
}


def train(command: Command, folder: Path, *words: str) -> None:
    done = command("describe", *words, cwd=folder)
    assert done.returncode == 0, done.stderr
    use = shlex.split(done.stdout.split("use        ")[1])
    assert use[:3] == ["python", "-m", "fraudlab.train"]
    quick = ("model=mlp", "trainer.max_epochs=1", "trainer.limit_train_batches=50", "report=false")
    done = command("train", *use[3:], *quick, "hydra.run.dir=run", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert json.loads((folder / "run" / "metrics.json").read_text())["test"]["roc_auc"] > 0


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_public_layout(command: Command, name: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(LAYOUTS[name]()[0])
    train(command, tmp_path, "data.path=t.csv")


@pytest.mark.parametrize("name", REAL)
def test_a_real_table(command: Command, shared_data: Path, name: str, tmp_path: Path) -> None:
    file, *words = REAL[name]
    train(command, tmp_path, f"data.path={shared_data / file}", *words)
