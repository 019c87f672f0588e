"""Checkpoints as files: written aside and renamed, checked when read, and the last one kept with the one before."""

import io
import logging
import zipfile
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io import TorchCheckpointIO
from torch import Tensor

from fraudlab.errors import UserError
from fraudlab.files import replacing
from fraudlab.runs.formats import upgraded

log = logging.getLogger(__name__)

LAST, PREVIOUS = "last.ckpt", "previous.ckpt"
KEEP_PREVIOUS = {"keep_previous": True}
"""Storage options of a save that keeps what it replaces as ``previous.ckpt``, and that may fail."""


class CheckpointFiles(TorchCheckpointIO):
    """How a trainer saves: a path holds the old checkpoint or the whole new one, whenever the process is killed."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write ``checkpoint`` to ``path``; ``storage_options`` is None or :data:`KEEP_PREVIOUS`.

        Raises:
            OSError: the disk fails; with :data:`KEEP_PREVIOUS` that is a warning, and the older checkpoints stay.
        """
        path = Path(path)
        written = io.BytesIO()  # torch tells of a full disk in exceptions of its own; a write of bytes does not
        torch.save(checkpoint, written)
        try:
            with replacing(path) as aside:
                aside.write_bytes(written.getbuffer())
                if storage_options == KEEP_PREVIOUS and path.exists():
                    path.replace(path.with_name(PREVIOUS))
        except OSError as error:
            if storage_options != KEEP_PREVIOUS:
                raise
            log.warning("cannot save %s: %s; the run goes on, and a resume would start earlier", path, error.strerror)


def newest_whole(folder: Path) -> Path | None:
    """The newest checkpoint of a fit that is not broken; None where the fit has saved none.

    Args:
        folder: holds ``last.ckpt`` and ``previous.ckpt``.

    Raises:
        UserError: there are such, and each of them is broken.
    """
    there = [path for path in (folder / LAST, folder / PREVIOUS) if path.exists()]
    for path in there:
        if whole(path):
            return path
        log.warning("%s is broken%s", path, "; trying the one before" if path.name == LAST else "")
    if there:
        raise UserError(
            f"no checkpoint to go on from in {folder} can be read; remove {' and '.join(p.name for p in there)} there "
            "to start this fit from its beginning"
        )
    return None


def whole(path: Path) -> bool:
    """Whether a file is a checkpoint with every byte that was saved, and holds plain data only."""
    try:
        with zipfile.ZipFile(path) as archive:  # torch.load leaves the checksums alone
            if archive.testzip() is not None:
                return False
        torch.load(path, map_location="meta", weights_only=True)
    except Exception:  # torch and zipfile raise a handful of unrelated types for a broken file
        return False
    return True


def load_checkpoint(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What rebuilds a network and its weights, from a checkpoint; read without unpickling objects.

    Raises:
        UserError: the file is missing, truncated or no checkpoint of fraudlab.
    """
    if not path.is_file():
        raise UserError(f"there is no checkpoint {path}")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        weights = {
            name.removeprefix("network."): weight
            for name, weight in checkpoint["state_dict"].items()
            if name.startswith("network.")
        }
        rebuild, written = checkpoint["rebuild"], checkpoint.get("format", 1)
    except Exception as error:  # torch raises a handful of unrelated types for a broken file
        raise UserError(f"{path} cannot be read as a checkpoint of fraudlab: {error}") from error
    return upgraded(rebuild, written, path), weights
