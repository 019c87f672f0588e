"""``python -m fraudlab.performance``."""

from dataclasses import dataclass, field
from datetime import UTC, datetime

from fraudlab.config.checks import MISSING, at_least, check_costs, moment, one_of
from fraudlab.config.commands import PathsConfig


@dataclass
class PerformanceConfig:
    """``python -m fraudlab.performance``."""

    bundle: str = MISSING  # folder or gs:// address; records of other bundles have weeks of their own
    records: str = MISSING  # folder of serving.record_to
    out: str = MISSING  # folder of performance.json and performance.html
    mature_days: int = MISSING  # after which a transaction without a label counts as genuine
    as_of: str | None = None  # as 2026-11-01 or 2026-11-01T06:00, UTC; null: now
    clock: str = "received"  # received: when it was scored and told | transaction: the times that the data say
    admin_cost: float = 2.5  # of one alert, in the currency of the amount
    recovery_share: float = 1.0  # of a fraud's amount, what an alert saves
    keep: bool = True  # keep the estimates in the record, to be held against what comes
    paths: PathsConfig = field(default_factory=PathsConfig)

    def __post_init__(self) -> None:
        one_of("clock", self.clock, ("received", "transaction"))
        at_least("mature_days", self.mature_days, 1)
        check_costs(self.admin_cost, self.recovery_share)
        self.moment()

    def moment(self) -> datetime:
        """``as_of`` as a time, UTC."""
        found = moment("as_of", self.as_of) or datetime.now(UTC)
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
