"""``python -m fraudlab.drift``."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from fraudlab.config.checks import MISSING, moment, within
from fraudlab.config.commands import PathsConfig
from fraudlab.errors import UserError


@dataclass
class DriftConfig:
    """``python -m fraudlab.drift``."""

    bundle: str = MISSING  # folder or gs:// address
    records: str | None = None  # folder of serving.record_to, or gs:// address of serving.record_upload
    input: str | None = None  # or a file, as python -m fraudlab.predict takes it
    answers: list[str] = field(default_factory=list)  # or files of answers of GET /drift, of one or several servers
    start: str | None = None  # of the records' scored_at, as 2026-11-01 or 2026-11-01T06:00
    stop: str | None = None  # before which they end
    hours: int = 0  # or those of the last hours, as a schedule asks for; 0: all
    out: str = MISSING  # folder of drift.json and drift.html, or gs:// address
    threads: int = 0  # that encode and score; 0: the cores that this process may use
    paths: PathsConfig = field(default_factory=PathsConfig)
    plugins: list[str] = field(default_factory=list)  # modules of your own that register parts

    def __post_init__(self) -> None:
        within("threads", self.threads, 0, 1024)
        given = [name for name in ("records", "input", "answers") if getattr(self, name)]
        if len(given) != 1:
            raise UserError(
                f"give one of records=<folder>, input=<file> and answers=[<file>], not {' and '.join(given) or 'none'}"
            )
        within("hours", self.hours, 0, 24 * 366)
        for name in ("start", "stop", "hours"):
            if getattr(self, name) and given != ["records"]:
                raise UserError(f"{name} goes with records=, whose rows have a time")
        if self.hours and (self.start or self.stop):
            raise UserError(f"hours={self.hours} ends now; give it, or start= and stop=")
        self.span()

    def span(self) -> tuple[datetime | None, datetime | None]:
        """``start`` and ``stop`` as times; with ``hours`` the last ones until now."""
        if self.hours:
            now = datetime.now(UTC)
            return now - timedelta(hours=self.hours), now
        return moment("start", self.start), moment("stop", self.stop)
