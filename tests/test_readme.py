"""What the README says to type works as written."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import REPOSITORY, Command

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def block(kind: str, part: str) -> str:
    (found,) = [text for language, text in BLOCKS if language == kind and part in text]
    return found


@pytest.fixture(scope="module")
def own_data(command: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The README's claims: described and trained on as it says."""
    folder = tmp_path_factory.mktemp("own")
    draw = np.random.default_rng(0)
    lines = ["claim,filed,paid,kind,recovered,outcome"]
    for claim in range(600):
        fraud = draw.random() < 0.2
        kind, paid = draw.choice(["car", "van", "?"]), draw.gamma(2, 100) + 300 * fraud
        outcome = "fraudulent" if fraud else "genuine"
        recovered = draw.gamma(2, 20) if fraud else 0.0
        lines.append(f"{claim},{1 + claim % 28}.{1 + claim // 50}.2024,{paid:.2f},{kind},{recovered:.2f},{outcome}")
    (folder / "claims.csv").write_text("\n".join(lines) + "\n")
    for line in block("sh", "fraudlab.describe").strip().splitlines():
        name, *words = line.partition(" #")[0].removeprefix("python -m fraudlab.").split()
        quick = [] if name == "describe" else ["trainer.max_epochs=5", "hydra.run.dir=run"]
        done = command(name, *words, *quick, cwd=folder)
        assert done.returncode == 0, done.stderr
    return folder / "run"


def test_own_data_train(own_data: Path) -> None:
    written = (own_data.parent / "my" / "experiment" / "claims.yaml").read_text(encoding="utf-8")
    shown = block("yaml", "claims.csv")
    keys = [line.split("#")[0].rstrip() for line in shown.splitlines() if "(" not in line]
    assert set(keys) <= {line.split("#")[0].rstrip() for line in written.splitlines()}
    report = (own_data / "report.html").read_text(encoding="utf-8")
    assert "imulated data" not in report


def test_python_blocks_run(own_data: Path) -> None:
    code = f"run = {str(own_data)!r}\n" + block("python", "average_precision")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert 0.2 < float(done.stdout) <= 1


TRAININGS = [line for line in block("sh", "fraudlab.evaluate").splitlines() if ".train" in line]


@pytest.mark.parametrize("line", [line for line in TRAININGS if "resume=" not in line])  # which needs a run
def test_training_commands_compose(command: Command, line: str) -> None:
    words = line.split("#")[0].replace("<run>", "run").split()[3:]
    if "-m" in words:  # the first of its jobs
        words = [word.split(",")[0] for word in words if word != "-m"]
    done = command("train", "--cfg", "job", *words)
    assert done.returncode == 0, done.stderr
    assert "average_precision" in done.stdout


@pytest.mark.parametrize("target", sorted(set(re.findall(r"(?:^|`)make ([a-z-]+)", README, re.MULTILINE))))
def test_targets_exist(target: str) -> None:
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^{target}:.*## ", makefile, flags=re.MULTILINE)
