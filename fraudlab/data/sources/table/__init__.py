"""``data=table``: any file, folder, address or query, with the columns' roles given in the settings.

One module a step, in the order of reading: ``files`` (which files, of what kind), ``dialect`` and ``text`` (how text
is laid out), ``scan`` (files to one table of raw columns), ``kinds`` (the types of columns of text), ``derive``,
``roles``, ``labels``, ``times``, ``columns``, ``checks`` and ``source``, which puts them together. Files that are
scored go through the first three and the bundle's own types.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fraudlab.config import TableConfig
    from fraudlab.data.sources.contract import Source


def load(config: "TableConfig", cache_dir: Path) -> "Source":
    """The table of ``config``: see :func:`fraudlab.data.sources.table.source.load`."""
    from fraudlab.data.sources.table.source import load

    return load(config, cache_dir)


load.early = True  # type: ignore[attr-defined]  # what comes later finds the table in the cache
