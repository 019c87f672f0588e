"""Data sources by name."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from fraudlab.config.registry import Registry

if TYPE_CHECKING:  # heavy
    from fraudlab.data.sources.contract import LoadSource, Source

_SOURCES = "fraudlab.data.sources"
SOURCES: "Registry[LoadSource]" = Registry(
    "data",
    {
        name: f"{_SOURCES}.{name}:load"
        for name in ("handbook", "handbook_scaled", "table", "ieee_cis", "ieee_cis_simulated")
    },
)


def register_source(name: str, load: "LoadSource", settings: type) -> None:
    """Add a data source of a plugin as ``data=<name>``.

    Args:
        name: as in ``data=<name>``.
        load: see :data:`fraudlab.data.sources.contract.LoadSource`.
        settings: dataclass of the keys of ``data``, with ``name: str = <name>``.

    Raises:
        UserError: fraudlab has a source of that name, or ``settings`` is not such a dataclass.
    """
    SOURCES.add(name, load, settings)


_looked: "dict[str, Source]" = {}
"""Tables that :func:`look` read, until they are loaded: a query or an address is not read twice."""


def load_source(config: Any, cache_dir: Path) -> "Source":
    """The raw table of the typed settings of ``data=<name>``."""
    return _looked.pop(repr((config, cache_dir)), None) or SOURCES[config.name](config, cache_dir)


def look(config: Any, cache_dir: Path) -> None:
    """Read a table that may have mistakes, one whose ``load`` has ``early``, before anything heavy is imported."""
    load = SOURCES[config.name]
    if getattr(load, "early", False):
        _looked[repr((config, cache_dir))] = load(config, cache_dir)
