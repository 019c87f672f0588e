"""``python -m fraudlab.sweep``."""

from dataclasses import dataclass, field

from fraudlab.config.checks import MISSING, at_least
from fraudlab.config.commands import PathsConfig


@dataclass
class SweepConfig:
    """A search; what is null here is as ``sweeps/<sweep>.yaml`` has it."""

    sweep: str = MISSING  # name of a file in sweeps/, or a path ending in .yaml
    study: str | None = None  # its name in the storage; the file's
    storage: str | None = None  # sqlite:///<file> or postgresql://...; SQLite in the sweep's folder
    trials: int | None = None  # over all processes and machines
    jobs: int | None = None  # trials at once in this process; one a core
    sampler: str | None = None  # null: what the YAML says
    pruner: str | None = None  # null: what the YAML says
    finalists: int | None = None  # best trials that are run again over the seeds
    seeds: list[int] | None = None  # that the finalists are run with; null: what the YAML says
    fixed: list[str] = field(default_factory=list)  # further settings of every trial: ['data.days=70','seed=3']
    seed: int = 0  # of the sampler
    retries: int = 2  # how often a trial that died is started again
    grace: float = 30.0  # seconds without a heartbeat that make a trial stale, to be tried again
    test_best: bool = False  # score the best and the recipe that it started from on the test window, once
    wandb: bool = False  # print the search as a W&B sweep and stop
    paths: PathsConfig = field(default_factory=PathsConfig)
    plugins: list[str] = field(default_factory=list)  # modules of your own that register parts

    def __post_init__(self) -> None:
        for key, least in (("trials", 1), ("jobs", 1), ("finalists", 0), ("seed", 0), ("retries", 0), ("grace", 1)):
            if getattr(self, key) is not None:
                at_least(key, getattr(self, key), least)
        for seed in self.seeds or []:
            at_least("seeds", seed, 0)
