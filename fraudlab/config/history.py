"""``python -m fraudlab.history``."""

from dataclasses import dataclass, field

from fraudlab.config.checks import MISSING
from fraudlab.config.commands import PathsConfig


@dataclass
class HistoryConfig:
    """``python -m fraudlab.history``."""

    transactions: str = MISSING  # Parquet file with the handbook's raw columns
    out: str = MISSING  # SQLite file to make
    paths: PathsConfig = field(default_factory=PathsConfig)
