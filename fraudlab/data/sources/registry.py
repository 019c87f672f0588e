"""Data sources by name."""

import importlib
from pathlib import Path
from typing import Any

from fraudlab.data.sources.contract import Source


def load_source(config: Any, cache_dir: Path) -> Source:
    """The raw table that ``data=<name>`` stands for, from its module ``fraudlab.data.sources.<name>``."""
    module = importlib.import_module(f"fraudlab.data.sources.{config.name}")
    made: Source = module.load(config, cache_dir)
    return made
