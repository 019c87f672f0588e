"""The manifest of a bundle: what each file must be, checked before any of them is read."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fraudlab.bundle import formats
from fraudlab.errors import UserError
from fraudlab.files import sha256_of

NAME = "manifest.json"
REQUIRED = (
    "schema.json", "features.json", "encoder.json", "encoder.safetensors", "model.onnx", "decision.json",
    "golden.jsonl", "reference.json", "metrics.json", "parity.json",
)  # fmt: skip
_PLAIN = (".json", ".jsonl", ".onnx", ".safetensors", ".npy", ".md")  # none of them runs code when it is read
_VERSION_DIGITS = 12


def write(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write ``manifest.json`` of all files that now lie in ``folder``, with ``facts`` about them."""
    files = {
        name: {"sha256": sha256_of(path), "bytes": path.stat().st_size} for name, path in sorted(_files(folder).items())
    }
    text = json.dumps({"format": formats.FORMAT, **facts, "files": files}, indent=2, allow_nan=False)
    (folder / NAME).write_text(text + "\n", encoding="utf-8")


def verify(folder: Path) -> dict[str, Any]:
    """The content of ``manifest.json``, once every file is found to be as it says.

    Raises:
        UserError: there is no bundle in ``folder``, or one of another format, or a file is changed, missing or extra or
            of a kind that could run code when it is read.
    """
    path = folder / NAME
    if not path.is_file():
        raise UserError(f"{folder} is not a bundle (it has no {NAME}); make one with python -m fraudlab.export run=...")
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        found = manifest["format"]
        expected = {name: (fact["sha256"], fact["bytes"]) for name, fact in manifest["files"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is not a manifest of a bundle ({error}); export again") from error
    if found not in range(1, formats.FORMAT + 1):
        raise UserError(
            f"{folder}: bundle format {found} is not supported (supported: up to {formats.FORMAT}); "
            "install the fraudlab that wrote it, or export again with this one"
        )
    there = _files(folder)
    missing = sorted({*expected, *REQUIRED} - there.keys())
    extra = sorted(there.keys() - expected.keys())
    for what, names in (("lacks", missing), ("has files that its manifest does not list:", extra)):
        if names:
            raise UserError(f"bundle {folder} {what} {', '.join(names)}; export or copy it again")
    for name, file in there.items():
        if not name.endswith(_PLAIN):
            raise UserError(f"bundle {folder}: {name} is refused, only {', '.join(_PLAIN)} files hold plain data")
        sha256, size = expected[name]
        if file.stat().st_size != size or sha256_of(file) != sha256:
            raise UserError(f"bundle {folder}: {name} was changed after its export; export or copy it again")
        if name.endswith(".npy"):
            _refuse_objects(file)
    return dict(formats.upgraded(NAME, manifest, found))


def version(folder: Path) -> str:
    """What names a bundle: the first digits of its manifest's SHA-256."""
    return sha256_of(folder / NAME)[:_VERSION_DIGITS]


def _files(folder: Path) -> dict[str, Path]:
    """All files under ``folder`` but the manifest, by their path in it; what is no plain file counts too."""
    return dict(_walk(folder, ""))


def _walk(folder: Path, prefix: str) -> Iterator[tuple[str, Path]]:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            yield from _walk(path, f"{prefix}{path.name}/")
        elif f"{prefix}{path.name}" != NAME:
            if path.is_symlink() or not path.is_file():
                raise UserError(f"{path} is a link or a special file; a bundle has regular files only")
            yield f"{prefix}{path.name}", path


def _refuse_objects(path: Path) -> None:
    try:
        np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        raise UserError(f"{path} is not a plain array ({error}); it is not loaded") from error
