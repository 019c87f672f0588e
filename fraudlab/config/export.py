"""``python -m fraudlab.export`` and ``python -m fraudlab.predict``."""

from dataclasses import dataclass, field

from fraudlab.config.checks import MISSING, at_least, one_of, within
from fraudlab.config.commands import DataPlaceConfig, PathsConfig
from fraudlab.config.engine import RayConfig, check_engine
from fraudlab.errors import UserError


@dataclass
class ExportConfig:
    """``python -m fraudlab.export``."""

    run: str = MISSING  # folder of the run
    moved: DataPlaceConfig = field(default_factory=DataPlaceConfig)  # where the run's raw data lie now
    out: str | None = None  # folder of the bundle; null: bundle/ in the run folder
    precision: str = "fp64"  # the model computes in; fp32 is smaller, less exact; fp16: its weights in half precision
    quantize: str = "none"  # int8: weights and inputs of matrix products in 8 bits, the rest as fp32
    prune_columns: bool = False  # leave out the columns that no tree splits on, or no mask of TabNet looks at
    members: int | None = None  # of an ensemble, how many are kept: those that are best together on validation
    calibration: str = "none"  # to probabilities, by the validation's labels: platt, beta, isotonic; best of them
    medium_per_1000: float = 50.0  # alerts per 1,000 transactions from risk level medium on
    high_per_1000: float = 10.0  # and of level high alone
    medium_money: bool = False  # alert where it is expected to recover more than it costs; in place of medium's budget
    medium_recall: float | None = None  # share of frauds that levels from medium on promise; in place of its budget
    high_precision: float | None = None  # share of frauds that level high promises among its alerts; likewise
    confidence: float = 0.95  # of both promises
    paths: PathsConfig = field(default_factory=PathsConfig)
    plugins: list[str] = field(default_factory=list)  # modules of your own that register parts

    def __post_init__(self) -> None:
        one_of("precision", self.precision, ("fp64", "fp32", "fp16"))
        one_of("quantize", self.quantize, ("none", "int8"))
        one_of("calibration", self.calibration, ("none", "platt", "beta", "isotonic", "best"))
        within("medium_per_1000", self.medium_per_1000, 0.0, 1000.0)
        within("high_per_1000", self.high_per_1000, 0.0, 1000.0)
        for key in ("medium_recall", "high_precision"):
            if (share := getattr(self, key)) is not None and not 0 < share < 1:
                raise UserError(f"{key}={share} must lie between 0 and 1, both excluded: no rows can show all of them")
        if not 0.5 < self.confidence < 1:
            raise UserError(f"confidence={self.confidence} must lie between 0.5 and 1, both excluded; use 0.95")
        if self.medium_money and (self.medium_recall is not None or self.high_precision is not None):
            raise UserError(
                "medium_money=true decides by amounts, and medium_recall and high_precision promise by scores alone; "
                "leave out the one or the other"
            )
        if self.members is not None:
            at_least("members", self.members, 1)
        if self.high_per_1000 > self.medium_per_1000:
            raise UserError(
                f"high_per_1000={self.high_per_1000} must not exceed medium_per_1000={self.medium_per_1000}, "
                "which counts the alerts of both levels"
            )
        if (self.precision, self.quantize) == ("fp16", "int8"):
            raise UserError("quantize=int8 and precision=fp16 exclude each other; choose one")


@dataclass
class PredictConfig:
    """``python -m fraudlab.predict``."""

    bundle: str = MISSING  # folder or gs:// address
    input: str = MISSING  # .csv or .parquet
    output: str = MISSING  # .csv or .parquet
    history: str | None = None  # of the rows' past: an SQLite file, redis://..., or input: the file itself
    threads: int = 0  # that encode and score; 0: the cores that this process may use
    engine: str = "local"  # where rows are scored: local, in threads of this process; ray, on a cluster
    ray: RayConfig = field(default_factory=RayConfig)
    paths: PathsConfig = field(default_factory=PathsConfig)
    plugins: list[str] = field(default_factory=list)  # modules of your own that register parts

    def __post_init__(self) -> None:
        within("threads", self.threads, 0, 1024)
        check_engine(self.engine)
