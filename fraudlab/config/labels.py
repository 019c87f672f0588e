"""``python -m fraudlab.labels`` and ``python -m fraudlab.records``."""

from dataclasses import dataclass, field

from fraudlab.config.checks import MISSING, at_least, one_of
from fraudlab.config.commands import LABEL_DELAY_DAYS, PathsConfig
from fraudlab.errors import UserError


@dataclass
class LabelsConfig:
    """``python -m fraudlab.labels``."""

    file: str | None = None  # .csv or .parquet
    to: str | None = None  # SQLite file or redis:// address of python -m fraudlab.history, or folder of a record
    source: str = "file"  # who says so, in rows that do not tell
    unknown: str = "refuse"  # labels of transactions that a history has not: refuse the file, or skip them
    records: str | None = None  # folder of a record, to make a training table of
    out: str | None = None  # folder for the table and its experiment
    as_of: str | None = None  # ISO 8601: labels that were known then; null: now
    clock: str = "told_at"  # which of a label's times says when it became known; event_time for labels filled in later
    label_delay_days: int = LABEL_DELAY_DAYS  # a transaction that nobody told anything of counts as genuine after them
    paths: PathsConfig = field(default_factory=PathsConfig)

    def __post_init__(self) -> None:
        one_of("unknown", self.unknown, ("refuse", "skip"))
        one_of("clock", self.clock, ("told_at", "event_time"))
        at_least("label_delay_days", self.label_delay_days, 0)
        telling, table = (self.file, self.to), (self.records, self.out)
        if (None in telling) == (None in table) or any(telling) == any(table):
            raise UserError("give file=<labels> to=<history or record>, or records=<record> out=<folder>")


@dataclass
class RecordsConfig:
    """``python -m fraudlab.records``."""

    folder: str = MISSING  # that serving.record_to names
    erase: str | None = None  # text file with a transaction id or hashed key a line, whose rows and labels go
    history: str | None = None  # SQLite file or redis:// address of python -m fraudlab.history that they leave too
    paths: PathsConfig = field(default_factory=PathsConfig)

    def __post_init__(self) -> None:
        if self.history is not None and self.erase is None:
            raise UserError("history= says nothing without erase=<file of ids>; give both")
