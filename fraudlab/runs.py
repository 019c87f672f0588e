"""The run folder: where everything of a run lies, written whole or not at all."""

import contextlib
import json
import os
import platform
import resource
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from fraudlab.atomic import replacing, write_json, write_text
from fraudlab.config import DOORS, SCHEMAS, EncoderConfig, FitConfig, SelectConfig
from fraudlab.errors import UserError

PACKAGES = (
    *("fraudlab", "torch", "lightning", "pytorch-tabnet", "numpy", "polars", "hydra-core", "omegaconf"),
    *("scikit-learn", "lightgbm", "xgboost-cpu", "xgboost", "catboost"),
)

_OUTPUT_DIR = "${paths.output_dir}"  # as conf/logger says it


@dataclass(frozen=True)
class RunFolder:
    """One run's folder and the paths inside it."""

    path: Path

    @classmethod
    def start(cls, path: Path, config_yaml: str) -> "RunFolder":
        """Begin a run in ``path``.

        Raises:
            UserError: another run lies there already, or what a fit left and would take for its own.
        """
        run = cls(path)
        if rank() > 0:  # the first process of a distributed run has begun it
            return run
        if any((path / name).exists() for name in ("config.yaml", "fit.json", "checkpoints", "selection")):
            raise UserError(
                f"{path} holds a run already; give this one another folder (hydra.run.dir=...) or remove that one"
            )
        write_text(run.config_path, config_yaml)
        return run

    @classmethod
    def begun(cls, path: Path) -> "RunFolder":
        """A run, finished or not.

        Raises:
            UserError: there is no run in ``path``.
        """
        run = cls(path)
        if not run.config_path.is_file():
            near = sorted(folder.parent for folder in Path("outputs").glob("*/*/config.yaml"))[-3:]
            hint = f"; the latest runs here are: {', '.join(map(str, near))}" if near else ""
            raise UserError(f"{path} is no run folder (it has no config.yaml){hint}")
        return run

    @classmethod
    def find(cls, path: Path) -> "RunFolder":
        """A finished run.

        Raises:
            UserError: there is no run in ``path``, or it did not finish.
        """
        run = cls.begun(path)
        if not run.metrics_path.is_file():
            raise UserError(
                f"the run in {path} did not finish (it has no metrics.json); python -m fraudlab.train resume={path} "
                "goes on with it"
            )
        return run

    @property
    def config_path(self) -> Path:
        return self.path / "config.yaml"

    @property
    def metrics_path(self) -> Path:
        return self.path / "metrics.json"

    @property
    def final(self) -> Path:
        """Folder of the tested model: ``checkpoints/`` and ``encoder/`` lie in it."""
        return self.path

    @property
    def selection(self) -> Path:
        """Folder of the model that was scored on validation, where that is another one than the tested model."""
        return self.path / "selection"

    def predictions_path(self, part: str) -> Path:
        """Parquet of the predictions of ``val`` or ``test``."""
        return self.path / "predictions" / f"{part}.parquet"

    def metrics(self) -> dict[str, Any]:
        """Content of ``metrics.json``."""
        read: dict[str, Any] = json.loads(self.metrics_path.read_text(encoding="utf-8"))
        return read

    def provenance(self) -> dict[str, Any]:
        """Content of ``run.json``."""
        read: dict[str, Any] = json.loads((self.path / "run.json").read_text(encoding="utf-8"))
        return read

    def predictions(self, part: str) -> pl.DataFrame:
        """The predictions of ``val`` or ``test`` as they were written."""
        return pl.read_parquet(self.predictions_path(part))

    def write_predictions(self, part: str, predictions: pl.DataFrame) -> None:
        with replacing(self.predictions_path(part)) as aside:
            predictions.write_parquet(aside)

    def write_provenance(self, facts: Mapping[str, Any]) -> None:
        """Write ``run.json``: ``facts`` and what is known of code, packages and machine."""
        write_json(
            self.path / "run.json",
            {
                "command": " ".join([Path(sys.executable).name, *sys.orig_argv[1:]]),
                "git_commit": git_commit(),
                "python": platform.python_version(),
                "platform": platform.platform(),
                "cpus": os.cpu_count(),
                "versions": versions(PACKAGES),
                **facts,
            },
        )


def rank() -> int:
    """Number of this process among those of a distributed run, as launchers tell it; 0 for the only one."""
    return int(os.environ.get("RANK") or os.environ.get("SLURM_PROCID") or os.environ.get("LOCAL_RANK") or 0)


def config_yaml(config: FitConfig | SelectConfig) -> str:
    """The resolved settings of a run as YAML, without what names its folder or says whether it goes on."""
    plain = asdict(config)
    output_dir = plain.pop("paths")["output_dir"]
    plain.pop("resume", None)
    # Loggers write to the run folder, wherever it is moved.
    return yaml.safe_dump(_replaced(plain, output_dir, _OUTPUT_DIR), sort_keys=False)


def load_config(path: Path, door: str = "train") -> Any:
    """The settings that :func:`config_yaml` wrote, typed again: the dataclass of ``door``.

    Raises:
        UserError: the file is no config of a run of this version of fraudlab.
    """
    try:
        plain = yaml.safe_load(path.read_text(encoding="utf-8"))
        plain = _replaced(plain, _OUTPUT_DIR, str(path.parent))
        plain = _replaced(plain, "ddp_shared_memory", "ddp")  # a strategy that older runs used: the same steps
        for group, options in SCHEMAS.items():
            if group not in {field.name for field in fields(DOORS[door])}:
                continue
            settings = plain[group]
            if group == "features":
                settings["encoder"] = EncoderConfig(**settings["encoder"])
            plain[group] = options[settings["name"]](**settings)
        return DOORS[door](**plain)
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} is no config of a run that this version of fraudlab.{door} can read: {error}"
        ) from error


def _replaced(node: Any, old: str, new: str) -> Any:
    """Plain data with every value ``old`` replaced."""
    if isinstance(node, dict):
        return {key: _replaced(value, old, new) for key, value in node.items()}
    return new if node == old else node


def peak_memory_bytes() -> int:
    """Peak resident memory of this process so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def versions(packages: Sequence[str]) -> dict[str, str]:
    """Version of each of ``packages`` that is installed."""
    found = {}
    for package in packages:
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def git_commit() -> str | None:
    """Commit of the checkout the package runs from, with ``+changes`` if files differ; None outside one."""
    where = Path(__file__).parent

    def git(*arguments: str) -> str:
        return subprocess.run(  # noqa: S603
            ["git", *arguments],  # noqa: S607
            cwd=where,
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return None
