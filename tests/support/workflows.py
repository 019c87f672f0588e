"""What GitHub's workflows run on Linux, run here in a fresh clone: ``python -m tests.support.workflows``, by make.

Each step is a target of make. Those that another step has run are not run again; the whole suite stands aside for
``make test-fast``. Words choose steps: ``docs dist`` runs those targets alone.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

LEFT_OUT = {
    "comment": "writes to GitHub",
    "deploy": "needs a cloud",
    "test-slow": "the suite",
    "coverage": "the suite",
}
SUITE = {"SUITE": "test-fast"}  # of make ci


@dataclass(frozen=True)
class Step:
    """A step of a workflow that runs something.

    Attributes:
        job: its workflow and job.
        run: the command.
        env: its variables; what only GitHub knows is empty, as a variable is there that nobody has set.
        linux: whether its job runs on Linux.
    """

    job: str
    run: str
    env: tuple[tuple[str, str], ...]
    linux: bool

    @property
    def target(self) -> str:
        return self.run.split()[1]


def outside_make() -> dict[str, str]:
    """The variables of this process, without those that make sets for what it starts."""
    return {key: value for key, value in os.environ.items() if key not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "ARGS")}


def content(path: Path) -> dict[str, Any]:
    """A workflow; YAML 1.1 takes its key ``on`` for true."""
    found = yaml.safe_load(path.read_text())
    return {"on" if key is True else key: value for key, value in found.items()}


def steps(repository: Path) -> Iterator[Step]:
    """Those of all workflows, in their order."""
    for path in sorted((repository / ".github" / "workflows").glob("*.yaml")):
        for name, job in content(path)["jobs"].items():
            systems = job.get("strategy", {}).get("matrix", {}).get("os", [job["runs-on"]])
            linux = any(system.startswith("ubuntu") for system in systems)
            for step in job["steps"]:
                if "run" in step:
                    env = {key: "" if "${{" in str(value) else str(value) for key, value in step.get("env", {}).items()}
                    yield Step(f"{path.stem}/{name}", step["run"], tuple(env.items()), linux)


def main(repository: Path, chosen: list[str]) -> int:
    """Run the steps, all or those of some targets, and tell of each; 1 where one failed."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="workflows-") as folder:
        clone = Path(folder) / "clone"
        subprocess.run(["git", "clone", "--quiet", repository, clone], check=True)
        done: dict[Step, str] = {}
        for step in steps(clone):
            same = next((one for one in done if (one.run, one.env) == (step.run, step.env)), None)
            seconds = 0.0
            if not step.linux:
                result = "left out: not of Linux"
            elif step.target in LEFT_OUT:
                result = f"left out: {LEFT_OUT[step.target]}"
            elif chosen and step.target not in chosen:
                result = "left out: not chosen"
            elif same is not None:
                result = f"as in {same.job}: {done[same]}"
            else:
                print(f"--- {step.job}: {step.run}", flush=True)
                started = time.monotonic()
                env = {"CI": "true"} | SUITE | dict(step.env)
                ended = subprocess.run(step.run.split(), cwd=clone, env=outside_make() | env)
                seconds = time.monotonic() - started
                result = done[step] = "passed" if ended.returncode == 0 else f"failed with status {ended.returncode}"
            rows.append((step.job, step.run, f"{seconds:.0f}", result))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        print(*(text.ljust(width) for text, width in zip(row, [*widths, 0], strict=True)), sep="  ")
    return int(any("failed" in row[3] for row in rows))


if __name__ == "__main__":
    sys.exit(main(Path.cwd(), sys.argv[1:]))
