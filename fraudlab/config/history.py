"""``python -m fraudlab.history`` and ``python -m fraudlab.labels``."""

from dataclasses import dataclass, field

from fraudlab.config.checks import MISSING, one_of
from fraudlab.config.commands import PathsConfig


@dataclass
class HistoryConfig:
    """``python -m fraudlab.history``."""

    transactions: str = MISSING  # Parquet file of the table's own columns
    bundle: str | None = None  # whose features the history is for; null: features=handbook
    out: str = MISSING  # SQLite file to make, or redis://host:port/db?name=<history>
    paths: PathsConfig = field(default_factory=PathsConfig)


@dataclass
class LabelsConfig:
    """``python -m fraudlab.labels``."""

    file: str = MISSING  # .csv or .parquet
    to: str = MISSING  # SQLite file or redis:// address of python -m fraudlab.history
    source: str = "file"  # who says so, in rows that do not tell
    unknown: str = "refuse"  # labels of transactions that the history has not: refuse the file, or skip them
    paths: PathsConfig = field(default_factory=PathsConfig)

    def __post_init__(self) -> None:
        one_of("unknown", self.unknown, ("refuse", "skip"))
