"""A run in Weights & Biases: settings, metrics, checkpoint and bundle, where ``logger`` names it.

Curves get there by Lightning's ``WandbLogger``, which writes to the run begun here.
"""

import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from fraudlab.config.plumbing import plumbing
from fraudlab.errors import UserError
from fraudlab.files import write_json
from fraudlab.runs.folder import RunFolder, rank

_NOTE = "wandb.json"  # in the run folder: which run of W&B it is


class Tracked:
    """The run in W&B; nothing at all where ``logger`` does not name W&B, or on another rank than the first."""

    def __init__(self, wandb_run: Any = None) -> None:
        self._run = wandb_run

    def metrics(self, metrics: Mapping[str, Mapping[str, Any]]) -> None:
        """Put the content of ``metrics.json`` into the summary as ``<part>/<metric>``."""
        if self._run is not None:
            flat = {f"{part}/{name}": value for part, metrics in metrics.items() for name, value in metrics.items()}
            self._run.summary.update({name: value for name, value in flat.items() if value is not None})

    def artifact(self, kind: str, folder: Path, *parts: str) -> None:
        """Log ``parts`` of ``folder``, files and folders, as an artifact; all of it where none is named."""
        if self._run is None:
            return
        import wandb

        folder = folder.absolute()
        artifact = wandb.Artifact(f"{kind}-{self._run.id}", type=kind)
        for path in [folder / part for part in parts] or [folder]:
            name = str(path.relative_to(folder))
            # Not copied into a folder of the user's: what is sent, at once or by a later sync, lies in the run folder.
            if path.is_dir():
                artifact.add_dir(str(path), None if path == folder else name, policy="immutable")
            else:
                artifact.add_file(str(path), name, policy="immutable")
        self._run.log_artifact(artifact)


@contextmanager
def begin(logger: Mapping[str, Any] | None, run: RunFolder) -> Iterator[Tracked]:
    """Begin the run in W&B with the settings of ``run``, or go on with it; leaving the context closes it.

    Args:
        logger: the settings of the group ``logger``.
        run: gets ``wandb.json``, which names the run in W&B, and offline everything that would be sent.

    Raises:
        UserError: W&B cannot be reached or refuses.
    """
    settings = next((s for s in (logger or {}).values() if s and s["_target_"].endswith(".WandbLogger")), None)
    if settings is None or rank() > 0:
        yield Tracked()
        return
    import wandb

    note = run.path / _NOTE
    known = json.loads(note.read_text(encoding="utf-8")) if note.is_file() else {}
    folder = {"save_dir": str(run.path.absolute())}
    warnings.filterwarnings("ignore", message="There is a wandb run already in progress")
    try:
        wandb_run = plumbing({**settings, **folder, **known}).experiment
    except wandb.errors.Error as error:
        raise UserError(
            f"logger=wandb: {error}; run `wandb login`, or keep all in the run folder with logger.wandb.offline=true"
        ) from error
    exit_code = 1
    try:
        if not wandb_run.disabled and not known:
            wandb_run.config.update(yaml.safe_load(run.config_path.read_text(encoding="utf-8")))
            write_json(note, {"id": wandb_run.id, "project": wandb_run.project, "offline": wandb_run.offline})
        yield Tracked(wandb_run)
        exit_code = 0
    finally:
        wandb.finish(exit_code=exit_code)


@contextmanager
def go_on(logger: Mapping[str, Any] | None, run: RunFolder) -> Iterator[Tracked]:
    """Go on with the run in W&B that a training began; nothing where it began none."""
    with begin(logger if (run.path / _NOTE).is_file() else None, run) as tracked:
        yield tracked
