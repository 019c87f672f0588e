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
    """The README's claims: its YAML, its command, on a table it describes."""
    folder = tmp_path_factory.mktemp("own")
    draw = np.random.default_rng(0)
    lines = ["claim,year,month,paid,kind,outcome"]
    for claim in range(600):
        fraud = draw.random() < 0.2
        kind, paid = draw.choice(["car", "van", "?"]), draw.gamma(2, 100) + 300 * fraud
        outcome = "fraudulent" if fraud else "genuine"
        lines.append(f"{claim},{2000 + claim // 120},{1 + claim // 10 % 12:02d},{paid:.2f},{kind},{outcome}")
    (folder / "claims.csv").write_text("\n".join(lines) + "\n")
    (folder / "my" / "experiment").mkdir(parents=True)
    (folder / "my" / "experiment" / "claims.yaml").write_text(block("yaml", "claims.csv"))
    words = block("sh", "--config-dir").strip().removeprefix("python -m fraudlab.train ").split()
    done = command("train", *words, "batch_size=64", "hydra.run.dir=run", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "run"


def test_own_data_train(own_data: Path) -> None:
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
