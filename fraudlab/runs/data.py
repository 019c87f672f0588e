"""The data of a run again: their present place, compared with those that it was trained on."""

import glob
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from fraudlab.config import DataPlaceConfig, FitConfig
from fraudlab.data.prepared import PreparedTable, prepared_table
from fraudlab.errors import UserError
from fraudlab.runs.folder import RunFolder
from fraudlab.runs.formats import LAST_WITH_OTHER_TABLES
from fraudlab.runs.settings import written_format

log = logging.getLogger(__name__)

_KEYS = ("path", "raw_dir")  # which settings of data say where raw files lie


def place(data: Any) -> str | None:
    """Where the raw files of ``data`` lie, from whatever folder it is asked; None where there are none."""
    where = next((str(getattr(data, key)) for key in _KEYS if hasattr(data, key)), None)
    return where if where is None or "://" in where else str(Path(where).expanduser().absolute())


def located(run: RunFolder, data: Any, given: DataPlaceConfig) -> Any:
    """The settings of a run's ``data`` with the place where its files lie now.

    That is the one given; or else the one that the settings say, from the present folder; or else, where nothing is
    there, the one that ``run.json`` recorded.

    Raises:
        UserError: a place is given that such data do not have.
    """
    for key in _KEYS:
        where: str | None = getattr(given, key)
        if where is not None and not hasattr(data, key):
            raise UserError(
                f"moved.{key}={where}: the run in {run.path} has data={data.name}, which does not have this setting"
            )
        if where is not None:
            return replace(data, **{key: where})
    recorded = run.provenance().get("data_at") if (run.path / "run.json").is_file() else None
    found = [key for key in _KEYS if hasattr(data, key) and not _is_there(getattr(data, key))]
    return replace(data, **dict.fromkeys(found, recorded)) if recorded else data


def table_of(run: RunFolder, config: FitConfig, given: DataPlaceConfig, data_dir: Path) -> PreparedTable:
    """The table that a run was trained on.

    Args:
        run: a finished run.
        config: its settings.
        given: where its raw files lie now.
        data_dir: where tables are cached; that of ``run.json`` is taken where there is no such folder.

    Raises:
        UserError: the data are not there, or are not those of the run.
    """
    facts = run.provenance()
    recorded = Path(facts.get("data_dir", data_dir))
    cache = recorded if recorded.is_dir() and not data_dir.is_dir() else data_dir
    data = located(run, config.data, given)
    table = prepared_table(data, config.features, config.label_delay_days, cache, config.split, read=True)
    if table.data_fingerprint != facts["data_fingerprint"]:
        if written_format(run.config_path) <= LAST_WITH_OTHER_TABLES:
            log.warning(
                "%s was written by an earlier version with another fingerprint of the data: whether they are the same "
                "cannot be checked", run.path,
            )  # fmt: skip
            return table
        raise UserError(
            f"data={config.data.name} is not what {run.path} was trained on (fingerprint {facts['data_fingerprint']}, "
            f"now {table.data_fingerprint}); name the run's own data with moved.path= or moved.raw_dir=, or train again"
        )
    return table


def _is_there(where: str) -> bool:
    return "://" in where or Path(where).expanduser().exists() or bool(glob.glob(where))  # noqa: PTH207
