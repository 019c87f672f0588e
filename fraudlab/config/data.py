"""``data=<name>``: where transactions come from."""

from dataclasses import dataclass, field

from fraudlab.config.checks import MISSING, at_least, within


@dataclass
class HandbookConfig:
    """``data=handbook``: the Fraud Detection Handbook's simulation; the defaults give the published data set."""

    name: str = "handbook"
    customers: int = 5000
    terminals: int = 10000
    days: int = 183
    start: str = "2018-04-01"  # first day
    radius: float = 5.0  # a customer pays at terminals nearer than this, on a 100 x 100 map
    seed: int = 0

    def __post_init__(self) -> None:
        at_least("data.customers", self.customers, 3)
        at_least("data.terminals", self.terminals, 2)
        at_least("data.days", self.days, 1)


@dataclass
class HandbookScaledConfig(HandbookConfig):
    """``data=handbook_scaled``: the same distributions, other draws, vectorised and streamed to Parquet."""

    name: str = "handbook_scaled"
    customers: int = 50000
    terminals: int = 100000
    radius: float = 1.6  # about as many terminals within reach of a customer as in the published set


@dataclass
class TableConfig:
    """``data=table``: any CSV or Parquet file, folder or glob, with the columns' roles given here.

    Columns given no role are numeric or categorical by their type. ``derive`` makes columns from SQL
    expressions over the others, e.g. a time from separate year and month columns.
    """

    name: str = "table"
    path: str = MISSING
    label: str = MISSING
    fraud_value: str | None = None  # the label's value that means fraud; None: the label is 0/1 already
    id: str | None = None
    time: str | None = None
    card: str | None = None
    amount: str | None = None
    categorical: list[str] = field(default_factory=list)
    numeric: list[str] = field(default_factory=list)
    carried: list[str] = field(default_factory=list)  # kept in the frame, never an input
    missing_values: list[str] = field(default_factory=list)  # e.g. ["?", "-999"]; in training and in use
    derive: dict[str, str] = field(default_factory=dict)


@dataclass
class IEEECISConfig:
    """``data=ieee_cis``: Kaggle's IEEE-CIS Fraud Detection, from the files that Kaggle ships."""

    name: str = "ieee_cis"
    raw_dir: str = "data/ieee_cis"  # folder of train_transaction and train_identity; may be a gs:// address


@dataclass
class IEEECISSimulatedConfig:
    """``data=ieee_cis_simulated``: made up by fraudlab in the form of IEEE-CIS, for tests, speed and scale."""

    name: str = "ieee_cis_simulated"
    rows: int = 590_540
    seed: int = 0

    def __post_init__(self) -> None:
        check_simulated_ieee_cis("data.", self.rows, self.seed)


def check_simulated_ieee_cis(prefix: str, rows: int, seed: int, identity_share: float = 0.244, days: int = 182) -> None:
    """What the simulator of IEEE-CIS can make; ``prefix`` stands before the names of the settings in a message."""
    within(f"{prefix}rows", rows, 100, 50_000_000)
    at_least(f"{prefix}seed", seed, 0)
    within(f"{prefix}identity_share", identity_share, 0.0, 1.0)
    within(f"{prefix}days", days, 7, 3650)


OPTIONS: dict[str, type] = {
    "handbook": HandbookConfig,
    "handbook_scaled": HandbookScaledConfig,
    "table": TableConfig,
    "ieee_cis": IEEECISConfig,
    "ieee_cis_simulated": IEEECISSimulatedConfig,
}
