"""``data=<name>``: where transactions come from."""

from dataclasses import dataclass, field

from fraudlab.config.checks import MISSING, at_least, one_of, within
from fraudlab.errors import UserError


@dataclass
class HandbookConfig:
    """``data=handbook``: the Fraud Detection Handbook's simulation; the defaults give the published data set."""

    name: str = "handbook"
    customers: int = 5000
    terminals: int = 10000
    days: int = 183
    start: str = "2018-04-01"  # first day
    radius: float = 5.0  # a customer pays at terminals within this distance, on a 100 x 100 map
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
    radius: float = 1.6  # gives each customer about as many terminals as in the published data


@dataclass
class TableConfig:
    """``data=table``: any table of yours: a file, folder, glob, address or query, with the columns' roles given here.

    Columns given no role are numeric or categorical by their values; what is left out besides is said. ``derive`` makes
    columns from SQL expressions over the others, e.g. a time from separate year and month columns.
    """

    name: str = "table"
    path: str = MISSING  # CSV, JSON lines, Parquet, Arrow, Excel; gs://, s3://, https://; postgresql:// with a query
    query: str | None = None  # SQL query, if path is the address of a database
    # Roles.
    label: str = MISSING
    id: str | None = None  # null: the row's number
    time: str | None = None
    card: str | None = None  # column of the card or customer
    terminal: str | None = None  # column of the terminal or merchant
    amount: str | None = None
    weight: str | None = None  # column with the weight of a row in training, 0 or more; metrics count every row once
    categorical: list[str] = field(default_factory=list)
    numeric: list[str] = field(default_factory=list)
    carried: list[str] = field(default_factory=list)  # columns kept in the table, never an input
    ignored: list[str] = field(default_factory=list)  # not read
    label_time: str | None = None  # column with the time at which the label became known; a missing value: not yet
    immature: str = "leave_out"  # rows whose label is not known yet: leave_out, or count as genuine
    # The label's words.
    fraud_values: list[str] = field(default_factory=list)  # values that mean fraud; []: the label is 0/1 already
    genuine_values: list[str] = field(default_factory=list)  # values that mean genuine; []: the only other value
    unlabelled: str = "refuse"  # rows with no label or another value: refuse, leave_out, or count as genuine
    # Values.
    missing_values: list[str] = field(default_factory=list)  # e.g. ["?", "-999"]; in training and in serving
    decimal: str = "."  # or ","
    thousands: str = ""  # between groups of digits: "," "." " " or "'"
    currency: bool = False  # true: numbers have currency signs or codes: $12.50, 12.50 EUR
    percent: bool = False  # 12.5 % is 0.125
    brackets: bool = False  # (12.50) is -12.50
    time_format: str | None = None  # format of text, as in strptime: "%d.%m.%Y %H:%M"; null: detected
    time_unit: str | None = None  # unit of numbers: seconds, hours, days, milliseconds, yyyymmdd, excel; null: detected
    time_zone: str | None = None  # zone of times without one, e.g. Europe/Paris; null: kept as written
    derive: dict[str, str] = field(default_factory=dict)
    where: str | None = None  # SQL condition that selects the rows of the training table
    copies: str = "keep"  # leave_out: of rows that are equal except for the id, one is kept
    # How files are laid out; null: found.
    separator: str | None = None  # one character, or tab; " " for runs of blanks
    encoding: str | None = None  # e.g. cp1252
    quote: str | None = None  # none: a quote is an ordinary character
    header: bool | None = None
    columns: list[str] = field(default_factory=list)  # names, for files without a header
    sheet: str | None = None  # of an Excel file; null: the first with a table, or with the named columns

    def __post_init__(self) -> None:
        one_of("data.unlabelled", self.unlabelled, ("refuse", "leave_out", "genuine"))
        one_of("data.immature", self.immature, ("leave_out", "genuine"))
        one_of("data.copies", self.copies, ("keep", "leave_out"))
        one_of("data.decimal", self.decimal, (".", ","))
        one_of("data.thousands", self.thousands, ("", ",", ".", " ", "'"))
        if self.decimal == self.thousands:
            raise UserError(f"data.decimal and data.thousands are both {self.decimal!r}; they must differ")
        if self.time_unit is not None:
            one_of("data.time_unit", self.time_unit, TIME_UNITS)
        if self.genuine_values and not self.fraud_values:
            raise UserError("data.genuine_values says nothing without data.fraud_values; give both")
        self.separator = {"\\t": "\t", "tab": "\t"}.get(self.separator or "", self.separator)
        if self.separator is not None and (len(self.separator) != 1 or self.separator in "\r\n\"'"):
            raise UserError(
                f"data.separator={self.separator!r}: give one character, for example ';', tab or '|'; ' ' means runs "
                "of blanks. Files with longer separators have to be written anew"
            )
        if self.quote is not None and self.quote != "none" and (len(self.quote) != 1 or self.quote in "\r\n"):
            raise UserError(f"data.quote={self.quote!r}: give one character, or none: a quote is an ordinary character")
        if self.quote is not None and self.quote == self.separator:
            raise UserError(f"data.quote and data.separator are both {self.quote!r}; they must differ")
        if self.columns and self.header:
            raise UserError("data.columns names the columns of files without a header; drop it or data.header=true")
        if (self.query is None) == (self.path.partition("://")[0].startswith("postgres")):
            raise UserError("data.query=<SQL> and data.path=postgresql://<user>@<host>/<database> belong together")


SECONDS = {"seconds": 1, "minutes": 60, "hours": 3600, "days": 86400, "weeks": 604800}
"""Of the time units that count from no known day, the seconds of each."""
TIME_UNITS = (
    *SECONDS,
    *("epoch_seconds", "milliseconds", "microseconds", "nanoseconds"),  # since 1970
    *("yyyymmdd", "yyyymmddhhmm", "yyyymmddhhmmss", "excel"),
)


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
