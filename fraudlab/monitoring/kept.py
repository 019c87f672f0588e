"""Reports of performance that are kept in the record, to be shown and to be held against what comes."""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fraudlab.files import write_json

FOLDER = "_estimates"
"""In the folder of a record: ``<as_of>.json``, a report each."""


def keep(folder: Path, report: Mapping[str, Any]) -> None:
    """Keep a report of :func:`.performance.performance` in the record at ``folder``."""
    target = folder / FOLDER
    target.mkdir(mode=0o700, exist_ok=True)
    name = datetime.fromisoformat(report["as_of"]).astimezone(UTC).strftime("%Y-%m-%d_%H-%M-%S.json")
    write_json(target / name, report)


def reports(folder: Path) -> Iterator[dict[str, Any]]:
    """The kept reports, the oldest first; earlier versions kept of some only the weeks that have estimates."""
    for path in paths(folder):
        yield read(path)


def paths(folder: Path) -> list[Path]:
    """Where the reports lie, by the moment they are as of."""
    return sorted(folder.glob(f"{FOLDER}/[0-9]*.json"))


def read(path: Path) -> dict[str, Any]:
    """One of them."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def is_whole(report: Mapping[str, Any]) -> bool:
    """Whether it has all weeks, and not only those with estimates."""
    return "past_estimates" in report
