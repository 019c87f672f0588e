"""``python -m fraudlab.select``: which features to leave out."""

import re
from dataclasses import dataclass, field
from typing import Any

from fraudlab.config.checks import MISSING, at_least, within
from fraudlab.config.commands import LABEL_DELAY_DAYS, PathsConfig
from fraudlab.errors import UserError


@dataclass
class SelectConfig:
    """``python -m fraudlab.select``."""

    data: Any = MISSING
    features: Any = MISSING
    split: Any = MISSING
    label_delay_days: int = LABEL_DELAY_DAYS  # days after which a label is known
    days: int = 30  # length of the first and of the last part of the training rows that are compared
    least_auc: float = 0.5  # a feature whose AUC does not exceed it in both parts does not last
    correlation: float = 0.75  # a column that correlates more with another one repeats it
    among: str = ".+"  # regular expression: only numeric columns of such names are taken to repeat others
    paths: PathsConfig = field(default_factory=PathsConfig)
    plugins: list[str] = field(default_factory=list)  # modules of your own that register parts

    def __post_init__(self) -> None:
        at_least("days", self.days, 1)
        at_least("label_delay_days", self.label_delay_days, 0)
        within("least_auc", self.least_auc, 0.0, 1.0)
        within("correlation", self.correlation, 0.01, 0.999)
        try:
            re.compile(self.among)
        except re.error as error:
            raise UserError(f"among={self.among} is no regular expression ({error}); write e.g. 'among=V.+'") from error
