"""``python -m fraudlab.challenger``."""

from dataclasses import dataclass, field
from datetime import UTC, datetime

from fraudlab.config.checks import MISSING, above, at_least, moment, one_of
from fraudlab.config.commands import PathsConfig

METRICS = ("average_precision", "precision", "recall", "value_recall")


@dataclass
class ChallengerConfig:
    """``python -m fraudlab.challenger``."""

    bundle: str = MISSING  # of the champion: folder or gs:// address; what it answered counts
    records: str = MISSING  # folder of serving.record_to
    out: str = MISSING  # folder of challenger.json, challenger.html and swap.csv
    version: str | None = None  # of the challenger; null: the one that scored last
    budget: float | None = None  # alerts per 1,000 of either side; null: the champion's for level high
    mature_days: int | None = None  # after which a transaction without a label counts as genuine; null: no labels
    as_of: str | None = None  # as 2026-11-01 or 2026-11-01T06:00, UTC; null: now
    metric: str = "average_precision"  # that decides: average_precision | precision | recall | value_recall
    looks: int = 1  # at labels that are planned in all: intervals are as wide as so many need
    paths: PathsConfig = field(default_factory=PathsConfig)

    def __post_init__(self) -> None:
        one_of("metric", self.metric, METRICS)
        at_least("looks", self.looks, 1)
        if self.mature_days is not None:
            at_least("mature_days", self.mature_days, 1)
        if self.budget is not None:
            above("budget", self.budget, 0)
        self.moment()

    def moment(self) -> datetime:
        """``as_of`` as a time, UTC."""
        found = moment("as_of", self.as_of) or datetime.now(UTC)
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
