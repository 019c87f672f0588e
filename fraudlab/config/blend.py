"""``python -m fraudlab.blend``."""

from dataclasses import dataclass, field
from typing import Any

from fraudlab.config.checks import at_least, check_costs, one_of
from fraudlab.config.commands import DataPlaceConfig, PathsConfig
from fraudlab.config.compare import run_names


@dataclass
class BlendConfig:
    """Several runs as one model: the weighted mean of their probabilities."""

    runs: Any = None  # one or a list: run folders, folders of runs such as outputs/multirun/<time>, patterns
    metric: str = "average_precision"  # or roc_auc: of validation, by which weights are chosen
    most_picks: int = 100  # picks at most, the same model counted again: how fine weights may be
    admin_cost: float = 2.5  # of one alert, in the currency of the amounts; a stand-in for your own
    recovery_share: float = 1.0  # of a fraud's amount, what an alert saves
    bundle: bool = True  # export the blend to bundle/ in its run folder
    moved: DataPlaceConfig = field(default_factory=DataPlaceConfig)  # where the runs' raw data lie now
    paths: PathsConfig = field(default_factory=PathsConfig)
    plugins: list[str] = field(default_factory=list)  # modules of your own that register parts

    def __post_init__(self) -> None:
        self.runs = run_names(self.runs, "blend")
        one_of("metric", self.metric, ("average_precision", "roc_auc"))
        at_least("most_picks", self.most_picks, 0)
        check_costs(self.admin_cost, self.recovery_share)
