"""``python -m fraudlab.history``."""

from dataclasses import dataclass, field

from fraudlab.config.checks import MISSING
from fraudlab.config.commands import PathsConfig


@dataclass
class HistoryConfig:
    """``python -m fraudlab.history``."""

    transactions: str = MISSING  # Parquet file of the table's own columns
    bundle: str | None = None  # whose features the history is for; null: features=handbook
    out: str = MISSING  # SQLite file to make, or redis://host:port/db?name=<history>
    paths: PathsConfig = field(default_factory=PathsConfig)
