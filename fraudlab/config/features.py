"""``features=<name>``: which columns a model sees."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

from fraudlab.config import aggregates
from fraudlab.config.checks import AUTO, MISSING, at_least, auto_or_at_least, one_of, within
from fraudlab.errors import UserError


@dataclass
class EncoderConfig:
    """How columns become arrays; see :class:`fraudlab.features.encoder.TableEncoder`."""

    scaling: str = "standard"
    clip: float | None = None  # scaled values beyond +-clip are cut
    log1p: bool = False  # sign(x) * log(1 + |x|) before scaling
    min_count: int | str = 1  # rarer categories count as unknown; auto: follows from the rows and the model

    def __post_init__(self) -> None:
        one_of("features.encoder.scaling", self.scaling, ("standard", "robust", "quantile_normal", "none"))
        auto_or_at_least("features.encoder.min_count", self.min_count, 1)
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

    @property
    def not_in_use(self) -> str | None:
        """Why metrics with these features cannot be had in use, and what to train instead; None where they can."""
        return None


@dataclass
class ColumnsFeaturesConfig(FeaturesConfig):
    """``features=columns``: the table's own columns, nothing computed."""

    name: str = "columns"
    leave_out: list[str] = field(default_factory=list)  # columns that are no inputs; fraudlab.select suggests some
    encoder: EncoderConfig = field(default_factory=lambda: EncoderConfig(scaling="quantile_normal", min_count=AUTO))


@dataclass
class IEEECISFeaturesConfig(FeaturesConfig):
    """``features=ieee_cis``: client, drift-free delays, shares and aggregates of IEEE-CIS Fraud Detection."""

    name: str = "ieee_cis"
    scope: str = "point_in_time"  # transductive: aggregates over the whole table, later rows included; cannot be served
    v_columns: str = "published"  # the recipe's 120 of 339; or all
    leave_out: list[str] = field(default_factory=list)  # columns that are no inputs; fraudlab.select suggests some
    encoder: EncoderConfig = field(default_factory=lambda: EncoderConfig(min_count=20, clip=10.0))

    def __post_init__(self) -> None:
        one_of("features.scope", self.scope, ("point_in_time", "transductive"))
        one_of("features.v_columns", self.v_columns, ("published", "all"))

    @property
    def not_in_use(self) -> str | None:
        if self.scope == "point_in_time":
            return None
        return (
            "features.scope=transductive: the model learnt from aggregates over rows after the one judged, which "
            "cannot be had in use; its metrics do not hold there. Train with features.scope=point_in_time to serve"
        )


@dataclass
class HistoryFeaturesConfig(FeaturesConfig):
    """``features=history``: the table's own columns, and aggregates of the past of every key.

    ``keys`` and ``of`` are not typed as dictionaries: Hydra takes no new name in one on the command line.
    """

    reads_labels: ClassVar[bool] = True
    name: str = "history"
    keys: Any = None  # of lists of columns, e.g. {card: [card_id]}; null: proposed from the columns' roles
    windows: list[str] = field(default_factory=lambda: ["1d", "7d", "30d"])  # 30m, 1h, 7d, 2w, all
    of: Any = None  # e.g. {count: [], amount: [mean, std], label: [rate]}
    decimals: int = 4  # decimals that numbers are rounded to, so that sums are exact
    prior: float = 20.0  # weight, in rows, of the overall share of frauds in a key's fraud rate
    columns: list[str] | None = None  # inputs of the model, in order; null: the table's own columns and all aggregates
    leave_out: list[str] = field(default_factory=list)  # columns that are no inputs; fraudlab.select suggests some
    memory_gb: float | None = None  # memory limit for computing them, in GiB; null: half of the free memory

    def __post_init__(self) -> None:
        if self.memory_gb is not None and self.memory_gb <= 0:
            raise UserError(f"features.memory_gb={self.memory_gb} must be positive, or null for half of what is free")
        within("features.decimals", self.decimals, 0, 9)
        at_least("features.prior", self.prior, 0)
        if not isinstance(self.windows, list):
            raise UserError(f"features.windows={self.windows} must be a list; write features.windows=[1d,7d,30d]")
        for window in self.windows:
            aggregates.length(str(window))
        for key, value in (("keys", self.keys), ("of", self.of)):
            if not (value is None or (isinstance(value, dict) and all(isinstance(v, list) for v in value.values()))):
                raise UserError(f"features.{key}={value} must be lists by name, features.{key}={{name: [...]}}")
        # YAML has names of digits as numbers.
        if self.keys is not None:
            self.keys = {str(name): [str(column) for column in columns] for name, columns in self.keys.items()}
        if self.of is not None:
            self.of = {str(name): items for name, items in self.of.items()}
        if bool(self.keys) != bool(self.of):
            raise UserError(
                "features.keys and features.of belong together: give both, or neither to have them proposed"
            )


OPTIONS: dict[str, type] = {
    "columns": ColumnsFeaturesConfig,
    "ieee_cis": IEEECISFeaturesConfig,
    "history": HistoryFeaturesConfig,
}
