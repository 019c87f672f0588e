"""One dataclass a command: ``python -m fraudlab.<command>``."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fraudlab.config.checks import AUTO, MISSING, at_least, auto_or_at_least, check_costs, one_of, within
from fraudlab.config.data import check_simulated_ieee_cis
from fraudlab.config.engine import RayConfig, check_engine
from fraudlab.errors import UserError

log = logging.getLogger(__name__)

LABEL_DELAY_DAYS = 7
"""Days after which the label of a transaction is known: to features, and to who trains and chooses a model."""


@dataclass
class PathsConfig:
    """Where things lie; relative paths count from the folder the command was started in."""

    data_dir: str = "data"  # prepared tables lie there, too
    output_dir: str = MISSING  # of the run; what hydra.run.dir says


@dataclass
class DataPlaceConfig:
    """Where the raw data of a run lie now; null: where its settings or ``run.json`` say."""

    path: str | None = None  # of data=table
    raw_dir: str | None = None  # of data=ieee_cis


@dataclass
class FitConfig:
    """What every command that fits a network has; experiments and recipes set these."""

    data: Any = MISSING
    features: Any = MISSING
    split: Any = MISSING
    model: Any = MISSING
    optimizer: Any = None
    scheduler: Any = None
    trainer: Any = None
    callbacks: Any = None
    logger: Any = None
    paths: PathsConfig = field(default_factory=PathsConfig)
    plugins: list[str] = field(default_factory=list)  # modules of your own that register parts
    label_delay_days: int = LABEL_DELAY_DAYS  # days after which a label is known
    seed: int = 0  # of all that is drawn
    threads: int = 0  # of PyTorch, or of the library of trees; 0: OMP_NUM_THREADS, or the cores that are free
    batch_size: int | str = AUTO  # rows of one optimiser step, over all devices; auto: follows from the rows
    eval_batch_size: int = 16384  # rows that are scored at once
    shuffle: str = "auto"  # rows | blocks, for data larger than memory | auto
    keep_on_device: str = "auto"  # auto | always | never: arrays live on the accelerator
    published: str | None = None  # whose published metrics stand beside ours
    resume: str | None = None  # folder of a run that was killed; it goes on with its own settings
    moved: DataPlaceConfig = field(default_factory=DataPlaceConfig)  # with resume=: where its raw data lie now
    tried: str | None = None  # what else was tried when this recipe was chosen; goes into the run folder

    def __post_init__(self) -> None:
        one_of("shuffle", self.shuffle, ("auto", "rows", "blocks"))
        one_of("keep_on_device", self.keep_on_device, ("auto", "always", "never"))
        auto_or_at_least("batch_size", self.batch_size, 2)
        at_least("eval_batch_size", self.eval_batch_size, 1)
        within("seed", self.seed, 0, 2**31 - 1)  # as far as every library of trees takes them
        at_least("threads", self.threads, 0)
        at_least("label_delay_days", self.label_delay_days, 0)
        for name, settings in list((self.callbacks or {}).items()):
            if isinstance(settings, Mapping) and "_target_" not in settings:
                log.warning("callbacks.%s is not among the callbacks chosen: %s left out", name, dict(settings))
                del self.callbacks[name]


@dataclass
class TrainConfig(FitConfig):
    """``python -m fraudlab.train``."""

    loss: Any = MISSING
    admin_cost: float = 2.5  # of one alert, in the currency of the amounts; a stand-in for your own
    recovery_share: float = 1.0  # of a fraud's amount, what an alert saves
    refit: bool = True  # where the split has later training rows for the tested model, fit it on those
    test: bool = True  # score the test window; false: neither that nor the second fit, as in a search
    report: bool = True  # write report.html
    slices: Any = (
        None  # measured apart, columns with limits of bins: {amount: [TX_AMOUNT, 10, 50], product: [ProductCD]}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_costs(self.admin_cost, self.recovery_share)
        if self.slices is None:
            self.slices = {}
        if not isinstance(self.slices, Mapping) or not all(map(_is_slice, self.slices.values())):
            raise UserError(
                f"slices={self.slices} must name columns, perhaps with rising limits of bins, as in "
                "'slices={amount: [TX_AMOUNT, 10, 50], product: [ProductCD]}'"
            )


def _is_slice(found: Any) -> bool:
    if not isinstance(found, list) or not found or not isinstance(found[0], str):
        return False
    edges = found[1:]
    numbers = all(isinstance(edge, int | float) and not isinstance(edge, bool) for edge in edges)
    return numbers and edges == sorted(set(edges))


@dataclass
class PretrainConfig(FitConfig):
    """``python -m fraudlab.pretrain``; names as in pytorch-tabnet."""

    pretraining_ratio: float = 0.2  # probability that a column is hidden
    n_shared_decoder: int = 1  # layers shared by all steps
    n_independent_decoder: int = 1  # layers of each step alone

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.pretraining_ratio < 1:
            raise UserError(f"pretraining_ratio={self.pretraining_ratio} must lie between 0 and 1, both excluded")
        for key in ("n_shared_decoder", "n_independent_decoder"):
            at_least(key, getattr(self, key), 0)


@dataclass
class PrepareConfig:
    """``python -m fraudlab.prepare``."""

    data: Any = MISSING
    features: Any = MISSING
    split: Any = None  # the split whose rows are encoded, if any
    label_delay_days: int = LABEL_DELAY_DAYS  # days after which a label is known
    engine: str = "local"  # where features=history is computed: local, in threads of this process; ray, on a cluster
    ray: RayConfig = field(default_factory=RayConfig)
    paths: PathsConfig = field(default_factory=PathsConfig)
    plugins: list[str] = field(default_factory=list)  # modules of your own that register parts

    def __post_init__(self) -> None:
        at_least("label_delay_days", self.label_delay_days, 0)
        check_engine(self.engine)


@dataclass
class DescribeConfig:
    """``python -m fraudlab.describe``."""

    data: Any = MISSING
    name: str | None = None  # of the experiment that is written; null: as the table's file
    out: str = "my"  # folder, which --config-dir is to name then
    replace: bool = False  # whether an experiment of that name is written anew
    paths: PathsConfig = field(default_factory=PathsConfig)


@dataclass
class EvaluateConfig:
    """``python -m fraudlab.evaluate``."""

    run: str = MISSING  # folder of the run
    bundle: str | None = None  # exported from the run: what its levels save, with intervals
    moved: DataPlaceConfig = field(default_factory=DataPlaceConfig)  # where the run's raw data lie now
    paths: PathsConfig = field(default_factory=PathsConfig)
    plugins: list[str] = field(default_factory=list)  # modules of your own that register parts


@dataclass
class SimulateConfig:
    """``python -m fraudlab.simulate``."""

    dataset: str = "ieee_cis"  # whose form the files have
    rows: int = 590_540  # transactions
    out: str = MISSING  # folder, made if it is not there
    seed: int = 0  # of all that is drawn
    identity_share: float = 0.244  # of the transactions, with a row in train_identity.csv
    days: int = 182  # that they cover
    paths: PathsConfig = field(default_factory=PathsConfig)

    def __post_init__(self) -> None:
        one_of("dataset", self.dataset, ("ieee_cis",))
        check_simulated_ieee_cis("", self.rows, self.seed, self.identity_share, self.days)
