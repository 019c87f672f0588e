"""``python -m fraudlab.compare``."""

from dataclasses import dataclass, field
from typing import Any

from fraudlab.config.checks import at_least, one_of, within
from fraudlab.config.commands import PathsConfig
from fraudlab.errors import UserError


@dataclass
class CompareConfig:
    """Any runs side by side; those that differ by their seed only are one model."""

    runs: Any = None  # one or a list: run folders, folders of runs such as outputs/multirun/<time>, patterns
    part: str = "test"  # or val
    resamples: int = 1000  # for the intervals
    group: str | None = None  # rows drawn together: card, terminal, day, row; null: where frauds come most together
    confidence: float = 0.95  # of the intervals
    seed: int = 0  # of the resamples
    paths: PathsConfig = field(default_factory=PathsConfig)
    plugins: list[str] = field(default_factory=list)  # modules of your own that register parts

    def __post_init__(self) -> None:
        self.runs = run_names(self.runs, "compare")
        one_of("part", self.part, ("val", "test"))
        if self.group is not None:
            one_of("group", self.group, ("card", "terminal", "day", "row"))
        at_least("resamples", self.resamples, 100)
        within("confidence", self.confidence, 0.5, 0.999)
        at_least("seed", self.seed, 0)


def run_names(runs: Any, do: str) -> list[str]:
    """The runs that a command is told, as a list.

    Raises:
        UserError: there are none; the message says what one may ``do`` with them.
    """
    names = [runs] if isinstance(runs, str) else runs
    if not (isinstance(names, list) and names and all(isinstance(name, str) for name in names)):
        raise UserError(f"name the runs to {do}: runs=outputs/multirun/<time> or runs=[outputs/train/<one>,...]")
    return names
