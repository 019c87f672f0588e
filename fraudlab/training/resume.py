"""``resume=<run folder>``: a run that was killed goes on with its own settings, on the same data."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import torch

from fraudlab.config import FitConfig
from fraudlab.config.overrides import key_of
from fraudlab.errors import UserError
from fraudlab.features.threads import cores
from fraudlab.runs.data import located
from fraudlab.runs.folder import RunFolder, rank
from fraudlab.runs.provenance import PACKAGES, versions
from fraudlab.runs.settings import load_config

Config = TypeVar("Config", bound=FitConfig)
log = logging.getLogger(__name__)

ALLOWED = (
    "resume",
    "paths.",
    "moved.",
    "plugins=",
    "trainer.enable_progress_bar",
    "trainer.accelerator",
    "trainer.devices",
    "trainer.num_nodes",
)
"""What a command may say besides; everything else a run has settled."""


def settings(config: Config, command: str, given: Sequence[str]) -> tuple[RunFolder, Config]:
    """The run that ``config.resume`` names and its settings.

    Args:
        config: settings of this command.
        command: which command that is.
        given: its overrides, as it says them.

    Raises:
        UserError: there is no run, it is another version's or command's, or the command gives it other settings.
    """
    run = RunFolder.begun(Path(str(config.resume)))
    if other := [override for override in given if not override.lstrip("+").startswith(ALLOWED)]:
        place = any(override.startswith(("data.path=", "data.raw_dir=")) for override in other)
        said = "; where its data lie now, moved.path= or moved.raw_dir= says" if place else ""
        raise UserError(
            f"a resumed run keeps its own settings: leave out {' '.join(other)}, or resume= for a new run{said}"
        )
    own = load_config(run.config_path, command)
    trainer = dict(own.trainer)
    for override in given:
        key = key_of(override)
        if key.startswith("trainer."):
            name = key.removeprefix("trainer.")
            trainer[name] = config.trainer[name]
    begun = recorded(run)
    data_dir = config.paths.data_dir
    if not any(override.startswith("paths.data_dir=") for override in given):
        data_dir = begun.get("data_dir", data_dir)
    paths = replace(config.paths, data_dir=data_dir, output_dir=str(run.path))
    threads = own.threads or begun.get("threads", 0)
    threads = threads if threads <= cores() else 0
    data = located(run, own.data, config.moved)
    return run, replace(own, data=data, trainer=trainer, paths=paths, threads=threads, resume=config.resume)


def begin(run: RunFolder, facts: Mapping[str, Any], *, resumed: bool) -> dict[str, Any]:
    """Record what a run begins with in ``run.json``, or hold a resumed run to it; gives what to record at the end.

    Args:
        run: the run.
        facts: what this process found; ``data_fingerprint`` among them.
        resumed: whether the run began earlier.

    Raises:
        UserError: the data have changed since the run began, or are read otherwise.
    """
    now = {"threads": torch.get_num_threads(), **facts, "versions": versions(PACKAGES)}
    before = recorded(run) if resumed else {}
    if (fingerprint := before.get("data_fingerprint", now["data_fingerprint"])) != now["data_fingerprint"]:
        raise UserError(
            f"the data of the run in {run.path} have changed since it began (fingerprint {fingerprint}, now "
            f"{now['data_fingerprint']}); put them back, or start a new run"
        )
    if "split_rows" in now and (rows := before.get("split_rows", now["split_rows"])) != now["split_rows"]:
        raise UserError(
            f"the run in {run.path} began with the rows {rows}, and the same files now give "
            f"{now['split_rows']}: this version reads them otherwise, e.g. without a total below the table; start a "
            "new run, or go on with the version that began this one"
        )
    for what in ("versions", "threads"):
        if before.get(what, now[what]) != now[what]:
            log.warning("other %s than when the run began: it ends like another draw, as with another seed", what)
    if resumed:
        now |= {key: before[key] for key in ("command", "experiment", "recipe") if key in before}
        now["resumed"] = before.get("resumed", 0) + 1
    if rank() == 0:
        run.write_provenance(now)
    return now


def recorded(run: RunFolder) -> dict[str, Any]:
    """Content of ``run.json``; nothing where a run ended before it was written."""
    return run.provenance() if (run.path / "run.json").is_file() else {}
