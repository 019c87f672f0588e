"""What runs inside a training job: train, keep the run in the bucket, and go on from there after a preemption.

Vertex AI names the folders: ``AIP_CHECKPOINT_DIR`` of what a restarted job goes on from, ``AIP_MODEL_DIR`` of the
result. Both may be folders of this machine.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from fraudlab.bundle import manifest
from fraudlab.bundle.cloud import Uploads, fetch, has, upload
from fraudlab.errors import UserError

_RUN = "run"
_PORT = "29500"


def run(settings: Sequence[str], folder: Path, upload_seconds: float) -> str:
    """Train by ``settings`` of ``python -m fraudlab.train``, export, and copy the bundle to ``AIP_MODEL_DIR``.

    A job that finds a checkpoint of its own resumes it; one whose bundle is there does nothing. With several machines,
    each trains and the first one writes.

    Args:
        settings: overrides of the command.
        folder: of this machine, for the run and the bundle.
        upload_seconds: between two copies of the run.

    Returns:
        Where the bundle lies.

    Raises:
        UserError: the folders are not named, or training or export failed.
    """
    model, kept = _named("AIP_MODEL_DIR"), _named("AIP_CHECKPOINT_DIR")
    if has(model, manifest.NAME):
        return model
    at, machines, first = _place(os.environ)
    local = folder / _RUN
    if has(kept, f"{_RUN}/config.yaml"):
        fetch(f"{kept}/{_RUN}", local)
    resumes = any(local.rglob("*.ckpt"))
    if not resumes and local.exists():
        shutil.rmtree(local)  # of a job that was ended before its first checkpoint
    asked = [f"resume={local}"] if resumes else [*settings, f"hydra.run.dir={local}"]
    if machines > 1 and not resumes:
        asked += ["trainer=ddp", f"trainer.num_nodes={machines}"]
    _train(asked, first, Uploads("AIP_CHECKPOINT_DIR", kept) if at == 0 else None, local, upload_seconds)
    if at == 0:
        bundle = folder / "bundle"
        _run(["export", f"run={local}", f"out={bundle}"])
        upload(bundle, model)
    return model


def _train(
    asked: Sequence[str], first: Mapping[str, str], uploads: Uploads | None, local: Path, seconds: float
) -> None:
    """Run the training beside copies of what it writes; SIGTERM goes on to it, and what it wrote then is copied too."""
    command = [sys.executable, "-m", "fraudlab.train", *asked]
    process = subprocess.Popen(command, env={**os.environ, **first})  # noqa: S603
    signal.signal(signal.SIGTERM, lambda number, frame: process.send_signal(number))
    while True:
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
        if uploads is not None:
            _copy(uploads, local)
        if process.returncode is not None:
            break
    if process.returncode:
        raise UserError(f"the training ended with status {process.returncode}; see its message above")


def _copy(uploads: Uploads, local: Path) -> None:
    """Copy what is whole and new in the order of its writing, so that each moment's copy is one that the run had."""
    written = []
    for path in local.rglob("*"):
        if not any(part.startswith(".") for part in path.relative_to(local).parts):  # not those that are being written
            with suppress(FileNotFoundError):
                written.append((path.stat().st_mtime_ns, path))
    uploads.send(local.parent, [path for _, path in sorted(written) if path.is_file()])


def _run(words: Sequence[str]) -> None:
    if status := subprocess.call([sys.executable, "-m", f"fraudlab.{words[0]}", *words[1:]]):  # noqa: S603
        raise UserError(f"python -m fraudlab.{words[0]} ended with status {status}; see its message above")


def _place(environment: Mapping[str, str]) -> tuple[int, int, dict[str, str]]:
    """Which of how many machines this is, and the variables that tell torch where the first one is."""
    spec = json.loads(environment.get("CLUSTER_SPEC", "{}"))
    pools = spec.get("cluster", {})
    hosts = [host for pool in sorted(pools) for host in pools[pool]]
    if len(hosts) < 2:
        return 0, 1, {}
    task = spec["task"]
    before = [host for pool in sorted(pools) if pool < task["type"] for host in pools[pool]]
    at = len(before) + task["index"]
    first = {"MASTER_ADDR": hosts[0].partition(":")[0], "MASTER_PORT": _PORT, "NODE_RANK": str(at)}
    return at, len(hosts), first


def _named(variable: str) -> str:
    address = os.environ.get(variable, "").rstrip("/")
    if not address.startswith("gs://"):
        raise UserError(f"{variable}={address!r} must name a folder gs://bucket/folder, as Vertex AI sets it in a job")
    return address
