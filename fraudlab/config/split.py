"""``split=<name>``: which rows train, validate and test."""

from dataclasses import dataclass

from fraudlab.config.checks import MISSING, at_least, one_of, within
from fraudlab.errors import UserError


@dataclass
class TimeWindowsConfig:
    """``split=time_windows``: training days, label delay, test days; validation is the same layout moved back."""

    name: str = "time_windows"
    train_start: str = MISSING  # a date, or a number of days if the time is a number of seconds
    train_days: int = MISSING
    test_days: int = 7
    validation_shift_days: int = 14
    drop_known_cards: bool = True  # leave out test transactions of cards with a fraud known by then
    known_card_days: int | None = None  # only frauds of the last so many training days count; None: of all of them
    recent_windows: int = 4  # test windows before the training that show the distribution of the tested model's scores

    def __post_init__(self) -> None:
        for key in ("train_days", "test_days", "validation_shift_days"):
            at_least(f"split.{key}", getattr(self, key), 1)
        at_least("split.recent_windows", self.recent_windows, 0)


@dataclass
class TimeFractionConfig:
    """``split=time_fraction``: the last rows are the test, those before them the validation.

    The tested model learns from all rows before the test whose labels are known by then, the validation's too.
    """

    name: str = "time_fraction"
    validation: float = 0.15
    test: float = 0.15

    def __post_init__(self) -> None:
        _fractions(self.validation, self.test)


@dataclass
class TimeSpansConfig:
    """``split=time_spans``: training up to one day, test from a later one; validation is the end of the training.

    The tested model learns from all training rows whose labels are known when the test begins, the validation's too.
    Days are dates, or numbers of days where time is a number of seconds; each span ends before the day named.
    """

    name: str = "time_spans"
    train_until: str = MISSING
    test_from: str = MISSING
    test_until: str | None = None  # null: to the end
    validation: float = 0.2  # share of the training rows

    def __post_init__(self) -> None:
        within("split.validation", self.validation, 0.001, 0.9)


@dataclass
class FourMonthsGapConfig(TimeSpansConfig):
    """``split=four_months_gap``, IEEE-CIS: train December to March, leave out April, test May.

    417,559, 83,655 and 89,326 rows; the last fifth of the training is the validation. Days count from 2017-11-30, the
    usual reading of TransactionDT.
    """

    name: str = "four_months_gap"
    train_until: str = "122"
    test_from: str = "152"


@dataclass
class RollingOriginConfig(TimeSpansConfig):
    """``split=rolling_origin``, IEEE-CIS: three folds of training, a month left out, a month's test (BeyondArena).

    Fold 0 is ``four_months_gap``; folds 1 and 2 end one and two months earlier (315,927 and 229,906 training rows).
    """

    name: str = "rolling_origin"
    train_until: str = ""  # set by the fold
    test_from: str = ""
    fold: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("split.fold", str(self.fold), ("0", "1", "2"))
        months = ("63", "91", "122", "152", "182")  # the first days of February to June
        self.train_until, self.test_from = months[2 - self.fold], months[3 - self.fold]
        self.test_until = None if self.fold == 0 else months[4 - self.fold]


@dataclass
class ThreeQuartersConfig(TimeFractionConfig):
    """``split=three_quarters``, IEEE-CIS: train on the first 75 % of the rows, test on the last 25 % (Deotte).

    With ``label_delay_days=0``; else without those of the last days before the test.
    """

    name: str = "three_quarters"
    test: float = 0.25


@dataclass
class FDBConfig(TimeFractionConfig):
    """``split=fdb``, IEEE-CIS: test on the last 5 %, 29,527 rows (Amazon's Fraud Dataset Benchmark)."""

    name: str = "fdb"
    test: float = 0.05


@dataclass
class RandomConfig:
    """``split=random``: rows drawn at random, with a warning: metrics flatter where time matters."""

    name: str = "random"
    validation: float = 0.15
    test: float = 0.15
    seed: int = 0

    def __post_init__(self) -> None:
        _fractions(self.validation, self.test)


def _fractions(validation: float, test: float) -> None:
    if not (0 < validation < 1 and 0 < test < 1 and validation + test < 1):
        raise UserError(
            f"split.validation={validation} and split.test={test} must be positive and leave rows for training"
        )


OPTIONS: dict[str, type] = {
    "time_windows": TimeWindowsConfig,
    "time_fraction": TimeFractionConfig,
    "time_spans": TimeSpansConfig,
    "four_months_gap": FourMonthsGapConfig,
    "rolling_origin": RollingOriginConfig,
    "three_quarters": ThreeQuartersConfig,
    "fdb": FDBConfig,
    "random": RandomConfig,
}
