"""``features=<name>``: which columns a model sees."""

from dataclasses import dataclass, field
from typing import ClassVar

from fraudlab.config.checks import MISSING, at_least, one_of
from fraudlab.errors import UserError


@dataclass
class EncoderConfig:
    """How columns become arrays; see :class:`fraudlab.features.encoder.TableEncoder`."""

    scaling: str = "standard"
    clip: float | None = None  # scaled values beyond +-clip are cut
    log1p: bool = False  # sign(x) * log(1 + |x|) before scaling
    min_count: int = 1  # rarer categories count as unknown

    def __post_init__(self) -> None:
        one_of("features.encoder.scaling", self.scaling, ("standard", "quantile_normal", "none"))
        at_least("features.encoder.min_count", self.min_count, 1)
        if self.clip is not None and self.clip <= 0:
            raise UserError(f"features.encoder.clip={self.clip} must be positive, or null for no clipping")


@dataclass
class FeaturesConfig:
    """What every feature set has.

    ``reads_labels`` says whether features rest on labels of earlier rows: such a set is made with ``label_delay_days``.
    """

    reads_labels: ClassVar[bool] = False
    name: str = MISSING
    encoder: EncoderConfig = field(default_factory=EncoderConfig)


@dataclass
class HandbookFeaturesConfig(FeaturesConfig):
    """``features=handbook``: the book's 15 and, ``extended``, 8 more."""

    reads_labels: ClassVar[bool] = True
    name: str = "handbook"
    extended: bool = False


@dataclass
class ColumnsFeaturesConfig(FeaturesConfig):
    """``features=columns``: the table's own columns, nothing computed."""

    name: str = "columns"
    leave_out: list[str] = field(default_factory=list)  # columns no model gets; python -m fraudlab.select finds some


@dataclass
class IEEECISFeaturesConfig(FeaturesConfig):
    """``features=ieee_cis``: client, drift-free delays, shares and aggregates of IEEE-CIS Fraud Detection."""

    name: str = "ieee_cis"
    scope: str = "point_in_time"  # transductive: aggregates see the whole table, later rows too; never to be served
    v_columns: str = "published"  # the recipe's 120 of 339; or all
    leave_out: list[str] = field(default_factory=list)  # columns no model gets; python -m fraudlab.select finds some
    encoder: EncoderConfig = field(default_factory=lambda: EncoderConfig(min_count=20, clip=10.0))

    def __post_init__(self) -> None:
        one_of("features.scope", self.scope, ("point_in_time", "transductive"))
        one_of("features.v_columns", self.v_columns, ("published", "all"))


OPTIONS: dict[str, type] = {
    "handbook": HandbookFeaturesConfig,
    "columns": ColumnsFeaturesConfig,
    "ieee_cis": IEEECISFeaturesConfig,
}
