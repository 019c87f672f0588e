"""Typed settings: one dataclass for every product option, one for every door.

Product groups (``data features split model loss``) decide what a score is. They are plain data: they go into
checkpoints as JSON and rebuild the object through :mod:`fraudlab.build` without Hydra. Plumbing groups
(``optimizer scheduler trainer callbacks logger``) hold keyword arguments of third-party classes and are checked
against those classes' signatures by :mod:`fraudlab.build`.

``SCHEMAS`` is the single table of what exists. Each product YAML ``conf/<group>/<option>.yaml`` extends its schema
through ``defaults: [base_<name>, _self_]``.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from fraudlab.errors import UserError

MISSING: Any = "???"  # OmegaConf's mark of a mandatory value, written out so that this file imports nothing heavy


def _one_of(key: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise UserError(f"{key}={value} does not exist; it is one of: {', '.join(allowed)}")


def _at_least(key: str, value: float, least: float) -> None:
    if not value >= least:
        raise UserError(f"{key}={value} is too small; it must be at least {least}")


def _within(key: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise UserError(f"{key}={value} is out of range; it must lie in [{low}, {high}]")


# ----------------------------------------------------------------------------------------------------- data


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
        _at_least("data.customers", self.customers, 3)
        _at_least("data.terminals", self.terminals, 2)
        _at_least("data.days", self.days, 1)


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
    missing_values: list[str] = field(default_factory=list)  # e.g. ["?"]
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
        _within("data.rows", self.rows, 100, 50_000_000)
        _at_least("data.seed", self.seed, 0)


# ------------------------------------------------------------------------------------------------- features


@dataclass
class EncoderConfig:
    """How columns become arrays; see :class:`fraudlab.features.encoder.TableEncoder`."""

    scaling: str = "standard"
    clip: float | None = None  # scaled values beyond +-clip are cut
    log1p: bool = False  # sign(x) * log(1 + |x|) before scaling
    min_count: int = 1  # rarer categories count as unknown

    def __post_init__(self) -> None:
        _one_of("features.encoder.scaling", self.scaling, ("standard", "quantile_normal", "none"))
        _at_least("features.encoder.min_count", self.min_count, 1)
        if self.clip is not None and self.clip <= 0:
            raise UserError(f"features.encoder.clip={self.clip} must be positive, or null for no clipping")


@dataclass
class HandbookFeaturesConfig:
    """``features=handbook_book`` (the book's 15) and ``features=handbook`` (8 more)."""

    name: str = "handbook"
    extended: bool = False
    delay_days: int = 7  # a label is known this many days after its transaction
    encoder: EncoderConfig = field(default_factory=EncoderConfig)

    def __post_init__(self) -> None:
        _at_least("features.delay_days", self.delay_days, 0)


@dataclass
class ColumnsFeaturesConfig:
    """``features=columns``: the table's own columns, nothing computed."""

    name: str = "columns"
    encoder: EncoderConfig = field(default_factory=EncoderConfig)


@dataclass
class IEEECISFeaturesConfig:
    """``features=ieee_cis``: client, drift-free delays, shares and aggregates of IEEE-CIS Fraud Detection."""

    name: str = "ieee_cis"
    scope: str = "point_in_time"  # transductive: aggregates see the whole table, later rows too; never to be served
    v_columns: str = "published"  # the recipe's 120 of 339; or all
    encoder: EncoderConfig = field(default_factory=lambda: EncoderConfig(min_count=20, clip=10.0))

    def __post_init__(self) -> None:
        _one_of("features.scope", self.scope, ("point_in_time", "transductive"))
        _one_of("features.v_columns", self.v_columns, ("published", "all"))


# ---------------------------------------------------------------------------------------------------- split


@dataclass
class TimeWindowsConfig:
    """``split=time_windows``: training days, label delay, test days; validation is the same layout moved back."""

    name: str = "time_windows"
    train_start: str = MISSING  # a date, or a number of days where time is a number of seconds
    train_days: int = MISSING
    delay_days: int = 7
    test_days: int = 7
    validation_shift_days: int = 14
    drop_known_cards: bool = True  # leave out test transactions of cards whose fraud is known by then
    known_card_days: int | None = None  # only frauds of the last so many training days count; None: of all of them

    def __post_init__(self) -> None:
        for key in ("train_days", "test_days", "validation_shift_days"):
            _at_least(f"split.{key}", getattr(self, key), 1)
        _at_least("split.delay_days", self.delay_days, 0)


@dataclass
class TimeFractionConfig:
    """``split=time_fraction``: the last rows are the test, those before them the validation."""

    name: str = "time_fraction"
    validation: float = 0.15
    test: float = 0.15

    def __post_init__(self) -> None:
        _fractions(self.validation, self.test)


@dataclass
class TimeSpansConfig:
    """``split=time_spans``: training up to one day, test from a later one; validation is the end of the training.

    Days are dates, or numbers of days where time is a number of seconds; each span ends before the day named.
    """

    name: str = "time_spans"
    train_until: str = MISSING
    test_from: str = MISSING
    test_until: str | None = None  # null: to the end
    validation: float = 0.2  # share of the training rows

    def __post_init__(self) -> None:
        _within("split.validation", self.validation, 0.001, 0.9)


@dataclass
class FourMonthsGapConfig(TimeSpansConfig):
    """``split=four_months_gap``, IEEE-CIS: train December to March, leave out April, test May.

    417,559, 83,655 and 89,326 rows. Days count from 2017-11-30, the usual reading of TransactionDT.
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
    train_until: str = ""  # the fold says
    test_from: str = ""
    fold: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        _one_of("split.fold", str(self.fold), ("0", "1", "2"))
        months = ("63", "91", "122", "152", "182")  # the first days of February to June
        self.train_until, self.test_from = months[2 - self.fold], months[3 - self.fold]
        self.test_until = None if self.fold == 0 else months[4 - self.fold]


@dataclass
class ThreeQuartersConfig(TimeFractionConfig):
    """``split=three_quarters``, IEEE-CIS: train on the first 75 % of the rows, test on the last 25 % (Deotte)."""

    name: str = "three_quarters"
    test: float = 0.25


@dataclass
class FDBConfig(TimeFractionConfig):
    """``split=fdb``, IEEE-CIS: test on the last 5 %, 29,527 rows (Amazon's Fraud Dataset Benchmark)."""

    name: str = "fdb"
    test: float = 0.05


@dataclass
class RandomConfig:
    """``split=random``: rows drawn at random, with a warning: figures flatter where time matters."""

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


# ---------------------------------------------------------------------------------------------------- model


@dataclass
class TabNetConfig:
    """``model=tabnet`` (Arik and Pfister 2021, arXiv:1908.07442); names as in pytorch-tabnet."""

    name: str = "tabnet"
    n_d: int = 8
    n_a: int = 8
    n_steps: int = 3
    gamma: float = 1.3
    n_independent: int = 2
    n_shared: int = 2
    embedding_dim: int = 4
    epsilon: float = 1e-15
    virtual_batch_size: int = 128
    momentum: float = 0.02
    mask_type: str = "sparsemax"
    feature_groups: list[list[str]] | None = None  # columns, by name, that are looked at together or not at all
    sparsity: float = 1e-3  # weight of the mask-entropy penalty (lambda_sparse)
    backend: str = "fast"  # fast: ours; reference: pytorch-tabnet's own network, to compare with
    members: int = 1  # networks trained at once, whose probabilities are averaged
    compile: bool = False  # train through torch.compile: a minute of compiling first
    pretrained: str | None = None  # run folder of python -m fraudlab.pretrain to start from; every member does

    def __post_init__(self) -> None:
        if self.pretrained is not None and self.backend != "fast":
            raise UserError(f"model.pretrained={self.pretrained} needs model.backend=fast, not {self.backend}")
        _one_of("model.mask_type", self.mask_type, ("sparsemax", "entmax"))
        _one_of("model.backend", self.backend, ("fast", "reference"))
        for key in ("n_d", "n_a", "n_steps", "embedding_dim", "members"):
            _at_least(f"model.{key}", getattr(self, key), 1)
        _at_least("model.virtual_batch_size", self.virtual_batch_size, 2)
        for key in ("n_independent", "n_shared", "sparsity"):
            _at_least(f"model.{key}", getattr(self, key), 0)
        if self.n_independent + self.n_shared == 0:
            raise UserError("model.n_independent and model.n_shared cannot both be 0")


@dataclass
class MLPConfig:
    """``model=mlp``: a plain multi-layer perceptron."""

    name: str = "mlp"
    hidden: list[int] = field(default_factory=lambda: [500, 500])
    dropout: float = 0.2
    batch_norm: bool = False
    embedding_dim: int = 4
    members: int = 1  # networks trained at once, whose probabilities are averaged
    compile: bool = False  # train through torch.compile: a minute of compiling first

    def __post_init__(self) -> None:
        _at_least("model.members", self.members, 1)
        for width in self.hidden:
            _at_least("model.hidden", width, 1)
        _within("model.dropout", self.dropout, 0.0, 0.99)


# ----------------------------------------------------------------------------------------------------- loss


@dataclass
class CrossEntropyConfig:
    """``loss=cross_entropy``: frauds weigh ``fraud_weight`` times a genuine transaction."""

    name: str = "cross_entropy"
    fraud_weight: float = 1.0

    def __post_init__(self) -> None:
        _at_least("loss.fraud_weight", self.fraud_weight, 0.0)


@dataclass
class FocalConfig:
    """``loss=focal`` (Lin et al. 2017, arXiv:1708.02002)."""

    name: str = "focal"
    focusing: float = 2.0  # the paper's gamma
    fraud_weight: float = 1.0

    def __post_init__(self) -> None:
        _at_least("loss.focusing", self.focusing, 0.0)
        _at_least("loss.fraud_weight", self.fraud_weight, 0.0)


# ---------------------------------------------------------------------------------------------------- doors


@dataclass
class PathsConfig:
    """Where things lie; relative paths count from the folder the command was started in."""

    data_dir: str = "data"
    output_dir: str = MISSING


@dataclass
class FitConfig:
    """What every door that fits a network has; experiments and recipes set these."""

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
    seed: int = 0
    batch_size: int = 2048  # rows of one optimiser step, over all devices
    eval_batch_size: int = 16384
    keep_on_device: str = "auto"  # auto | always | never: arrays live on the accelerator
    published: str | None = None  # whose published figures stand beside ours
    tried: str | None = None  # what else was tried when this recipe was chosen; goes into the run folder

    def __post_init__(self) -> None:
        _one_of("keep_on_device", self.keep_on_device, ("auto", "always", "never"))
        _at_least("batch_size", self.batch_size, 2)
        _at_least("eval_batch_size", self.eval_batch_size, 1)
        _at_least("seed", self.seed, 0)


@dataclass
class TrainConfig(FitConfig):
    """``python -m fraudlab.train``."""

    loss: Any = MISSING
    refit: bool = True  # where the split has later training rows for the tested model, fit it on those
    report: bool = True  # write report.html


@dataclass
class PretrainConfig(FitConfig):
    """``python -m fraudlab.pretrain``; names as in pytorch-tabnet."""

    pretraining_ratio: float = 0.2  # probability that a column is hidden
    n_shared_decoder: int = 1
    n_independent_decoder: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.model, MLPConfig):
            raise UserError("model=mlp cannot be pretrained; use model=tabnet")
        if isinstance(self.model, TabNetConfig) and (self.model.pretrained, self.model.backend) != (None, "fast"):
            raise UserError("pretraining needs model.backend=fast and model.pretrained=null: it starts from nothing")
        if not 0 < self.pretraining_ratio < 1:
            raise UserError(f"pretraining_ratio={self.pretraining_ratio} must lie between 0 and 1, both excluded")
        for key in ("n_shared_decoder", "n_independent_decoder"):
            _at_least(key, getattr(self, key), 0)


@dataclass
class PrepareConfig:
    """``python -m fraudlab.prepare``."""

    data: Any = MISSING
    features: Any = MISSING
    paths: PathsConfig = field(default_factory=PathsConfig)


@dataclass
class EvaluateConfig:
    """``python -m fraudlab.evaluate``."""

    run: str = MISSING
    paths: PathsConfig = field(default_factory=PathsConfig)


@dataclass
class SimulateConfig:
    """``python -m fraudlab.simulate``."""

    dataset: str = "ieee_cis"  # whose form the files have
    rows: int = 590_540
    out: str = MISSING  # folder, made if it is not there
    seed: int = 0
    identity_share: float = 0.244  # of the transactions, with a row in train_identity.csv
    days: int = 182
    paths: PathsConfig = field(default_factory=PathsConfig)

    def __post_init__(self) -> None:
        _one_of("dataset", self.dataset, ("ieee_cis",))
        _within("rows", self.rows, 100, 50_000_000)
        _at_least("seed", self.seed, 0)
        _within("identity_share", self.identity_share, 0.0, 1.0)
        _within("days", self.days, 7, 3650)


SCHEMAS: dict[str, dict[str, type]] = {
    "data": {
        "handbook": HandbookConfig,
        "handbook_scaled": HandbookScaledConfig,
        "table": TableConfig,
        "ieee_cis": IEEECISConfig,
        "ieee_cis_simulated": IEEECISSimulatedConfig,
    },
    "features": {
        "handbook": HandbookFeaturesConfig,
        "columns": ColumnsFeaturesConfig,
        "ieee_cis": IEEECISFeaturesConfig,
    },
    "split": {
        "time_windows": TimeWindowsConfig,
        "time_fraction": TimeFractionConfig,
        "time_spans": TimeSpansConfig,
        "four_months_gap": FourMonthsGapConfig,
        "rolling_origin": RollingOriginConfig,
        "three_quarters": ThreeQuartersConfig,
        "fdb": FDBConfig,
        "random": RandomConfig,
    },
    "model": {"tabnet": TabNetConfig, "mlp": MLPConfig},
    "loss": {"cross_entropy": CrossEntropyConfig, "focal": FocalConfig},
}
DOORS: dict[str, type] = {
    "train": TrainConfig,
    "pretrain": PretrainConfig,
    "prepare": PrepareConfig,
    "evaluate": EvaluateConfig,
    "simulate": SimulateConfig,
}


def register() -> None:
    """Make the schemas known to Hydra under ``<group>/base_<option>`` and ``base_<door>``."""
    from hydra.core.config_store import ConfigStore

    store = ConfigStore.instance()
    for door, schema in DOORS.items():
        store.store(name=f"base_{door}", node=schema)
    for group, options in SCHEMAS.items():
        for option, schema in options.items():
            store.store(group=group, name=f"base_{option}", node=schema)


def typed(door: str, composed: Any) -> Any:
    """The dataclass of a composed config, product groups included, each checked by its ``__post_init__``.

    Plumbing groups come out as plain dictionaries. A key that the schema has not is refused here too: Hydra lets
    ``+key=value`` add anything. Raises OmegaConf's own errors for such a key, a wrong type or a missing value.
    """
    from omegaconf import OmegaConf

    plain = OmegaConf.to_container(composed, resolve=True)
    assert isinstance(plain, dict)
    settings = OmegaConf.structured(DOORS[door])
    for group, options in SCHEMAS.items():
        if group in plain:
            settings[group] = options[plain[group]["name"]]
    return OmegaConf.to_object(OmegaConf.merge(settings, plain))
