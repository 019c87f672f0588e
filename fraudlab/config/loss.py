"""``loss=<name>``."""

from dataclasses import dataclass

from fraudlab.config.checks import above, at_least


@dataclass
class CrossEntropyConfig:
    """``loss=cross_entropy``: frauds weigh ``fraud_weight`` times a genuine transaction."""

    name: str = "cross_entropy"
    fraud_weight: float = 1.0

    def __post_init__(self) -> None:
        above("loss.fraud_weight", self.fraud_weight, 0.0)


@dataclass
class FocalConfig:
    """``loss=focal`` (Lin et al. 2017, arXiv:1708.02002)."""

    name: str = "focal"
    focusing: float = 2.0  # the paper's gamma
    fraud_weight: float = 1.0

    def __post_init__(self) -> None:
        at_least("loss.focusing", self.focusing, 0.0)
        above("loss.fraud_weight", self.fraud_weight, 0.0)


@dataclass
class ExpectedCostConfig:
    """``loss=expected_cost``: what decisions cost, by amounts, ``admin_cost`` and ``recovery_share``."""

    name: str = "expected_cost"


OPTIONS: dict[str, type] = {
    "cross_entropy": CrossEntropyConfig,
    "expected_cost": ExpectedCostConfig,
    "focal": FocalConfig,
}
