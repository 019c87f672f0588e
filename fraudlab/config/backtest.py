"""``python -m fraudlab.backtest``."""

from dataclasses import dataclass, field

from fraudlab.config.checks import MISSING, at_least, one_of
from fraudlab.config.commands import TrainConfig
from fraudlab.errors import UserError

POLICIES = ("fresh", "warm", "frozen", "none")


@dataclass
class BacktestSettings:
    """Which windows are tested one after the other, and by which models."""

    name: str = MISSING  # name of the folder in outputs/backtest/
    steps: int = 8  # test windows; the last one ends where the split's own test ends
    step_days: int = 7  # days of a window
    until: str | None = None  # the day after the last window, in the split's form; null: the end of the split's test
    policy: str = "fresh"  # fresh | warm | frozen | none: how the model of each step is trained
    jobs: int = 0  # steps in parallel; 0: one per core, or one on an accelerator
    resamples: int = 500  # bootstrap resamples for the intervals

    def __post_init__(self) -> None:
        one_of("backtest.policy", self.policy, POLICIES)
        for key, least in (("steps", 1), ("step_days", 1), ("jobs", 0), ("resamples", 100)):
            at_least(f"backtest.{key}", getattr(self, key), least)


@dataclass
class BacktestConfig(TrainConfig):
    """A training for each step."""

    backtest: BacktestSettings = field(default_factory=BacktestSettings)
    report: bool = False  # write report.html of each step, too

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.resume:
            raise UserError("a backtest goes on by the same command; leave out resume=")
        if not self.test:
            raise UserError("a backtest is a test of each step; leave out test=false")
        if getattr(self.model, "pretrained", None):
            raise UserError(
                "model.pretrained: a pretraining has seen rows that are later than the first steps; leave it out"
            )
