"""The run folder: all files of a run, each written whole or not at all."""

import json
import os
import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from fraudlab.config.overrides import literal, to_type
from fraudlab.errors import UserError
from fraudlab.files import replacing, write_json, write_text
from fraudlab.runs.provenance import PACKAGES, git_commit, versions

BLEND = "blend"
"""The model of a run that is made of others; ``blend.json`` in its folder names them."""


@dataclass(frozen=True)
class RunFolder:
    """One run's folder and the paths inside it."""

    path: Path

    @classmethod
    def start(cls, path: Path, config_yaml: str) -> "RunFolder":
        """Begin a run in ``path``, also where one ended before its fit had anything to go on with.

        Raises:
            UserError: another run lies there already, or what a fit left and would take for its own.
        """
        run = cls(path)
        if rank() > 0:  # the first process of a distributed run has begun it
            return run
        if run.metrics_path.exists():
            raise UserError(f"{path} already holds a run; choose another folder (hydra.run.dir=...) or remove that run")
        fits = (run.final, run.selection)
        if any((fit / "fit.json").exists() or any((fit / "checkpoints").glob("*")) for fit in fits):
            go_on = to_type("train", literal("resume", path))
            raise UserError(
                f"{path} holds a run that did not finish; {go_on} continues it, hydra.run.dir=... chooses another "
                "folder"
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
            raise UserError(f"{path} is not a run folder (it has no config.yaml){hint}")
        return run

    @classmethod
    def find(cls, path: Path) -> "RunFolder":
        """A finished run.

        Raises:
            UserError: there is no run in ``path``, or it did not finish.
        """
        run = cls.begun(path)
        if not run.metrics_path.is_file():
            go_on = to_type("train", literal("resume", path))
            raise UserError(f"the run in {path} did not finish (it has no metrics.json); {go_on} continues it")
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

    @property
    def fitted_twice(self) -> bool:
        """Whether the tested model is another one than the model that was scored on validation."""
        return self.selection.is_dir() or bool(self.blend.get("fitted_twice"))

    @property
    def blend(self) -> dict[str, Any]:
        """Content of ``blend.json``; empty where the run is no blend of others."""
        path = self.path / f"{BLEND}.json"
        read: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        return read

    @property
    def members(self) -> "list[tuple[RunFolder, float]]":
        """Of a blend, the runs that it is made of, with their weights, the largest first."""
        return [(RunFolder(Path(m["run"])), m["weight"]) for m in self.blend.get("members", ()) if m["weight"]]

    @property
    def settled_by(self) -> "RunFolder":
        """The run whose settings say which data, features and split are meant: of a blend one of its members."""
        members = self.members
        return RunFolder.find(members[0][0].path) if members else self

    @property
    def validated(self) -> Path:
        """Folder of the model that was scored on validation."""
        return self.selection if self.fitted_twice else self.final

    def predictions_path(self, part: str) -> Path:
        """Parquet of the predictions of ``val``, ``test`` or ``recent``."""
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
        """The predictions of ``val``, ``test`` or ``recent``; no terminals where an earlier version wrote them."""
        found = pl.read_parquet(self.predictions_path(part), glob=False)
        if "terminal_id" not in found.columns:  # of an earlier version
            found = found.with_columns(terminal_id=pl.lit(None, pl.Int64))
        return found

    def write_predictions(self, part: str, predictions: pl.DataFrame) -> None:
        with replacing(self.predictions_path(part)) as aside:
            predictions.write_parquet(aside)

    def write_blend(self, found: Mapping[str, Any]) -> None:
        """Write ``blend.json``."""
        write_json(self.path / f"{BLEND}.json", found)

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
